"""Checks of the cluster below a release: nodes, quotas, DNS, clocks, certificates, autoscalers. Pure."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from lightragctl.core.findings import Severity
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject
from lightragctl.core.quantity import quantity
from lightragctl.diagnose.check import OOM, SLOW, UNAVAILABLE, Category, Check, Trouble
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import (
    AUTOSCALERS,
    BUDGETS,
    CERTIFICATES,
    DEPLOYED,
    DNS_PODS,
    INSIDE,
    NODE_LEASES,
    NODES,
    PODS,
    POLICIES,
    QUOTAS,
    RULES,
    THRESHOLDS,
    WORKLOADS,
)
from lightragctl.diagnose.lookup import unix
from lightragctl.diagnose.text import hint_of, percent
from lightragctl.kube.labels import INSTANCE, component_of
from lightragctl.kube.objects import condition, has_condition, is_ready, labels_of, name_of, spec_of, status_of

_DAY_S = 86400.0


def _used_nodes(facts: Facts) -> dict[str, list[str]]:
    """Names of the release's pods by node."""
    found: dict[str, list[str]] = {}
    for pod in facts[PODS]:
        if node := spec_of(pod).get("nodeName"):
            found.setdefault(str(node), []).append(name_of(pod))
    return found


def _nodes_down(facts: Facts) -> Iterator[Trouble]:
    used = _used_nodes(facts)
    silent = _silent_s(facts)
    for node in facts[NODES]:
        ready = condition(status_of(node), "Ready")
        if name_of(node) in used and ready.get("status") != "True":
            pods = ", ".join(sorted(used[name_of(node)]))
            message = f"it is not ready ({ready.get('message') or ready.get('reason') or 'no status'}); it runs {pods}"
            hint = Hint(f"see the node: kubectl describe node {name_of(node)}; its pods move after some minutes")
            yield Trouble(f"Node/{name_of(node)}", message, hint, evidence=(f"Ready={ready.get('status')}",))
        elif name_of(node) in used and silent.get(name_of(node), 0.0) > _SILENT_S:
            pods = ", ".join(sorted(used[name_of(node)]))
            message = f"it has not reported for {silent[name_of(node)]:.0f} s; it runs {pods}"
            hint = Hint(f"see the node and its kubelet: kubectl describe node {name_of(node)}")
            yield Trouble(f"Node/{name_of(node)}", message, hint, evidence=("its lease is renewed every 10 s",))


_SILENT_S = 30.0
"""The kubelet renews its node's lease every 10 s; the node controller waits 50 s before it says so."""


def _silent_s(facts: Facts) -> dict[str, float]:
    """How much older each node's lease is than the newest one: all may be old by this machine's clock."""
    renewed = {name_of(one): unix(str(spec_of(one).get("renewTime") or "")) for one in facts.get(NODE_LEASES, [])}
    newest = max((at for at in renewed.values() if at is not None), default=0.0)
    return {name: newest - at for name, at in renewed.items() if at is not None}


def _pressure(facts: Facts) -> Iterator[Trouble]:
    used = _used_nodes(facts)
    for node in facts[NODES]:
        for kind in ("MemoryPressure", "DiskPressure", "PIDPressure"):
            if name_of(node) in used and has_condition(status_of(node), kind):
                message = f"{kind}: the kubelet evicts pods from it"
                hint = Hint(f"free resources on the node, or add nodes: kubectl describe node {name_of(node)}")
                evidence = (str(condition(status_of(node), kind).get("message", kind)),)
                yield Trouble(f"Node/{name_of(node)}", message, hint, evidence=evidence)


def _gpu_lost(facts: Facts) -> Iterator[Trouble]:
    """A node that has GPUs and offers none: its device plugin does not run."""
    for node in facts[NODES]:
        there, offered = (
            int(quantity((status_of(node).get(key) or {}).get("nvidia.com/gpu", 0)))
            for key in ("capacity", "allocatable")
        )
        if there > offered:
            message = f"{offered} of its {there} GPUs are allocatable: the device plugin or a GPU has failed"
            hint = Hint("see the device plugin's pods: kubectl get pods -A -l name=nvidia-device-plugin-ds -o wide")
            yield Trouble(
                f"Node/{name_of(node)}", message, hint, evidence=(f"capacity {there}, allocatable {offered}",)
            )


def _quota(facts: Facts) -> Iterator[Trouble]:
    most = facts[THRESHOLDS].quota_high
    for quota in facts[QUOTAS]:
        status = status_of(quota)
        for name, hard in (status.get("hard") or {}).items():
            used = (status.get("used") or {}).get(name, "0")
            if quantity(hard) and float(quantity(used) / quantity(hard)) > most:
                message = f"{name}: {used} of {hard} are used; a rollout needs room for one more pod"
                hint = Hint("raise the quota (profile key quota), then: ", Command("up"))
                evidence = (f"used {percent(float(quantity(used)), float(quantity(hard)))}, threshold {most:.0%}",)
                yield Trouble(f"ResourceQuota/{name_of(quota)}", message, hint, evidence=evidence)


def _dns(facts: Facts) -> Iterator[Trouble]:
    pods = facts[DNS_PODS]
    if pods and not any(is_ready(pod) for pod in pods):
        message = f"none of its {len(pods)} DNS pods is ready: no name of a Service can be resolved"
        yield Trouble("kube-system/kube-dns", message, Hint("kubectl -n kube-system describe pods -l k8s-app=kube-dns"))


_SKEW_S = 5.0
"""Certificates, tokens and time ticks tolerate some seconds; the call that reads the clock takes less."""


def _clock(facts: Facts) -> Iterator[Trouble]:
    """A node's lease is renewed every 10 s by its own clock: one from the future, or old on a ready node, is skew.

    A clock that was read in a pod is more exact, where there is one.
    """
    most, now = facts[THRESHOLDS].clock_skew_s, facts[DEPLOYED].at
    near = {one.node: one.skew_s for one in facts.get(INSIDE, [])}
    for node, skew_s in near.items():
        if abs(skew_s) > min(most, _SKEW_S):
            message = f"its clock and this machine's differ by {abs(skew_s):.0f} s"
            hint = Hint("synchronize the clocks: run chrony or systemd-timesyncd on nodes and here")
            yield Trouble(f"Node/{node}", message, hint, evidence=(f"read in a pod: {skew_s:+.1f} s",))
    ready = {name_of(node) for node in facts[NODES] if is_ready(node)} - near.keys()
    silent = _silent_s(facts)
    for lease in facts[NODE_LEASES]:
        at = unix(str(spec_of(lease).get("renewTime") or ""))
        if at is None or name_of(lease) not in ready or silent.get(name_of(lease), 0.0) > _SILENT_S:
            continue
        if abs(now - at) > most:
            message = f"its clock and this machine's differ by {abs(now - at):.0f} s"
            hint = Hint("synchronize the clocks: run chrony or systemd-timesyncd on nodes and here")
            evidence = (f"lease renewed {now - at:+.0f} s before now, threshold {most:g} s",)
            yield Trouble(f"Node/{name_of(lease)}", message, hint, evidence=evidence)


def _expiring(facts: Facts, least_days: float, most_days: float) -> Iterator[Trouble]:
    for one in facts[CERTIFICATES]:
        days = (one.until - facts[DEPLOYED].at) / _DAY_S
        if least_days <= days < most_days:
            ends = datetime.fromtimestamp(one.until, UTC).strftime("%Y-%m-%d")
            message = f"the certificate of {one.used_by} " + (
                f"expired on {ends}" if days < 0 else f"expires on {ends}, in {days:.0f} days"
            )
            hint = Hint(f"renew it, and put it into Secret {one.secret}; with cert-manager: kubectl get certificate")
            yield Trouble(f"Secret/{one.secret}", message, hint, evidence=(f"threshold {most_days:g} days",))


def _expired(facts: Facts) -> Iterator[Trouble]:
    yield from _expiring(facts, float("-inf"), facts[THRESHOLDS].certificate_critical_days)


def _expires(facts: Facts) -> Iterator[Trouble]:
    thresholds = facts[THRESHOLDS]
    yield from _expiring(facts, thresholds.certificate_critical_days, thresholds.certificate_days)


def _scalers(facts: Facts) -> Iterator[KubernetesObject]:
    """Autoscalers of the workloads of the release, also those of other users."""
    ours = {(one["kind"], name_of(one)) for one in facts[WORKLOADS]}
    for one in facts[AUTOSCALERS]:
        target = spec_of(one).get("scaleTargetRef") or {}
        if (target.get("kind"), target.get("name")) in ours:
            yield one


def _blind(facts: Facts) -> Iterator[Trouble]:
    for one in _scalers(facts):
        active = condition(status_of(one), "ScalingActive")
        if active.get("status") == "False" and active.get("reason") != "ScalingDisabled":
            message = f"it cannot scale: {active.get('message') or active.get('reason')}"
            hint = Hint("install metrics-server, or the adapter that serves its metric: kubectl get apiservices")
            yield Trouble(_subject(one), message, hint, evidence=(f"ScalingActive=False, {active.get('reason')}",))


def _at_most(facts: Facts) -> Iterator[Trouble]:
    for one in _scalers(facts):
        limited = condition(status_of(one), "ScalingLimited")
        if limited.get("status") == "True" and limited.get("reason") == "TooManyReplicas":
            most = spec_of(one).get("maxReplicas")
            message = f"it is at its maximum of {most} pods and would scale further"
            hint = Hint("raise autoscale.max of the component, or its resources, then: ", Command("up"))
            yield Trouble(_subject(one), message, hint, component=component_of(one), evidence=("ScalingLimited=True",))


def _budget(facts: Facts) -> Iterator[Trouble]:
    for one in facts[BUDGETS]:
        status = status_of(one)
        if not any(_selects(spec_of(one).get("selector") or {}, pod) for pod in facts[PODS]):
            continue
        expected, healthy = int(status.get("expectedPods") or 0), int(status.get("currentHealthy") or 0)
        if expected and healthy >= expected and not status.get("disruptionsAllowed"):
            message = f"all {expected} pods are healthy and none may be evicted: draining a node waits forever"
            hint = Hint(
                "lower disruption_budget.min_available of the component, or add replicas, then: ", Command("up")
            )
            evidence = ("disruptionsAllowed=0", f"currentHealthy={healthy}, expectedPods={expected}")
            yield Trouble(f"PodDisruptionBudget/{name_of(one)}", message, hint, evidence=evidence)
    selected = [(name_of(one), (spec_of(one).get("selector") or {}).get("matchLabels") or {}) for one in facts[BUDGETS]]
    for pod in facts[PODS]:
        mine = [name for name, labels in selected if labels and labels.items() <= labels_of(pod).items()]
        if len(mine) > 1:
            message = f"{len(mine)} budgets select it ({', '.join(mine)}): it cannot be evicted at all"
            yield Trouble(f"Pod/{name_of(pod)}", message, Hint("delete the budgets that are not the release's"))


def _policies(facts: Facts) -> Iterator[Trouble]:
    """Policies add up: a pod is cut off in a direction when some policy selects it and none has a rule for it.

    Pods that the release's own policies select have the rules that they need.
    """
    release = facts[DEPLOYED].release
    ours = [one for one in facts[POLICIES] if labels_of(one).get(INSTANCE) == release]
    pods = [pod for pod in facts[PODS] if not any(_selects(spec_of(one).get("podSelector") or {}, pod) for one in ours)]
    for word in ("Ingress", "Egress"):
        selecting: dict[str, list[str]] = {}
        allowed: set[str] = set()
        for policy in facts[POLICIES]:
            spec = spec_of(policy)
            if word not in (spec.get("policyTypes") or ("Ingress",)):
                continue
            for pod in pods:
                if _selects(spec.get("podSelector") or {}, pod):
                    selecting.setdefault(name_of(policy), []).append(name_of(pod))
                    allowed |= {name_of(pod)} if spec.get(word.lower()) else set()
        for name, selected in selecting.items():
            if cut := sorted(set(selected) - allowed):
                message = f"it denies all {word.lower()} of {len(cut)} pods of the release, such as {cut[0]}"
                hint = Hint(
                    "set network: {} in the profile for policies that allow what is needed, then ", Command("up")
                )
                yield Trouble(f"NetworkPolicy/{name}", message, hint, evidence=(f"policyTypes has {word}, no rule",))


def _selects(selector: Mapping[str, object], pod: KubernetesObject) -> bool:
    """Whether a selector of labels selects the pod; one of expressions is taken to select nothing."""
    labels = selector.get("matchLabels") or {}
    if selector.get("matchExpressions") or not isinstance(labels, Mapping):
        return False
    return labels.items() <= labels_of(pod).items()


def _rules(facts: Facts, severity: Severity) -> Iterator[Trouble]:
    for one in facts[RULES]:
        if one.severity == severity:
            yield Trouble(one.subject, f"{one.message} ({one.code})", hint_of(one.hint))


def _subject(thing: KubernetesObject) -> str:
    return f"{thing.get('kind')}/{name_of(thing)}"


_CLUSTER, _ERROR, _WARNING = Category.CLUSTER, Severity.ERROR, Severity.WARNING
_STARTS = ("LR130", "LR131", "LR132", "LR133", "LR134", "LR136", "LR138", "LR139", "LR140", "LR141")

CHECKS = (
    Check(
        code="LR101",
        title="the nodes of the release's pods are ready",
        category=_CLUSTER,
        severity=_ERROR,
        needs=(NODES, PODS),
        judge=_nodes_down,
        fix=Hint("restore the node, or delete it: kubectl get nodes"),
        symptoms=(UNAVAILABLE, SLOW),
        explains=("LR102", "LR116", "LR117", "LR136", "LR142", "LR143", "LR145", "LR147", "LR159", "LR200", "LR219"),
    ),
    Check(
        code="LR102",
        title="no node of the release has memory, disk or PID pressure",
        category=_CLUSTER,
        severity=_WARNING,
        needs=(NODES, PODS),
        judge=_pressure,
        fix=Hint("add memory or disk, or move pods away"),
        symptoms=(OOM, SLOW, UNAVAILABLE),
        explains=("LR135",),
    ),
    Check(
        code="LR103",
        title="all GPUs of the nodes are allocatable",
        category=_CLUSTER,
        severity=_ERROR,
        needs=(NODES,),
        judge=_gpu_lost,
        fix=Hint("restart the device plugin; drain the node when a GPU has failed"),
        symptoms=(UNAVAILABLE,),
        explains=("LR138", "LR313"),
    ),
    Check(
        code="LR104",
        title="the namespace's quotas have headroom",
        category=_CLUSTER,
        severity=_WARNING,
        needs=(QUOTAS, THRESHOLDS),
        judge=_quota,
        fix=Hint("raise the quota, or lower replicas and resources"),
        symptoms=(UNAVAILABLE, OOM),
    ),
    Check(
        code="LR105",
        title="the cluster resolves names",
        category=_CLUSTER,
        severity=_ERROR,
        needs=(DNS_PODS,),
        judge=_dns,
        fix=Hint("see the DNS pods: kubectl -n kube-system get pods -l k8s-app=kube-dns"),
        symptoms=(UNAVAILABLE, SLOW),
        explains=("LR115", "LR142", "LR145", "LR147", "LR159", "LR180", "LR201", "LR221", "LR301", "LR304"),
    ),
    Check(
        code="LR106",
        title="clocks agree",
        category=_CLUSTER,
        severity=_WARNING,
        needs=(NODE_LEASES, NODES, DEPLOYED, THRESHOLDS),
        judge=_clock,
        fix=Hint("synchronize the clocks of the nodes"),
        symptoms=(SLOW, UNAVAILABLE),
    ),
    Check(
        code="LR107",
        title="certificates of Ingresses are valid",
        category=_CLUSTER,
        severity=_ERROR,
        needs=(CERTIFICATES, DEPLOYED, THRESHOLDS),
        judge=_expired,
        fix=Hint("renew it in the Secret that the Ingress names; with cert-manager: kubectl get certificate"),
        symptoms=(UNAVAILABLE,),
    ),
    Check(
        code="LR108",
        title="certificates of Ingresses stay valid for a month",
        category=_CLUSTER,
        severity=_WARNING,
        needs=(CERTIFICATES, DEPLOYED, THRESHOLDS),
        judge=_expires,
        fix=Hint("renew it in the Secret that the Ingress names; with cert-manager: kubectl get certificate"),
    ),
    Check(
        code="LR109",
        title="autoscalers can read their metrics",
        category=_CLUSTER,
        severity=_WARNING,
        needs=(AUTOSCALERS, WORKLOADS),
        judge=_blind,
        fix=Hint("install metrics-server or the metrics adapter"),
        symptoms=(SLOW,),
    ),
    Check(
        code="LR110",
        title="autoscalers are below their maximum",
        category=_CLUSTER,
        severity=_WARNING,
        needs=(AUTOSCALERS, WORKLOADS),
        judge=_at_most,
        fix=Hint("raise autoscale.max of the component, or its resources, then: ", Command("up")),
        symptoms=(SLOW,),
    ),
    Check(
        code="LR111",
        title="disruption budgets let nodes be drained",
        category=_CLUSTER,
        severity=_WARNING,
        needs=(BUDGETS, PODS),
        judge=_budget,
        fix=Hint("set disruption_budget.max_unavailable to 1, or add replicas, then: ", Command("up")),
    ),
    Check(
        code="LR112",
        title="no other network policy isolates the release's pods",
        category=_CLUSTER,
        severity=_WARNING,
        needs=(POLICIES, PODS, DEPLOYED),
        judge=_policies,
        fix=Hint("allow what the release needs, by network: {} in the profile"),
        symptoms=(UNAVAILABLE, SLOW),
        explains=("LR115", "LR116", "LR142", "LR180", "LR201", "LR221", "LR301", "LR304"),
    ),
    Check(
        code="LR113",
        title="the cluster has what the release needs to run",
        category=_CLUSTER,
        severity=_ERROR,
        needs=(RULES,),
        judge=lambda facts: _rules(facts, Severity.ERROR),
        fix=Hint("see the rule: docs/reference/rules.md"),
        symptoms=(UNAVAILABLE,),
        explains=_STARTS,
    ),
    Check(
        code="LR114",
        title="the cluster has what the release may need",
        category=_CLUSTER,
        severity=_WARNING,
        needs=(RULES,),
        judge=lambda facts: _rules(facts, Severity.WARNING),
        fix=Hint("see the rule: docs/reference/rules.md"),
    ),
)
