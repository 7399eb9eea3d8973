"""Why a component does not become ready, from what the cluster shows of it, in words with a next command. Pure.

Texts of the kubelet, the scheduler and the admission plug-ins are quoted, shortened to what tells the cause. How long
a cause must last before waiting is pointless stands with each.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lightragctl.core.findings import Finding, Severity
from lightragctl.core.objects import KubernetesObject
from lightragctl.kube.labels import POD_REVISION, REPLICA_SET_REVISION, SELECTED_NODE
from lightragctl.kube.objects import (
    annotations_of,
    condition,
    container_statuses,
    deletion_time,
    has_condition,
    is_current,
    is_ready,
    is_terminating,
    labels_of,
    name_of,
    owner_of,
    spec_of,
    status_of,
)

AT_ONCE_S, NEVER_S = 0.0, math.inf
PULL_S = 10.0
"""A registry may hiccup: the kubelet has then tried twice."""
UNSCHEDULABLE_S = 15.0
"""As kstatus: a pod that was just made may wait for a node that is being counted."""
BLOCKED_S = 5.0
"""Controllers try again at once; a refusal that is still there is one of policy."""
VOLUME_S = 20.0
"""A provisioner makes a volume in seconds; a missing class never does."""
SANDBOX_S = 30.0
"""The kubelet tries again after a second or two; a network plug-in that is just starting needs more."""
STUCK_S = 15.0
"""A controller replaces a pod in seconds, when it does at all."""
_SCALE_UP = ("TriggeredScaleUp", "Nominated")
"""What cluster-autoscaler and karpenter say of a pod that they make a node for."""


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
        last_lines: by pod, the end of the log of what crashed, or runs and is not ready.
        autoscaled_nodes: labels of nodes that are made when pods ask for them.
    """

    component: str
    namespace: str
    workload: KubernetesObject | None
    replica_sets: Sequence[KubernetesObject] = ()
    pods: Sequence[KubernetesObject] = ()
    claims: Sequence[KubernetesObject] = ()
    events: Sequence[KubernetesObject] = ()
    last_lines: Mapping[str, Sequence[str]] = field(default_factory=dict)
    autoscaled_nodes: Sequence[Mapping[str, str]] = ()

    def events_of(self, thing: KubernetesObject, *reasons: str, since: str = "") -> list[str]:
        """Messages of the object's events with one of these reasons, newest first; of this very object, by its uid.

        Args:
            thing: the object.
            reasons: of the events.
            since: a time as the API server writes it; what was last seen before it is left out.
        """
        metadata = thing.get("metadata") or {}
        chosen = [
            (_time(one), str(one.get("message", "")))
            for one in self.events
            if one.get("reason") in reasons
            and _time(one) >= since
            and _is_about(one.get("involvedObject") or {}, thing.get("kind"), metadata)
        ]
        return [message for _, message in sorted(chosen, reverse=True)]


@dataclass(frozen=True)
class Cause(Finding):
    """Why something does not become ready; `grace_s`: how long it must last before waiting any longer is pointless."""

    severity: Severity = field(default=Severity.ERROR, kw_only=True)
    grace_s: float


def find_causes(evidence: Evidence) -> list[Cause]:
    """Why the component is not ready: the most telling first, one of each code for each subject.

    Nothing as long as the controller has not seen the newest change: what the cluster shows is then of the last one.
    """
    if not is_current(evidence.workload or {}):
        return []
    evidence = _newest(evidence)
    found: dict[tuple[str, str], Cause] = {}
    for look in (_of_makers, _of_claims, _of_pods):
        for cause in look(evidence):
            found.setdefault((cause.subject, cause.code), cause)
    return sorted(found.values(), key=lambda cause: (cause.grace_s, cause.subject, cause.code))


def _time(event: KubernetesObject) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp") or "")


def _revision(replica_set: KubernetesObject) -> int:
    number = str(annotations_of(replica_set).get(REPLICA_SET_REVISION, ""))
    return int(number) if number.isdecimal() else 0


def _newest(evidence: Evidence) -> Evidence:
    """The evidence of a Deployment's newest revision: a broken pod of the last one stays until the new one runs."""
    newest = max(evidence.replica_sets, key=_revision, default=None)
    if newest is None:
        return evidence
    name = name_of(newest)
    pods = [pod for pod in evidence.pods if (owner_of(pod, "ReplicaSet") or {}).get("name") in (None, name)]
    return replace(evidence, replica_sets=[newest], pods=pods)


def _is_about(involved: Mapping[str, Any], kind: object, metadata: Mapping[str, Any]) -> bool:
    if involved.get("name") != metadata.get("name") or involved.get("kind") not in (kind, None):
        return False
    return not (involved.get("uid") and metadata.get("uid")) or involved["uid"] == metadata["uid"]


def _subject(thing: KubernetesObject) -> str:
    return f"{thing.get('kind')}/{name_of(thing)}"


# What makes pods: refused by a quota, a limit range or a policy


def _of_makers(evidence: Evidence) -> Iterator[Cause]:
    """What the newest ReplicaSet or the workload itself may not make; the first that says so, for both say the same."""
    for maker in (*evidence.replica_sets, evidence.workload):
        if maker and (message := _refused(evidence, maker)):
            yield _refusal(_subject(maker), message)
            return


def _refused(evidence: Evidence, maker: KubernetesObject) -> str:
    """What it was told when it tried to make a pod that still lacks; empty when none lacks."""
    status = status_of(maker)
    if has_condition(status, "ReplicaFailure"):
        return str(condition(status, "ReplicaFailure").get("message", ""))
    wanted = int(spec_of(maker).get("replicas") or 0)
    there = status.get("replicas")
    if int(len(evidence.pods) if there is None else there) >= wanted:
        return ""
    return next(iter(evidence.events_of(maker, "FailedCreate")), "")


_OVER = re.compile(r"exceeded quota: (?P<quota>[^,]+), requested: (?P<resources>.*?), used: ")


def _refusal(subject: str, message: str) -> Cause:
    text = re.sub(r"^.*?is forbidden: ", "", message)
    told = f"its pods are refused: {text}"
    if over := _OVER.search(text):
        names = ", ".join(pair.split("=")[0] for pair in over["resources"].split(","))
        raised = f"raise {names} of quota {over['quota']} (profile key quota)"
        hint = f"{raised}, or lower the component's replicas or resources"
        return Cause("quota", subject, told, hint, BLOCKED_S)
    if re.search(r" per (Container|Pod|PersistentVolumeClaim) is |must specify ", text):
        hint = "change the component's resources, or the namespace's LimitRange: kubectl get limitrange -o yaml"
        return Cause("limit-range", subject, told, hint, BLOCKED_S)
    if "error looking up service account" in text:
        return Cause("config-missing", subject, told, _MISSING_HINT, BLOCKED_S)
    hint = "ask who runs the cluster for the policy of this namespace"
    return Cause("admission", subject, told, hint, BLOCKED_S)


# Volume claims


def _of_claims(evidence: Evidence) -> Iterator[Cause]:
    for claim in evidence.claims:
        if status_of(claim).get("phase") == "Bound":
            continue
        spec = spec_of(claim)
        failed = evidence.events_of(claim, "ProvisioningFailed", "FailedBinding")
        if failed:
            hint = f"set components.{evidence.component}.storage_class to one of: kubectl get storageclass"
            yield Cause("volume-unbound", _subject(claim), failed[0], hint, VOLUME_S)
        elif waits := evidence.events_of(claim, "ExternalProvisioning"):  # said of every volume, also of slow ones
            hint = "see that its provisioner runs: kubectl get pods -A"
            yield Cause("volume-unbound", _subject(claim), waits[0], hint, NEVER_S)
        elif not spec.get("storageClassName"):
            key = f"components.{evidence.component}.storage_class"
            hint = f"set {key}, or make a class the default: kubectl get storageclass"
            yield Cause(
                "volume-unbound", _subject(claim), "no volume: the cluster has no default class", hint, VOLUME_S
            )


# Pods


def _of_pods(evidence: Evidence) -> Iterator[Cause]:
    for pod in evidence.pods:
        status = status_of(pod)
        if is_terminating(pod):
            yield from _ending(evidence, pod)
            continue
        if special := _replaced(evidence, pod) or _stuck(evidence, pod) or _lost(evidence, pod):
            yield special
            continue
        for look in (_placing, _mounting):
            yield from look(evidence, pod)
        for container in (*(status.get("initContainerStatuses") or ()), *container_statuses(pod)):
            yield from _container(evidence, pod, container)


def _ending(evidence: Evidence, pod: KubernetesObject) -> Iterator[Cause]:
    """A pod that must be gone before another one may be made in its place."""
    workload = evidence.workload or {}
    recreated = (spec_of(workload).get("strategy") or {}).get("type") == "Recreate"
    if workload.get("kind") != "StatefulSet" and not recreated:
        return
    grace_s, killed = pod["metadata"].get("deletionGracePeriodSeconds"), deletion_time(pod)
    message = f"it is ending, and is killed at {killed} at the latest, after {grace_s} s; then the next one starts"
    hint = f"its log says what it does: lightragctl logs {evidence.component}"
    if lost := _lost(evidence, pod):
        message = f"it ends only when {lost.message.removesuffix(' does not answer')} answers again, or is deleted"
        hint = f"bring the node back; when it never will: kubectl delete node {spec_of(pod).get('nodeName')}"
    yield Cause("stopping", _subject(pod), message, hint, NEVER_S)


def _replaced(evidence: Evidence, pod: KubernetesObject) -> Cause | None:
    """A pod that the cluster ended for good. It stays to be seen; another takes its place."""
    status = status_of(pod)
    if status.get("phase") != "Failed":
        return None
    why = status.get("message") or status.get("reason") or "no reason given"
    hint = f"see what the nodes lack: kubectl -n {evidence.namespace} describe pod {name_of(pod)}"
    return Cause("evicted", _subject(pod), f"the cluster ended it: {why}", hint, NEVER_S)


def _stuck(evidence: Evidence, pod: KubernetesObject) -> Cause | None:
    """A StatefulSet waits for each pod to be ready, even for one whose template is the mistake (kubernetes#67250)."""
    workload = evidence.workload or {}
    spec, wanted = spec_of(workload), status_of(workload).get("updateRevision")
    is_patient = spec.get("podManagementPolicy") != "Parallel"
    at = labels_of(pod).get(POD_REVISION)
    if not (wanted and at and is_patient) or at == wanted or is_ready(pod):
        return None
    message = "it is of the last revision and not ready, and its StatefulSet waits for it before it replaces it"
    hint = f"kubectl -n {evidence.namespace} delete pod {name_of(pod)}"
    return Cause("old-revision", _subject(pod), message, hint, STUCK_S)


def _lost(evidence: Evidence, pod: KubernetesObject) -> Cause | None:
    """The node controller marks the pods of a node that is silent, and leaves their containers as last seen."""
    status = status_of(pod)
    containers = container_statuses(pod)
    is_marked = has_condition(status, "Ready", "False") and all(one.get("ready") for one in containers)
    is_silent = bool(containers) and is_marked and bool(evidence.events_of(pod, "NodeNotReady"))
    if not (is_silent or status.get("reason") == "NodeLost" or status.get("phase") == "Unknown"):
        return None
    node = spec_of(pod).get("nodeName", "?")
    hint = "see the nodes: kubectl get nodes; its pods move after a while"
    return Cause("node-lost", _subject(pod), f"node {node} does not answer", hint, NEVER_S)


_TAIL = re.compile(r"(?<=\.)( no new claims to deallocate,)?( preemption: .*| not found)?$", re.DOTALL)
"""What the scheduler of 1.34 says after its reasons: what it could not free either."""


def _placing(evidence: Evidence, pod: KubernetesObject) -> Iterator[Cause]:
    scheduled = condition(status_of(pod), "PodScheduled")
    if scheduled.get("status") != "False" or scheduled.get("reason") != "Unschedulable":
        return
    text = _TAIL.sub("", str(scheduled.get("message", ""))).strip()
    if "volume node affinity" in text or "PersistentVolume's node affinity" in text:
        yield from _bound_elsewhere(evidence, pod, text)
        return
    if "persistentvolumeclaim" in text.lower():
        hint = "see its claim: lightragctl status; classes: kubectl get storageclass"
        yield Cause("volume-unbound", _subject(pod), f"no node can take it: {text}", hint, VOLUME_S)
        return
    if _comes_by_itself(evidence, pod):
        why = f"see why none comes: kubectl -n {evidence.namespace} describe pod {name_of(pod)}"
        hint = f"a node takes minutes: wait longer with --timeout SECONDS, or {why}"
        yield Cause("unschedulable", _subject(pod), f"no node can take it yet: {text}", hint, NEVER_S)
        return
    hint = "lower the component's resources.requests, or add a node; what each has: kubectl describe nodes"
    yield Cause("unschedulable", _subject(pod), f"no node can take it: {text}", hint, UNSCHEDULABLE_S)


def _bound_elsewhere(evidence: Evidence, pod: KubernetesObject, text: str) -> Iterator[Cause]:
    """Its volume is on one node, or in one zone, and that one does not take it now."""
    names = sorted({str(one) for claim in evidence.claims if (one := _selected_node(claim))})
    node = names[0] if len(names) == 1 else "NODE"
    where = f" on node {node}" if len(names) == 1 else " on one node"
    if "unschedulable" in text:
        why = f"its volume is{where}, which is unschedulable (cordoned or drained)"
        hint = f"make it schedulable again: kubectl uncordon {node}"
    elif "Insufficient" in text:
        why = f"its volume is{where}, which has not enough free resources"
        hint = f"free some there: kubectl describe node {node}"
    else:
        why = f"its volume is{where}, which is gone or does not accept the pod"
        hint = f"bring the node back: kubectl get nodes; kubectl describe node {node}"
    yield Cause("volume-node", _subject(pod), f"{why}: {text}", hint, UNSCHEDULABLE_S)


def _selected_node(claim: KubernetesObject) -> str:
    return str(annotations_of(claim).get(SELECTED_NODE) or "")


def _comes_by_itself(evidence: Evidence, pod: KubernetesObject) -> bool:
    """Whether a node for the pod is being made, or will be: by the profile's word or by an autoscaler's own."""
    labels = spec_of(pod).get("nodeSelector")
    return labels in evidence.autoscaled_nodes or bool(evidence.events_of(pod, *_SCALE_UP))


_PASSING = re.compile(r"failed to sync (configmap|secret) cache")
"""What a kubelet says of a mount that it tries again at once."""


def _mounting(evidence: Evidence, pod: KubernetesObject) -> Iterator[Cause]:
    """What the containers wait for before they are made; an earlier failure says nothing once one has gone on."""
    waiting = [(one.get("state") or {}).get("waiting") or {} for one in container_statuses(pod)]
    if any(one.get("reason") not in ("ContainerCreating", "PodInitializing") for one in waiting):
        return
    if pulling := evidence.events_of(pod, "Pulling")[: 0 if evidence.events_of(pod, "Pulled", "Failed") else 1]:
        hint = f"a large image takes minutes: kubectl -n {evidence.namespace} describe pod {name_of(pod)}"
        yield Cause("pulling", _subject(pod), f"its image is being pulled: {pulling[0]}", hint, NEVER_S)
        return
    mounts = evidence.events_of(pod, "FailedMount", "FailedAttachVolume")
    for text in [one for one in mounts if not _PASSING.search(one)][:1]:
        missing = "not found" in text or "non-existent" in text
        code, hint = (
            ("config-missing", _MISSING_HINT) if missing else ("volume-mount", "see the volume: kubectl get pv")
        )
        yield Cause(code, _subject(pod), text, hint, PULL_S if missing else VOLUME_S)
    for text in evidence.events_of(pod, "FailedCreatePodSandBox")[:1]:
        node = spec_of(pod).get("nodeName", "?")
        hint = f"see that the network plug-in of node {node} runs: kubectl get pods -A -o wide"
        yield Cause("pod-network", _subject(pod), text.rsplit("desc = ", 1)[-1], hint, SANDBOX_S)


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


_PULL_STEPS = re.compile(
    r'^(Failed to pull image|failed to (pull and unpack image|resolve reference|resolve image)) "[^"]*": '
)
_PULL_HINT = "check image.repository and image.tag in the profile, and that the nodes reach the registry"
_NEVER_HINT = "load the image on every node, or set image.pull_policy to IfNotPresent"
_NAME_HINT = "check image.repository and image.tag in the profile"


def _pull(grace_s: float, hint: str, code: str = "image-pull") -> Judge:
    def judge(evidence: Evidence, pod: KubernetesObject, container: Mapping[str, Any], text: str) -> Cause:
        said = evidence.events_of(pod, "Failed")
        why = next((one for one in said if "pull" in one), text).rsplit("desc = ", 1)[-1].strip()
        while (shorter := _PULL_STEPS.sub("", why)) != why:
            why = shorter
        return Cause(code, _subject(pod), f"image {container.get('image')} cannot be pulled: {why}", hint, grace_s)

    return judge


def _config(evidence: Evidence, pod: KubernetesObject, container: Mapping[str, Any], text: str) -> Cause:
    missing = "not found" in text or "couldn't find key" in text
    code = "config-missing" if missing else "container-config"
    hint = _MISSING_HINT if missing else "change the image, or what its container is given: lightragctl render"
    return Cause(code, _subject(pod), f"its container cannot be made: {text}", hint, PULL_S)


def _started(evidence: Evidence, pod: KubernetesObject, container: Mapping[str, Any], text: str) -> Cause:
    hint = "check the image and the command: lightragctl render"
    return Cause("container-config", _subject(pod), f"its container cannot be started: {text}", hint, PULL_S)


def _last_end(container: Mapping[str, Any]) -> Mapping[str, Any]:
    states = ((container.get("state") or {}), (container.get("lastState") or {}))
    return next((state["terminated"] for state in states if state.get("terminated")), {})


def _crash(evidence: Evidence, pod: KubernetesObject, container: Mapping[str, Any], text: str) -> Cause:
    """A container that ended. A first end may be bad luck; the second in a row is the rule."""
    ended = _last_end(container)
    restarts = int(container.get("restartCount") or 0)
    component, grace_s = evidence.component, AT_ONCE_S if restarts else BLOCKED_S
    if ended.get("reason") == "OOMKilled":
        hint = f"raise components.{component}.resources.limits.memory"
        return Cause("out-of-memory", _subject(pod), "it needs more memory than its limit: OOMKilled", hint, AT_ONCE_S)
    hint = f"see more: lightragctl logs {component}"
    if killer := _killer(evidence, pod, container, ended):
        said = _probe_said(evidence, pod, str(ended.get("startedAt") or ""))
        message = f"it is killed because its {killer} probe fails, {restarts} restarts" + (f": {said}" if said else "")
        return Cause("probe-kill", _subject(pod), message, hint, grace_s)
    lines = evidence.last_lines.get(name_of(pod)) or ([ended["message"]] if ended.get("message") else ())
    said = "".join(f"\n        {line}" for line in lines)
    why = f"{ended.get('reason', 'ended')}, exit code {ended.get('exitCode', '?')}, {restarts} restarts"
    first = f"; {informative_line(lines)}" if lines else ""
    tail = f"\n    its last lines:{said}" if said else ""
    return Cause("crash", _subject(pod), f"it crashes: {why}{first}{tail}", hint, grace_s)


_KILLED = re.compile(r"Container (\S+) failed (\w+) probe, will be restarted")


def _killer(evidence: Evidence, pod: KubernetesObject, container: Mapping[str, Any], ended: Mapping[str, Any]) -> str:
    """Which probe ended the container's last run; empty when none did."""
    since = str(ended.get("startedAt") or "")
    for text in evidence.events_of(pod, "Killing", since=since):
        match = _KILLED.match(text)
        if match and match[1] == container.get("name"):
            return match[2]
    return ""


def _probe_said(evidence: Evidence, pod: KubernetesObject, since: str) -> str:
    return " ".join(next(iter(evidence.events_of(pod, "Unhealthy", since=since)), "").split())


def _probing(evidence: Evidence, pod: KubernetesObject, container: Mapping[str, Any]) -> Iterator[Cause]:
    """A container that runs and is not ready: its probe's message and what ended its last run. It may still recover."""
    running = (container.get("state") or {}).get("running")
    if _last_end(container).get("exitCode") not in (0, None):
        yield replace(_crash(evidence, pod, container, ""), grace_s=NEVER_S)
    elif running is not None and (said := _probe_said(evidence, pod, str(running.get("startedAt") or ""))):
        hint = f"see what it waits for: lightragctl logs {evidence.component}"
        lines = evidence.last_lines.get(name_of(pod)) or ()
        telling = informative_line(lines)
        where = "the last line of its log" if lines and telling == lines[-1].strip() else "its log says"
        last = f"; {where}: {telling}" if lines else ""
        yield Cause("probe", _subject(pod), said + last, hint, NEVER_S)


_TELLING = re.compile(r"error|exception|panic|fatal|fail|cannot|denied|refused|unable|no such|not ready", re.IGNORECASE)
_FRAME = re.compile(
    r"\s|at \S+\(|goroutine \d|Traceback \(most recent|\.\.\. \d+ more|stack( trace|:|$)|\[signal |runtime[./]\S+\("
    r"|\S+\.go:\d+|\S+\(0x|created by ",
    re.IGNORECASE,
)
"""A line inside a stack trace: indented, or as Java, Go and Python write it."""
_CALM = re.compile(r"\b(INFO|DEBUG)\b|\[(INFO|DEBUG)\]|level\"?[=:]\"?(info|debug)")
_LINE_CHARS = 200


def informative_line(lines: Sequence[str]) -> str:
    """The line of a log that says most about what went wrong: the last that tells of an error and is no stack frame."""
    plain = [line for line in lines if line.strip() and not _FRAME.match(line)] or [
        line for line in lines if line.strip()
    ]
    telling = (line for line in reversed(plain) if _TELLING.search(line) and not _CALM.search(line))
    text = next(telling, plain[-1] if plain else "").strip()
    text = text.split("\\n", 1)[0].split(" [stack=", 1)[0]
    return text if len(text) <= _LINE_CHARS else f"{text[: _LINE_CHARS - 1]}…"


_WAITING: Mapping[str, Judge] = {
    "ErrImagePull": _pull(PULL_S, _PULL_HINT),
    "ImagePullBackOff": _pull(PULL_S, _PULL_HINT),
    "ErrImageNeverPull": _pull(AT_ONCE_S, _NEVER_HINT),
    "InvalidImageName": _pull(AT_ONCE_S, _NAME_HINT, "image-name"),
    "CreateContainerConfigError": _config,
    "CreateContainerError": _config,
    "RunContainerError": _started,
    "CrashLoopBackOff": _crash,
}
