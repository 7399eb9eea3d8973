"""Checks of why a component on a cluster is not ready: the causes that `status` and `up` report. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lightragctl.core.findings import Severity
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject
from lightragctl.diagnose.check import OOM, UNAVAILABLE, Category, Check, Symptom, Trouble
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import (
    CLAIMS,
    DEPLOYED,
    EVENTS,
    LAST_LINES,
    PODS,
    RECORD,
    REPLICA_SETS,
    WORKLOADS,
    Objects,
)
from lightragctl.kube.labels import component_of
from lightragctl.kube.objects import labels_of, name_of, spec_of, status_of
from lightragctl.observe.causes import Cause, Evidence, find_causes
from lightragctl.observe.kstatus import Status, compute


@dataclass(frozen=True)
class Known:
    """A cause of a workload that is not as wanted; `serves`: its component still does, from other pods."""

    workload: str
    component: str
    serves: bool
    cause: Cause


def causes(facts: Facts) -> list[Known]:
    """The causes of all workloads that are not as wanted."""
    return facts.derived("causes", _causes)


def _causes(facts: Facts) -> list[Known]:
    found: dict[tuple[str, str], Known] = {}
    if RECORD in facts and facts[RECORD].stopped:
        return []
    for workload in facts[WORKLOADS]:
        if compute(workload).status is Status.CURRENT:
            continue
        component = component_of(workload)
        serves = any(status_of(one).get("readyReplicas") for one in facts[WORKLOADS] if component_of(one) == component)
        subject = f"{workload['kind']}/{name_of(workload)}"
        for cause in find_causes(_evidence(facts, workload, component)):
            found.setdefault((cause.subject, cause.code), Known(subject, component, serves, cause))
    return list(found.values())


def _evidence(facts: Facts, workload: KubernetesObject, component: str) -> Evidence:
    labels = ((spec_of(workload).get("selector") or {}).get("matchLabels") or {}).items()

    sets: Objects = facts.get(REPLICA_SETS, [])
    pods: Objects = facts[PODS]
    events: Objects = facts.get(EVENTS, [])
    lines: dict[str, list[str]] = facts.get(LAST_LINES, {})

    def chosen(things: Sequence[KubernetesObject]) -> list[KubernetesObject]:
        return [one for one in things if labels <= labels_of(one).items()]

    return Evidence(
        component=component,
        namespace=facts[DEPLOYED].namespace,
        workload=workload,
        replica_sets=chosen(sets),
        pods=chosen(pods),
        claims=[one for one in facts.get(CLAIMS, []) if component_of(one) == component],
        events=events,
        last_lines=lines,
    )


def _judge(*codes: str) -> Callable[[Facts], Iterator[Trouble]]:
    def judge(facts: Facts) -> Iterator[Trouble]:
        for one in causes(facts):
            cause = one.cause
            if cause.code in codes:
                hint = cause.hint if isinstance(cause.hint, Hint) else Hint(cause.hint)
                first, *rest = cause.message.splitlines()
                evidence = (f"cause {cause.code}", *(line.strip() for line in rest[-_LINES:]))
                yield Trouble(cause.subject, first, hint, evidence=evidence, component=one.component, serves=one.serves)

    return judge


_LINES = 3
"""Lines of a log that are shown as evidence."""
_SEE: Mapping[str, Hint] = {
    "start": Hint("see the pod's events: ", Command("status")),
    "log": Hint("see the log of the component: ", Command("logs")),
}


def _check(code: str, title: str, of: tuple[str, ...], see: str = "start", explains: tuple[str, ...] = ()) -> Check:
    symptoms: tuple[Symptom, ...] = (UNAVAILABLE, OOM) if "out-of-memory" in of else (UNAVAILABLE,)
    passing = of[0] in ("stopping", "pulling", "evicted")
    return Check(
        code=code,
        title=title,
        category=Category.DEPLOYMENT,
        severity=Severity.WARNING if passing else Severity.ERROR,
        needs=(WORKLOADS, PODS, DEPLOYED),
        judge=_judge(*of),
        fix=_SEE[see],
        symptoms=symptoms,
        explains=explains,
        stops=True,
        follows=of[0] in ("probe", "probe-kill", "crash"),
    )


CHECKS = (
    _check("LR130", "pods fit into the namespace's quota", ("quota",)),
    _check("LR131", "containers fit into the namespace's LimitRange", ("limit-range",)),
    _check("LR132", "ConfigMaps, Secrets and service accounts of pods exist", ("config-missing",)),
    _check("LR133", "admission accepts the pods", ("admission",)),
    _check("LR134", "volume claims are bound", ("volume-unbound",)),
    _check("LR135", "pods are not evicted", ("evicted",)),
    _check("LR136", "pods can run where their volumes are", ("volume-node",)),
    _check("LR137", "no pod of an old revision blocks the rollout", ("old-revision",)),
    _check("LR138", "every pod can be scheduled on a node", ("unschedulable",)),
    _check("LR139", "volumes can be mounted", ("volume-mount",)),
    _check("LR140", "pods get a network", ("pod-network",)),
    _check("LR141", "images can be pulled", ("image-pull", "image-name")),
    _check("LR142", "readiness probes succeed", ("probe",), "log"),
    _check("LR143", "liveness and startup probes succeed", ("probe-kill",), "log"),
    _check("LR144", "containers can be created", ("container-config",)),
    _check("LR145", "containers do not crash", ("crash",), "log"),
    _check(
        "LR146", "containers are not killed for exceeding their memory limit", ("out-of-memory",), "log", ("LR401",)
    ),
    _check("LR147", "nodes of pods are ready", ("node-lost",)),
    _check("LR148", "replaced pods terminate in time", ("stopping",)),
    _check("LR149", "images have been pulled", ("pulling",)),
)
