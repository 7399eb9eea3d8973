"""Checks of a release's objects on a cluster: drift, rollouts, restarts. Pure."""

from collections.abc import Iterator

from lightragctl.core.findings import Severity
from lightragctl.core.hint import Command, Hint
from lightragctl.diagnose.check import OOM, SLOW, UNAVAILABLE, WRONG, Category, Check, Trouble
from lightragctl.diagnose.checks.causes import causes
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import (
    ASLEEP,
    CLUSTER_SERVICES,
    DANGERS,
    DEPLOYED,
    DRIFT,
    PODS,
    RECENT_SIGNS,
    RECORD,
    SIGNS,
    SLICES,
    THRESHOLDS,
    WORKLOADS,
)
from lightragctl.diagnose.lookup import unix
from lightragctl.diagnose.model import Change
from lightragctl.diagnose.signatures import BY_NAME, LASTING, RECENT_S
from lightragctl.diagnose.text import hint_of
from lightragctl.kube.labels import component_of
from lightragctl.kube.objects import (
    container_statuses,
    deletion_time,
    is_ready,
    labels_of,
    name_of,
    spec_of,
    status_of,
)
from lightragctl.observe.kstatus import Status, compute

_GRACE_S, _HELD_S = 60.0, 10.0
"""A node confirms late that a pod has ended; a controller removes its finalizer at once."""
_START_S, _START_ENDS = 300.0, 3
"""A pod that starts before what it needs may end a few times in its first minutes."""


def _asleep(facts: Facts) -> Iterator[Trouble]:
    parts = {f"{one['kind']}/{name_of(one)}": component_of(one) for one in facts[WORKLOADS]}
    for subject, why in facts[ASLEEP].items():
        hint = Hint("scale it up again: ", Command("up"))
        yield Trouble(subject, why, hint, component=parts.get(subject, ""), evidence=("spec.replicas=0",))


_RESTARTED = "annotations[kubectl.kubernetes.io/restartedAt]"
"""What `kubectl rollout restart` sets: it replaces pods, and changes nothing in them."""


def _drift(facts: Facts) -> Iterator[Trouble]:
    changed: dict[str, list[Change]] = {}
    for one in facts[DRIFT]:
        if one.path and not one.path.endswith(_RESTARTED):
            changed.setdefault(one.subject, []).append(one)
    for subject, fields in changed.items():
        who = f" by {fields[0].manager}" if fields[0].manager else ""
        more = f", and {len(fields) - 1} more of its fields" if len(fields) > 1 else ""
        message = f"{fields[0].path} was changed{who} since it was applied{more}"
        back: tuple[str | Command, ...] = ("change it back: ", Command("up"))
        if any(one.added for one in fields):
            space = facts[DEPLOYED].namespace
            back = (f"the profile does not set it, so remove it by hand: kubectl -n {space} edit {subject}",)
        hint = Hint("compare: ", Command("diff"), "; ", *back, "; or accept it: drift.ignore")
        evidence = tuple(f"{one.path} by {one.manager or 'unknown'} at {one.time or 'unknown'}" for one in fields[:10])
        component = _component_named(facts, subject.rpartition("/")[2])
        yield Trouble(subject, message, hint, evidence=evidence, component=component)


def _gone(facts: Facts) -> Iterator[Trouble]:
    for one in facts[DRIFT]:
        if not one.path:
            kind, _, name = one.subject.rpartition("/")
            component = _component_named(facts, name) if kind.endswith(("Deployment", "StatefulSet", "Service")) else ""
            message = "it was deleted since it was applied, or belongs to another release now"
            yield Trouble(one.subject, message, Hint("recreate it: ", Command("up")), component=component)


def _component_named(facts: Facts, name: str) -> str:
    """The component of an object that is gone, by its name `RELEASE-COMPONENT`."""
    release = facts[DEPLOYED]
    fitting = [one for one in release.components if name.startswith(f"{release.release}-{one}")]
    return max(fitting, key=len, default="")


def _unfinished(facts: Facts) -> Iterator[Trouble]:
    record = facts[RECORD]
    if record.phase == "applying" and record.verdict in ("", "free", "dead"):
        held = f"; its lock was held by {record.held_by}" if record.held_by else ""
        message = f"the last change (revision {record.revision}) did not complete{held}"
        yield Trouble("release", message, Hint("go on: ", Command("up"), "; see: ", Command("history")))


def _stopped(facts: Facts) -> Iterator[Trouble]:
    if facts[RECORD].stopped:
        yield Trouble("release", "it is stopped", Hint("start it: ", Command("up")))


def _mixed(facts: Facts) -> Iterator[Trouble]:
    """Pods of one workload that run different images while no rollout is under way.

    All pods may run another image than the template: an admission webhook can rewrite it to a mirror.
    """
    for workload in facts[WORKLOADS]:
        if compute(workload).status is not Status.CURRENT:
            continue
        labels = ((spec_of(workload).get("selector") or {}).get("matchLabels") or {}).items()
        images: dict[str, list[str]] = {}
        for pod in (one for one in facts[PODS] if labels <= labels_of(one).items() and not deletion_time(one)):
            named = ", ".join(str(one.get("image")) for one in spec_of(pod).get("containers") or ())
            images.setdefault(named, []).append(name_of(pod))
        if len(images) > 1:
            message = f"its pods run {len(images)} different images, and no rollout is in progress"
            hint = Hint("complete the change, or revert it: ", Command("up"), " or ", Command("rollback"))
            evidence = tuple(f"{image}: {', '.join(sorted(pods))}" for image, pods in sorted(images.items()))
            subject = f"{workload['kind']}/{name_of(workload)}"
            yield Trouble(subject, message, hint, evidence=evidence, component=component_of(workload))
    yield from _moved_tags(facts)


def _moved_tags(facts: Facts) -> Iterator[Trouble]:
    """Pods of one image name that run different contents: the tag was moved between their starts."""
    ids: dict[tuple[str, str], set[str]] = {}
    for pod in facts[PODS]:
        for one in container_statuses(pod):
            if one.get("imageID") and one.get("image"):
                ids.setdefault((component_of(pod), str(one["image"])), set()).add(str(one["imageID"]))
    for (component, image), found in ids.items():
        if len(found) > 1:
            message = f"its pods run {len(found)} different images of the name {image}: the tag is mutable"
            hint = Hint("set a version tag or digest of the image in the profile, then: ", Command("up"))
            yield Trouble(f"component/{component}", message, hint, evidence=tuple(sorted(found)), component=component)


def _restarts(facts: Facts) -> Iterator[Trouble]:
    """Containers that ended recently and run again; a pod that is not ready has a finding of its own."""
    now, recent_s = facts[DEPLOYED].at, facts[THRESHOLDS].restarts_recent_s
    told = {one.cause.subject for one in causes(facts)}
    for pod in facts[PODS]:
        for one in container_statuses(pod):
            ended = (one.get("lastState") or {}).get("terminated") or {}
            at = unix(str(ended.get("finishedAt") or ""))
            count = int(one.get("restartCount") or 0)
            subject = f"Pod/{name_of(pod)}"
            if at is None or now - at > recent_s or subject in told or ended.get("reason") == "OOMKilled" or not count:
                continue
            if at - (unix(str(status_of(pod).get("startTime") or "")) or at) < _START_S and count <= _START_ENDS:
                continue
            why = f"{ended.get('reason', 'ended')}, exit code {ended.get('exitCode', '?')}"
            message = f"it was restarted {(now - at) / 60:.0f} minutes ago ({why}); {count} restarts in all"
            hint = Hint("see why: ", Command("logs", component_of(pod)))
            yield Trouble(subject, message, hint, component=component_of(pod))


def _terminating(facts: Facts) -> Iterator[Trouble]:
    for pod in facts[PODS]:
        at = unix(deletion_time(pod))
        finalizers = (pod.get("metadata") or {}).get("finalizers") or []
        if at is None or facts[DEPLOYED].at - at <= (_HELD_S if finalizers else _GRACE_S):
            continue
        late = f"it should have terminated {facts[DEPLOYED].at - at:.0f} s ago"
        why = (
            f"{late}: finalizers {', '.join(finalizers)} block its deletion"
            if finalizers
            else f"{late}: its node has not confirmed it"
        )
        name, space = name_of(pod), facts[DEPLOYED].namespace
        hint = Hint(f"see the controller of the finalizer, or the node: kubectl -n {space} describe pod {name}")
        yield Trouble(f"Pod/{name}", why, hint, component="" if is_ready(pod) else component_of(pod))


def _dangers(facts: Facts) -> Iterator[Trouble]:
    for one in facts[DANGERS]:
        if one.code != _OUTDATED:
            yield Trouble(one.subject, f"{one.message} ({one.code})", hint_of(one.hint))


def _outdated(facts: Facts) -> Iterator[Trouble]:
    for one in facts[DANGERS]:
        if one.code == _OUTDATED:
            yield Trouble(one.subject, one.message, hint_of(one.hint))


_OUTDATED = "config-outdated"


def _endpoints(facts: Facts) -> Iterator[Trouble]:
    for service in facts[CLUSTER_SERVICES]:
        selector, component = spec_of(service).get("selector") or {}, component_of(service)
        if not selector or (RECORD in facts and facts[RECORD].stopped):
            continue
        pods = [one for one in facts[PODS] if selector.items() <= labels_of(one).items()]
        ready = [one for one in pods if is_ready(one) and not deletion_time(one)]
        others = [one for one in facts[PODS] if component_of(one) == component and is_ready(one)]
        subject, words = (
            f"Service/{name_of(service)}",
            ",".join(f"{key}={one}" for key, one in sorted(selector.items())),
        )
        if not pods and others:
            message = f"its selector matches no pod, and {len(others)} pods of {component} are ready"
            hint = Hint("compare its selector: ", Command("diff"), "; change it back: ", Command("up"))
            yield Trouble(subject, message, hint, evidence=(f"selector {words}",), component=component)
        elif ready and not _listed(facts, name_of(service)):
            message = f"{len(ready)} pods are ready, and none is among its endpoints"
            hint = Hint("check that kube-controller-manager and kube-proxy run: kubectl -n kube-system get pods")
            yield Trouble(subject, message, hint, component=component)


def _listed(facts: Facts, service: str) -> bool:
    slices = [one for one in facts[SLICES] if labels_of(one).get("kubernetes.io/service-name") == service]
    return any(
        (endpoint.get("conditions") or {}).get("ready") is not False
        for one in slices
        for endpoint in one.get("endpoints") or ()
    )


def _signs(facts: Facts) -> Iterator[Trouble]:
    for component, signs in facts[SIGNS].items():
        certain = {name: count for name, count in signs.items() if name not in _UNCERTAIN}
        for name, count in (certain or signs).items():
            if known := BY_NAME.get(name):
                evidence = (f"{count} lines of its log match {name}",)
                yield Trouble(component, known.meaning, known.fix, evidence=evidence, component=component)


def _recent_signs(facts: Facts) -> Iterator[Trouble]:
    """Errors of what stands behind a ready component; others pass, or have findings of their own."""
    told = {name for signs in facts.get(SIGNS, {}).values() for name in signs}
    for component, signs in facts[RECENT_SIGNS].items():
        for name, count in signs.items():
            if name in LASTING and name not in told:
                known = BY_NAME[name]
                evidence = (f"{count} lines of its log in the last {RECENT_S // 60} minutes match {name}",)
                yield Trouble(component, known.meaning, known.fix, evidence=evidence, component=component, serves=True)


_UNCERTAIN = ("refused", "network")
"""Lines that a service also writes while what it needs starts; they count where its log has no other known error."""


def _behind(facts: Facts) -> Iterator[Trouble]:
    """A workload that is not as wanted and shows no cause, as of one whose controller does not run."""
    explained = {one.workload for one in causes(facts)}
    for one in facts[WORKLOADS]:
        state = compute(one)
        subject = f"{one['kind']}/{name_of(one)}"
        if state.status is Status.CURRENT or (RECORD in facts and facts[RECORD].stopped) or subject in explained:
            continue
        if subject in facts.get(ASLEEP, {}):
            continue
        serves = bool(status_of(one).get("readyReplicas"))
        hint = Hint("see its events: kubectl -n ", f"{facts[DEPLOYED].namespace} describe {subject}")
        component = component_of(one)
        yield Trouble(subject, state.message or str(state.status), hint, component=component, serves=serves)


_DEPLOYMENT, _ERROR, _WARNING = Category.DEPLOYMENT, Severity.ERROR, Severity.WARNING
_UP = Hint("apply the profile: ", Command("up"))

CHECKS = (
    Check(
        code="LR150",
        title="no other user or tool has scaled a workload to zero",
        category=_DEPLOYMENT,
        severity=_ERROR,
        needs=(ASLEEP, WORKLOADS),
        judge=_asleep,
        fix=_UP,
        symptoms=(UNAVAILABLE,),
        explains=("LR151",),
        stops=True,
    ),
    Check(
        code="LR151",
        title="the objects are as they were applied",
        category=_DEPLOYMENT,
        severity=_WARNING,
        needs=(DRIFT, DEPLOYED),
        judge=_drift,
        fix=_UP,
        symptoms=(UNAVAILABLE, SLOW, WRONG),
        explains=(*(f"LR{number}" for number in range(130, 150)), "LR116", "LR159", "LR160", "LR180"),
        explains_own=True,
        is_reason=True,
    ),
    Check(
        code="LR152",
        title="all objects that were applied exist",
        category=_DEPLOYMENT,
        severity=_ERROR,
        needs=(DRIFT, DEPLOYED),
        judge=_gone,
        fix=_UP,
        symptoms=(UNAVAILABLE,),
        explains=("LR132", "LR139", "LR158"),
        stops=True,
    ),
    Check(
        code="LR153",
        title="the last change has completed",
        category=_DEPLOYMENT,
        severity=_WARNING,
        needs=(RECORD,),
        judge=_unfinished,
        fix=_UP,
        symptoms=(UNAVAILABLE,),
    ),
    Check(
        code="LR154",
        title="the release is up",
        category=_DEPLOYMENT,
        severity=_ERROR,
        needs=(RECORD,),
        judge=_stopped,
        fix=_UP,
        symptoms=(UNAVAILABLE,),
        explains=("LR150", "LR152", "LR159", "LR200", "LR201", "LR219", "LR221", "LR310", "LR700"),
    ),
    Check(
        code="LR155",
        title="all pods of a component run one image",
        category=_DEPLOYMENT,
        severity=_WARNING,
        needs=(WORKLOADS, PODS, DEPLOYED),
        judge=_mixed,
        fix=_UP,
        symptoms=(WRONG, SLOW),
    ),
    Check(
        code="LR156",
        title="containers were not restarted recently",
        category=_DEPLOYMENT,
        severity=_WARNING,
        needs=(WORKLOADS, PODS, DEPLOYED, THRESHOLDS),
        judge=_restarts,
        fix=Hint("see why: ", Command("logs")),
        symptoms=(UNAVAILABLE, SLOW),
    ),
    Check(
        code="LR157",
        title="deleted pods terminate",
        category=_DEPLOYMENT,
        severity=_ERROR,
        needs=(PODS, DEPLOYED),
        judge=_terminating,
        fix=Hint("remove what blocks the deletion: the pod's finalizer, or its node"),
        symptoms=(UNAVAILABLE,),
        explains=("LR148",),
        stops=True,
    ),
    Check(
        code="LR158",
        title="nothing threatens the release's data and configuration",
        category=_DEPLOYMENT,
        severity=_ERROR,
        needs=(DANGERS,),
        judge=_dangers,
        fix=Hint("see: ", Command("status")),
        symptoms=(UNAVAILABLE, WRONG),
        explains=("LR132", "LR134", "LR139"),
    ),
    Check(
        code="LR159",
        title="workloads have the desired replicas and revision",
        category=_DEPLOYMENT,
        severity=_ERROR,
        needs=(WORKLOADS, PODS, DEPLOYED),
        judge=_behind,
        fix=Hint("see: ", Command("status")),
        symptoms=(UNAVAILABLE,),
        stops=True,
        follows=True,
    ),
    Check(
        code="LR160",
        title="Services have the ready pods as endpoints",
        category=_DEPLOYMENT,
        severity=_ERROR,
        needs=(CLUSTER_SERVICES, PODS, SLICES),
        judge=_endpoints,
        fix=_UP,
        symptoms=(UNAVAILABLE,),
        stops=True,
    ),
    Check(
        code="LR161",
        title="pods run with the current ConfigMaps and Secrets",
        category=_DEPLOYMENT,
        severity=_WARNING,
        needs=(DANGERS,),
        judge=_outdated,
        fix=_UP,
        symptoms=(WRONG, UNAVAILABLE),
    ),
    Check(
        code="LR180",
        title="logs of components that are not ready contain no known error",
        category=_DEPLOYMENT,
        severity=_ERROR,
        needs=(SIGNS,),
        judge=_signs,
        fix=Hint("see the log: ", Command("logs")),
        symptoms=(UNAVAILABLE, OOM, SLOW),
        follows=True,
        explains=("LR142", "LR143", "LR145", "LR171", "LR176", "LR183", "LR184", "LR186", "LR200", "LR221"),
        explains_own=True,
    ),
    Check(
        code="LR187",
        title="logs of ready components contain no error that lasts",
        category=_DEPLOYMENT,
        severity=_ERROR,
        needs=(RECENT_SIGNS,),
        judge=_recent_signs,
        fix=Hint("see the log: ", Command("logs")),
        symptoms=(UNAVAILABLE, SLOW, WRONG),
        explains=("LR201", "LR202", "LR204", "LR206", "LR210", "LR217", "LR218", "LR222", "LR223"),
    ),
)
