"""Checks for unused resources that cost money. Pure."""

from collections.abc import Iterator
from functools import partial

from lightragctl.core.findings import Severity
from lightragctl.core.hint import Command, Hint
from lightragctl.core.quantity import quantity
from lightragctl.diagnose.check import OOM, Category, Check, Trouble
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import CLAIMS, COLLECTIONS, DEPLOYED, POD_METRICS, PODS, PROCESSES, RECORD, THRESHOLDS
from lightragctl.diagnose.lookup import unix
from lightragctl.diagnose.text import sized
from lightragctl.kube.labels import component_of
from lightragctl.kube.objects import name_of, spec_of, status_of
from lightragctl.observe.volumes import claim_names

_LEAST_BYTES = 4 * 1024**3
_LEAST_CORES = 4
_SETTLED_S = 6 * 3600.0
_MANY_ROWS = 100_000


def _over_requested(facts: Facts) -> Iterator[Trouble]:
    """Pods that run for hours and use far less memory or CPU than they request."""
    used: dict[str, dict[str, float]] = {}
    for one in facts[POD_METRICS]:
        for container in one.get("containers") or ():
            mine = used.setdefault(name_of(one), {"memory": 0.0, "cpu": 0.0})
            for name in mine:
                mine[name] += float(quantity((container.get("usage") or {}).get(name, "0")))
    factor = facts[THRESHOLDS].over_requested
    for pod in facts[PODS]:
        started = unix(str(status_of(pod).get("startTime") or ""))
        if name_of(pod) not in used or started is None or facts[DEPLOYED].at - started < _SETTLED_S:
            continue
        for name, least in (("memory", _LEAST_BYTES), ("cpu", _LEAST_CORES)):
            asked = _requested(pod, name)
            uses = used[name_of(pod)][name]
            if asked >= least and uses and asked > factor * uses:
                shown = (sized(asked), sized(uses)) if name == "memory" else (f"{asked:g}", f"{uses:.2f}")
                message = f"it requests {name} {shown[0]} and uses {shown[1]}"
                hint = Hint(f"lower components.{component_of(pod)}.resources.requests.{name}, then: ", Command("up"))
                evidence = (f"metrics.k8s.io, threshold {factor:g} times",)
                yield Trouble(f"Pod/{name_of(pod)}", message, hint, evidence=evidence)


def _requested(pod: dict[str, object], name: str) -> float:
    return sum(
        float(quantity(((one.get("resources") or {}).get("requests") or {}).get(name, "0")))
        for one in spec_of(pod).get("containers") or ()
    )


def _strangers(facts: Facts) -> Iterator[Trouble]:
    """Large loaded collections that belong to no workspace of the release."""
    workspace = facts[DEPLOYED].workspace
    for one in facts[COLLECTIONS]:
        is_large = (one.rows or 0) >= _MANY_ROWS
        if one.state == "Loaded" and is_large and not one.name.startswith(f"{workspace}_"):
            message = f"it is loaded with {one.rows} rows, and does not belong to workspace {workspace}"
            hint = Hint("release it if no other workspace is served: it stays on disk")
            yield Trouble(one.name, message, hint)


def _logs(facts: Facts) -> Iterator[Trouble]:
    most = facts[THRESHOLDS].log_bytes
    for one in facts[PROCESSES]:
        if one.log_bytes > most:
            message = f"its log has {sized(one.log_bytes)}: the supervisor does not truncate it"
            hint = Hint(
                "see which lines it repeats: ", Command("logs", one.name), "; start the supervisor: ", Command("up")
            )
            yield Trouble(one.name, message, hint, evidence=(f"threshold {sized(most)}",))


def _unused(facts: Facts) -> Iterator[Trouble]:
    if facts[RECORD].stopped:
        return
    used = set().union(*(claim_names(spec_of(pod)) for pod in facts[PODS]))
    for one in facts[CLAIMS]:
        parts = facts[DEPLOYED].components
        if name_of(one) not in used and component_of(one) and component_of(one) not in parts:
            size = ((spec_of(one).get("resources") or {}).get("requests") or {}).get("storage", "")
            message = f"no pod uses it: component {component_of(one)} is no longer deployed; it holds {size}"
            hint = Hint(f"delete it with its data: kubectl -n {facts[DEPLOYED].namespace} delete pvc {name_of(one)}")
            yield Trouble(f"PersistentVolumeClaim/{name_of(one)}", message, hint)


_check = partial(Check, category=Category.COST, severity=Severity.WARNING)

CHECKS = (
    _check(
        code="LR801",
        title="pods use what they request",
        needs=(POD_METRICS, PODS, DEPLOYED, THRESHOLDS),
        judge=_over_requested,
        fix=Hint("lower resources.requests of the component, then: ", Command("up")),
    ),
    _check(
        code="LR802",
        title="loaded collections are in use",
        needs=(COLLECTIONS, DEPLOYED),
        judge=_strangers,
        fix=Hint("release the collection in Milvus if no other workspace is served: its data stay on disk"),
        symptoms=(OOM,),
    ),
    _check(
        code="LR803",
        title="logs are bounded",
        needs=(PROCESSES, THRESHOLDS),
        judge=_logs,
        fix=Hint("start the supervisor: ", Command("up")),
    ),
    _check(
        code="LR804",
        title="volume claims are in use",
        needs=(CLAIMS, PODS, RECORD, DEPLOYED),
        judge=_unused,
        fix=Hint("delete the claim with its data, or deploy its component again"),
    ),
)
