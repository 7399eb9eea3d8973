"""Checks of what pods see from inside: names, connections, network, space on volumes; and their namespace. Pure."""

from collections.abc import Iterator
from functools import partial

from lightragctl.core.findings import Severity
from lightragctl.core.hint import Command, Hint
from lightragctl.diagnose.check import SLOW, UNAVAILABLE, Category, Check, Trouble
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import CLUSTER_SERVICES, DEPLOYED, INSIDE, NAMESPACE, PODS, THRESHOLDS, VOLUMES
from lightragctl.diagnose.text import percent, share, sized
from lightragctl.kube.objects import deletion_time, is_ready, labels_of, name_of, spec_of


def _names(facts: Facts) -> Iterator[Trouble]:
    """Names that do not resolve; those of the release's Services, which exist, show that DNS itself fails."""
    failed = [
        (one, each) for one in facts[INSIDE] for each in one.reached if _is_unnamed(facts, each.target, each.error)
    ]
    ours = [pair for pair in failed if pair[1].component]
    if ours:
        names = ", ".join(sorted({each.target.partition(":")[0] for _, each in ours}))
        pods = ", ".join(sorted({one.pod for one, _ in ours}))
        message = f"pods cannot resolve names of Services that exist: {names}"
        evidence = (f"tried from inside {pods}",)
        yield Trouble("cluster DNS", message, Hint("kubectl -n kube-system get pods,svc,endpoints"), evidence=evidence)
        return
    for one, each in failed:
        message = f"its host cannot be resolved from Pod/{one.pod}"
        hint = Hint("check the address in the profile, and the DNS that the cluster forwards to")
        yield Trouble(each.target, message, hint, component=one.component)


def _is_unnamed(facts: Facts, target: str, error: str) -> bool:
    """Whether a name failed; a name of a Service that is gone is no fault of the DNS."""
    host = target.partition(":")[0]
    known = {name_of(one) for one in facts[CLUSTER_SERVICES]}
    return error == "name" or (error == "timeout" and host in known and _all_late(facts))


def _all_late(facts: Facts) -> bool:
    """Whether every connection by name ran out of time, as when no DNS server answers."""
    errors = [each.error for one in facts[INSIDE] for each in one.reached]
    return bool(errors) and set(errors) <= {"timeout", "name"}


def _connections(facts: Facts) -> Iterator[Trouble]:
    """Connections that fail although a pod behind the Service is ready."""
    if any(True for _ in _names(facts)):
        return
    told: set[str] = set()
    for one in facts[INSIDE]:
        for each in one.reached:
            if not each.error or each.error == "name" or each.target in told:
                continue
            if each.component and not _ready(facts, each.target.partition(":")[0]):
                continue
            told.add(each.target)
            how = {"refused": "is refused", "timeout": "gets no answer within 2 s"}.get(
                each.error, f"fails: {each.error}"
            )
            message = f"a connection to {each.target} from Pod/{one.pod} {how}" + (
                ", although its pod is ready" if each.component else ""
            )
            hint = _SERVICE if each.component else _OUTSIDE
            evidence = (f"tried from inside Pod/{one.pod} on {one.node}",)
            component = each.component or one.component
            yield Trouble(f"connection to {each.target}", message, hint, evidence=evidence, component=component)


_SERVICE = Hint("compare the Service's port and selector: ", Command("diff"), "; then network policies and kube-proxy")
_OUTSIDE = Hint("check that the server runs, its address in the profile, network policies and firewalls")


def _ready(facts: Facts, service: str) -> bool:
    """Whether a pod that the Service selects is ready."""
    found = next((one for one in facts[CLUSTER_SERVICES] if name_of(one) == service), None)
    selector = (spec_of(found).get("selector") or {}) if found else {}
    pods = [one for one in facts[PODS] if selector and selector.items() <= labels_of(one).items()]
    return any(is_ready(one) and not deletion_time(one) for one in pods)


def _slow(facts: Facts) -> Iterator[Trouble]:
    most_s = facts[THRESHOLDS].network_s
    for one in facts[INSIDE]:
        for each in one.reached:
            if not each.error and each.took_s > most_s:
                message = f"a round trip from Pod/{one.pod} takes {each.took_s:.2f} s"
                hint = Hint("check the network between their nodes, and the load of both: kubectl top nodes")
                evidence = (f"measured from inside the pod, threshold {most_s:g} s",)
                yield Trouble(
                    f"connection to {each.target}", message, hint, evidence=evidence, component=each.component
                )


def _volumes(facts: Facts, least: float, most: float) -> Iterator[Trouble]:
    for one in facts[VOLUMES]:
        used = one.size_bytes - one.free_bytes
        if least < share(used, one.size_bytes) <= most:
            message = (
                f"{percent(used, one.size_bytes)} of its volume {one.path} are in use, {sized(one.free_bytes)} are free"
            )
            hint = Hint(f"raise components.{one.component}.storage, then: ", Command("up"), "; or free space on it")
            evidence = (f"df in the pod, threshold {least:.0%}",)
            yield Trouble(f"Pod/{one.pod}", message, hint, evidence=evidence, component=one.component, serves=True)


def _volumes_high(facts: Facts) -> Iterator[Trouble]:
    yield from _volumes(facts, facts[THRESHOLDS].disk_high, facts[THRESHOLDS].disk_critical)


def _volumes_critical(facts: Facts) -> Iterator[Trouble]:
    yield from _volumes(facts, facts[THRESHOLDS].disk_critical, float("inf"))


def _namespace(facts: Facts) -> Iterator[Trouble]:
    found = facts[NAMESPACE]
    if found.terminating:
        message = "it is being deleted with everything in it; nothing can be created in it any more"
        hint = Hint(f"see what blocks its deletion: kubectl get namespace {found.name} -o yaml; then: ", Command("up"))
        yield Trouble(f"Namespace/{found.name}", message, hint, evidence=tuple(found.blocked_by))


_ERROR, _WARNING = Severity.ERROR, Severity.WARNING
_check = partial(Check, category=Category.CLUSTER, symptoms=(UNAVAILABLE, SLOW))

CHECKS = (
    _check(
        code="LR115",
        title="pods resolve the names that they need",
        severity=_ERROR,
        needs=(INSIDE, CLUSTER_SERVICES),
        judge=_names,
        fix=Hint("see the DNS of the cluster: kubectl -n kube-system get pods,svc,endpoints"),
        explains=(
            *("LR116", "LR142", "LR143", "LR145", "LR159", "LR180", "LR201", "LR202", "LR217", "LR218", "LR221"),
            *("LR301", "LR304", "LR305", "LR310", "LR700"),
        ),
    ),
    _check(
        code="LR116",
        title="pods reach the Services that they need",
        severity=_ERROR,
        needs=(INSIDE, CLUSTER_SERVICES, PODS),
        judge=_connections,
        fix=_SERVICE,
        stops=True,
        follows=True,
        explains=("LR180",),
        explains_own=True,
    ),
    _check(
        code="LR117",
        title="the network between pods is quick",
        severity=_WARNING,
        needs=(INSIDE, THRESHOLDS),
        judge=_slow,
        fix=Hint("check the network between nodes: same zone, no packet loss, no overloaded node"),
        explains=("LR202", "LR215", "LR220", "LR309", "LR304"),
    ),
    _check(
        code="LR118",
        title="the release's namespace is not being deleted",
        severity=_ERROR,
        needs=(NAMESPACE,),
        judge=_namespace,
        fix=Hint("see what blocks its deletion: kubectl get namespace NAME -o yaml"),
        explains=("LR133", "LR150", "LR152", "LR154", "LR157", "LR158", "LR159", "LR200", "LR219"),
    ),
    _check(
        code="LR415",
        title="the pods' volumes have free space",
        category=Category.MEMORY,
        severity=_WARNING,
        needs=(VOLUMES, DEPLOYED, THRESHOLDS),
        judge=_volumes_high,
        fix=Hint("raise the component's storage, then: ", Command("up")),
    ),
    _check(
        code="LR416",
        title="the pods' volumes are not full",
        category=Category.MEMORY,
        severity=_ERROR,
        needs=(VOLUMES, DEPLOYED, THRESHOLDS),
        judge=_volumes_critical,
        fix=Hint("raise the component's storage, then: ", Command("up")),
        explains=("LR145", "LR180", "LR187", "LR212", "LR219", "LR222"),
    ),
)
