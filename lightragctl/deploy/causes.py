"""Why a component does not become ready, from what the cluster shows of it, in words with a next command. Pure.

Texts of the kubelet, the scheduler and the admission plug-ins are quoted, shortened to what tells the cause. How long
a cause must last before waiting is pointless stands with each.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightragctl.core.objects import KubernetesObject

AT_ONCE_S, NEVER_S = 0.0, math.inf
PULL_S = 10.0
"""A registry may hiccup: the kubelet has then tried twice."""
UNSCHEDULABLE_S = 15.0
"""As kstatus: a pod that was just made may wait for a node that is being counted."""
BLOCKED_S = 5.0
"""Controllers try again at once; a refusal that is still there is one of policy."""
VOLUME_S = 20.0
"""A provisioner makes a volume in seconds; a missing class never does."""


@dataclass(frozen=True)
class Evidence:
    """What the cluster shows of one component, collected in one moment.

    Attributes:
        component: its name.
        namespace: where it is.
        workload: its Deployment or StatefulSet.
        replica_sets: of the Deployment.
        pods: its pods.
        claims: its volume claims.
        events: events of the namespace, in any order.
        last_lines: by pod, the end of the log of what crashed.
    """

    component: str
    namespace: str
    workload: KubernetesObject | None
    replica_sets: Sequence[KubernetesObject] = ()
    pods: Sequence[KubernetesObject] = ()
    claims: Sequence[KubernetesObject] = ()
    events: Sequence[KubernetesObject] = ()
    last_lines: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def events_of(self, thing: KubernetesObject, *reasons: str) -> list[str]:
        """Messages of the object's events with one of these reasons, newest first; of this very object, by its uid."""
        metadata = thing.get("metadata") or {}
        chosen = [
            (_time(one), str(one.get("message", "")))
            for one in self.events
            if one.get("reason") in reasons and _is_about(one.get("involvedObject") or {}, thing.get("kind"), metadata)
        ]
        return [message for _, message in sorted(chosen, reverse=True)]


@dataclass(frozen=True)
class Cause:
    """Why something does not become ready.

    Attributes:
        code: a stable word.
        subject: the object, `Kind/name`.
        message: the cause; its first line says it, more may follow.
        hint: what to do next.
        grace_s: how long it must last before waiting any longer is pointless.
    """

    code: str
    subject: str
    message: str
    hint: str
    grace_s: float


def find_causes(evidence: Evidence) -> list[Cause]:
    """Why the component is not ready: the most telling first, one of each code for each subject."""
    found: dict[tuple[str, str], Cause] = {}
    for look in (_of_makers, _of_claims, _of_pods):
        for cause in look(evidence):
            found.setdefault((cause.subject, cause.code), cause)
    return sorted(found.values(), key=lambda cause: (cause.grace_s, cause.subject, cause.code))


def _time(event: KubernetesObject) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp") or "")


def _is_about(involved: Mapping[str, Any], kind: object, metadata: Mapping[str, Any]) -> bool:
    if involved.get("name") != metadata.get("name") or involved.get("kind") not in (kind, None):
        return False
    return not (involved.get("uid") and metadata.get("uid")) or involved["uid"] == metadata["uid"]


def _subject(thing: KubernetesObject) -> str:
    return f"{thing.get('kind')}/{(thing.get('metadata') or {}).get('name')}"


# What makes pods: refused by a quota, a limit range or a policy


def _of_makers(evidence: Evidence) -> Iterator[Cause]:
    makers = [one for one in (*evidence.replica_sets, evidence.workload) if one]
    for maker in makers:
        messages = evidence.events_of(maker, "FailedCreate")
        conditions = ((maker.get("status") or {}).get("conditions")) or ()
        messages += [str(one.get("message", "")) for one in conditions if one.get("type") == "ReplicaFailure"]
        wanted = int((maker.get("spec") or {}).get("replicas") or 0)
        if messages and len(evidence.pods) < max(1, wanted):
            yield _refusal(_subject(maker), messages[0])


def _refusal(subject: str, message: str) -> Cause:
    text = re.sub(r"^.*?is forbidden: ", "", message)
    if "exceeded quota" in text:
        hint = "raise the quota (profile key quota), or lower replicas and resources of the components"
        return Cause("quota", subject, f"its pods are refused: {text}", hint, BLOCKED_S)
    if "usage per Container" in text or "usage per Pod" in text or "must specify" in text:
        hint = "change the component's resources, or the namespace's LimitRange: kubectl get limitrange -o yaml"
        return Cause("limit-range", subject, f"its pods are refused: {text}", hint, BLOCKED_S)
    hint = "ask who runs the cluster for the policy of this namespace"
    return Cause("admission", subject, f"its pods are refused: {text}", hint, BLOCKED_S)


# Volume claims


def _of_claims(evidence: Evidence) -> Iterator[Cause]:
    for claim in evidence.claims:
        if (claim.get("status") or {}).get("phase") == "Bound":
            continue
        spec = claim.get("spec") or {}
        failed = evidence.events_of(claim, "ProvisioningFailed", "FailedBinding")
        if failed:
            hint = "set components.vector-engine.storage_class to one of: kubectl get storageclass"
            yield Cause("volume-unbound", _subject(claim), failed[0], hint, VOLUME_S)
        elif not spec.get("storageClassName"):
            hint = "set components.vector-engine.storage_class, or make a class the default: kubectl get storageclass"
            yield Cause(
                "volume-unbound", _subject(claim), "no volume: the cluster has no default class", hint, VOLUME_S
            )


# Pods


def _of_pods(evidence: Evidence) -> Iterator[Cause]:
    for pod in evidence.pods:
        if (pod.get("metadata") or {}).get("deletionTimestamp"):
            continue
        for look in (_placing, _mounting, _node):
            yield from look(evidence, pod)
        status = pod.get("status") or {}
        for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
            yield from _container(evidence, pod, container)


def _condition(pod: KubernetesObject, name: str) -> Mapping[str, Any]:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one.get("type") == name), {})


def _placing(evidence: Evidence, pod: KubernetesObject) -> Iterator[Cause]:
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") != "False" or scheduled.get("reason") != "Unschedulable":
        return
    text = str(scheduled.get("message", "")).split(" preemption:")[0].strip()
    if "unbound immediate PersistentVolumeClaims" in text or "PersistentVolumeClaim" in text:
        hint = "see its claim: lightragctl status; classes: kubectl get storageclass"
        yield Cause("volume-unbound", _subject(pod), f"no node can take it: {text}", hint, VOLUME_S)
        return
    hint = "lower the component's resources.requests, or add a node; what each has: kubectl describe nodes"
    yield Cause("unschedulable", _subject(pod), f"no node can take it: {text}", hint, UNSCHEDULABLE_S)


def _mounting(evidence: Evidence, pod: KubernetesObject) -> Iterator[Cause]:
    if (pod.get("status") or {}).get("phase") != "Pending":
        return
    for text in evidence.events_of(pod, "FailedMount", "FailedAttachVolume")[:1]:
        missing = "not found" in text or "non-existent" in text
        code, hint = (
            ("config-missing", _MISSING_HINT) if missing else ("volume-mount", "see the volume: kubectl get pv")
        )
        yield Cause(code, _subject(pod), text, hint, PULL_S if missing else VOLUME_S)


def _node(evidence: Evidence, pod: KubernetesObject) -> Iterator[Cause]:
    status = pod.get("status") or {}
    if status.get("reason") == "NodeLost" or status.get("phase") == "Unknown":
        node = (pod.get("spec") or {}).get("nodeName", "?")
        hint = "see the nodes: kubectl get nodes; its pods move after a while"
        yield Cause("node-lost", _subject(pod), f"node {node} does not answer", hint, NEVER_S)


_MISSING_HINT = "make what is missing, or change the reference in the profile; see it: lightragctl render"


def _container(evidence: Evidence, pod: KubernetesObject, container: Mapping[str, Any]) -> Iterator[Cause]:
    waiting = (container.get("state") or {}).get("waiting") or {}
    reason, text = str(waiting.get("reason", "")), str(waiting.get("message", ""))
    if judge := _WAITING.get(reason):
        yield judge(evidence, pod, container, text)
        return
    ended = (container.get("state") or {}).get("terminated")
    if ended and ended.get("exitCode") != 0:
        yield _crash(evidence, pod, container, text)
    elif not container.get("ready"):
        yield from _probing(evidence, pod, container)


Judge = Callable[[Evidence, KubernetesObject, Mapping[str, Any], str], Cause]


def _pull(grace_s: float, code: str = "image-pull") -> Judge:
    def judge(evidence: Evidence, pod: KubernetesObject, container: Mapping[str, Any], text: str) -> Cause:
        said = evidence.events_of(pod, "Failed")
        detail = next((one for one in said if "pull" in one), text)
        why = detail.rsplit("desc = ", 1)[-1].strip()
        message = f"image {container.get('image')} cannot be pulled: {why}"
        hint = "check image.repository and image.tag in the profile, and that the nodes reach the registry"
        return Cause(code, _subject(pod), message, hint, grace_s)

    return judge


def _config(evidence: Evidence, pod: KubernetesObject, container: Mapping[str, Any], text: str) -> Cause:
    return Cause("config-missing", _subject(pod), f"its container cannot be made: {text}", _MISSING_HINT, PULL_S)


def _crash(evidence: Evidence, pod: KubernetesObject, container: Mapping[str, Any], text: str) -> Cause:
    """A container that ended. A first end may be bad luck; the second in a row is the rule."""
    states = ((container.get("state") or {}), (container.get("lastState") or {}))
    ended: Mapping[str, Any] = next((state["terminated"] for state in states if state.get("terminated")), {})
    restarts = int(container.get("restartCount") or 0)
    component = evidence.component
    if ended.get("reason") == "OOMKilled":
        hint = f"raise components.{component}.resources.limits.memory"
        return Cause("out-of-memory", _subject(pod), "it needs more memory than its limit: OOMKilled", hint, AT_ONCE_S)
    lines = evidence.last_lines.get(str((pod.get("metadata") or {}).get("name")), ())
    said = "".join(f"\n        {line}" for line in lines)
    why = f"{ended.get('reason', 'ended')}, exit code {ended.get('exitCode', '?')}, {restarts} restarts"
    tail = f"; its last lines:{said}" if said else ""
    grace_s = AT_ONCE_S if restarts else BLOCKED_S
    return Cause("crash", _subject(pod), f"it crashes: {why}{tail}", f"see more: lightragctl logs {component}", grace_s)


def _probing(evidence: Evidence, pod: KubernetesObject, container: Mapping[str, Any]) -> Iterator[Cause]:
    last = ((container.get("lastState") or {}).get("terminated")) or {}
    if last and last.get("exitCode") not in (0, None):
        yield _crash(evidence, pod, {**container, "restartCount": container.get("restartCount")}, "")
        return
    running = (container.get("state") or {}).get("running")
    for text in evidence.events_of(pod, "Unhealthy")[:1] if running is not None else ():
        hint = f"see what it waits for: lightragctl logs {evidence.component}"
        yield Cause("probe", _subject(pod), " ".join(text.split()), hint, NEVER_S)


_WAITING: Mapping[str, Judge] = {
    "ErrImagePull": _pull(PULL_S),
    "ImagePullBackOff": _pull(PULL_S),
    "ErrImageNeverPull": _pull(AT_ONCE_S),
    "InvalidImageName": _pull(AT_ONCE_S, "image-name"),
    "CreateContainerConfigError": _config,
    "CreateContainerError": _config,
    "RunContainerError": _config,
    "CrashLoopBackOff": _crash,
}
