"""Determines why a component is not ready, from its objects and events, with a hint for each cause. Pure.

Messages of the kubelet, the scheduler and admission plug-ins are quoted, shortened to the cause. Each cause has a grace
period, after which waiting any longer is pointless.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lightragctl.core.findings import Finding, Severity
from lightragctl.core.hint import Command, Hint
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
"""Registries fail temporarily; the kubelet has retried once by then."""
UNSCHEDULABLE_S = 15.0
"""As in kstatus: a new pod may briefly be unschedulable."""
BLOCKED_S = 5.0
"""Controllers retry at once; a rejection that remains is one of policy."""
VOLUME_S = 20.0
"""A provisioner creates a volume in seconds; without a class it never does."""
SANDBOX_S = 30.0
"""The kubelet retries after one or two seconds; a network plug-in that is starting needs more."""
STUCK_S = 15.0
"""A controller replaces a pod in seconds, if at all."""
_SCALE_UP = ("TriggeredScaleUp", "Nominated")
"""Event reasons of cluster-autoscaler and karpenter for a pod for which they add a node."""


@dataclass(frozen=True)
class Evidence:
    """The objects and events of one component at one time.

    Attributes:
        component: its name.
        namespace: of the release.
        workload: its Deployment or StatefulSet.
        replica_sets: of the Deployment.
        pods: its pods.
        claims: its volume claims.
        events: events of the namespace, in any order.
        last_lines: by pod, the last log lines of a container that crashed, or runs without being ready.
        autoscaled_nodes: labels of the nodes that a cluster autoscaler adds.
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
        """Messages of the object's events with one of these reasons, newest first; matched by uid.

        Args:
            thing: the object.
            reasons: of the events.
            since: a time as the API server writes it; events last seen before it are omitted.
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
    """A reason why an object is not ready; after `grace_s` seconds it is considered permanent."""

    severity: Severity = field(default=Severity.ERROR, kw_only=True)
    grace_s: float


def find_causes(evidence: Evidence) -> list[Cause]:
    """Why the component is not ready: most likely cause first, one per code and subject.

    Empty until the controller has observed the last change: until then the status is of the previous one.
    """
    if not is_current(evidence.workload or {}):
        return []
    evidence = _newest(evidence)
    found: dict[tuple[str, str], Cause] = {}
    for find in (_of_controllers, _of_claims, _of_pods):
        for cause in find(evidence):
            found.setdefault((cause.subject, cause.code), cause)
    return sorted(found.values(), key=lambda cause: (cause.grace_s, cause.subject, cause.code))


def _time(event: KubernetesObject) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp") or "")


def _revision(replica_set: KubernetesObject) -> int:
    number = str(annotations_of(replica_set).get(REPLICA_SET_REVISION, ""))
    return int(number) if number.isdecimal() else 0


def _newest(evidence: Evidence) -> Evidence:
    """The evidence of a Deployment's newest revision; broken pods of the previous one stay until it is ready."""
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


# Pod creation: rejected by a quota, a limit range or a policy


def _of_controllers(evidence: Evidence) -> Iterator[Cause]:
    """Pod-creation failures of the newest ReplicaSet or of the workload; only the first, since both report the same."""
    for controller in (*evidence.replica_sets, evidence.workload):
        if controller and (message := _creation_failure(evidence, controller)):
            yield _rejection(_subject(controller), message)
            return


def _creation_failure(evidence: Evidence, controller: KubernetesObject) -> str:
    """The error of creating a pod that is still missing; empty if no pod is missing."""
    status = status_of(controller)
    if has_condition(status, "ReplicaFailure"):
        return str(condition(status, "ReplicaFailure").get("message", ""))
    wanted = int(spec_of(controller).get("replicas") or 0)
    there = status.get("replicas")
    if int(len(evidence.pods) if there is None else there) >= wanted:
        return ""
    return next(iter(evidence.events_of(controller, "FailedCreate")), "")


_OVER = re.compile(r"exceeded quota: (?P<quota>[^,]+), requested: (?P<resources>.*?), used: ")


def _rejection(subject: str, message: str) -> Cause:
    text = re.sub(r"^.*?is forbidden: ", "", message)
    rejected = f"its pods are rejected: {text}"
    if over := _OVER.search(text):
        names = ", ".join(pair.split("=")[0] for pair in over["resources"].split(","))
        hint = f"raise {names} of quota {over['quota']} (profile key quota), or lower replicas or resources"
        return Cause("quota", subject, rejected, hint, BLOCKED_S)
    if re.search(r" per (Container|Pod|PersistentVolumeClaim) is |must specify ", text):
        hint = "change the component's resources, or the namespace's LimitRange: kubectl get limitrange -o yaml"
        return Cause("limit-range", subject, rejected, hint, BLOCKED_S)
    if "error looking up service account" in text:
        return Cause("config-missing", subject, rejected, _MISSING_HINT, BLOCKED_S)
    hint = "check the admission policies of this namespace with the cluster's administrator"
    return Cause("admission", subject, rejected, hint, BLOCKED_S)


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
        elif waits := evidence.events_of(claim, "ExternalProvisioning"):  # also of slow provisioning
            hint = "check that its provisioner runs: kubectl get pods -A"
            yield Cause("volume-unbound", _subject(claim), waits[0], hint, NEVER_S)
        elif not spec.get("storageClassName"):
            key = f"components.{evidence.component}.storage_class"
            hint = f"set {key}, or mark a class as default: kubectl get storageclass"
            yield Cause(
                "volume-unbound", _subject(claim), "no volume: the cluster has no default storage class", hint, VOLUME_S
            )


# Pods


def _of_pods(evidence: Evidence) -> Iterator[Cause]:
    for pod in evidence.pods:
        status = status_of(pod)
        if is_terminating(pod):
            yield from _terminating(evidence, pod)
            continue
        if special := _evicted(evidence, pod) or _stuck(evidence, pod) or _node_lost(evidence, pod):
            yield special
            continue
        for find in (_scheduling, _mounting):
            yield from find(evidence, pod)
        for container in (*(status.get("initContainerStatuses") or ()), *container_statuses(pod)):
            yield from _container(evidence, pod, container)


def _terminating(evidence: Evidence, pod: KubernetesObject) -> Iterator[Cause]:
    """A pod that must be gone before its replacement can be created."""
    workload = evidence.workload or {}
    recreated = (spec_of(workload).get("strategy") or {}).get("type") == "Recreate"
    if workload.get("kind") != "StatefulSet" and not recreated:
        return
    grace_s, killed = pod["metadata"].get("deletionGracePeriodSeconds"), deletion_time(pod)
    message = f"terminating; killed at {killed} at the latest (grace period {grace_s} s), then replaced"
    hint: str = Hint("see its log: ", Command("logs", evidence.component))
    if lost := _node_lost(evidence, pod):
        message = f"terminating until {lost.message.removesuffix(' is not ready')} is ready again or deleted"
        hint = f"restart the node; if it is gone for good: kubectl delete node {spec_of(pod).get('nodeName')}"
    yield Cause("stopping", _subject(pod), message, hint, NEVER_S)


def _evicted(evidence: Evidence, pod: KubernetesObject) -> Cause | None:
    """A failed pod, such as an evicted one. The object remains; a new pod replaces it."""
    status = status_of(pod)
    if status.get("phase") != "Failed":
        return None
    why = status.get("message") or status.get("reason") or "no reason given"
    hint = f"see the reason: kubectl -n {evidence.namespace} describe pod {name_of(pod)}"
    return Cause("evicted", _subject(pod), f"failed: {why}", hint, NEVER_S)


def _stuck(evidence: Evidence, pod: KubernetesObject) -> Cause | None:
    """A StatefulSet waits for each pod to be ready, even if its old template is broken (kubernetes#67250)."""
    workload = evidence.workload or {}
    spec, wanted = spec_of(workload), status_of(workload).get("updateRevision")
    is_ordered = spec.get("podManagementPolicy") != "Parallel"
    at = labels_of(pod).get(POD_REVISION)
    if not (wanted and at and is_ordered) or at == wanted or is_ready(pod):
        return None
    message = "not ready, of an outdated revision; the StatefulSet replaces it only when it is ready"
    hint = f"kubectl -n {evidence.namespace} delete pod {name_of(pod)}"
    return Cause("old-revision", _subject(pod), message, hint, STUCK_S)


def _node_lost(evidence: Evidence, pod: KubernetesObject) -> Cause | None:
    """The node controller marks pods of an unreachable node not ready; container statuses stay as last reported."""
    status = status_of(pod)
    containers = container_statuses(pod)
    is_marked = has_condition(status, "Ready", "False") and all(one.get("ready") for one in containers)
    is_silent = bool(containers) and is_marked and bool(evidence.events_of(pod, "NodeNotReady"))
    if not (is_silent or status.get("reason") == "NodeLost" or status.get("phase") == "Unknown"):
        return None
    node = spec_of(pod).get("nodeName", "?")
    hint = "see the nodes: kubectl get nodes; its pods are rescheduled after some minutes"
    return Cause("node-lost", _subject(pod), f"node {node} is not ready", hint, NEVER_S)


_TAIL = re.compile(r"(?<=\.)( no new claims to deallocate,)?( preemption: .*| not found)?$", re.DOTALL)
"""What the scheduler of Kubernetes 1.34 appends to its reasons: the result of preemption."""


def _scheduling(evidence: Evidence, pod: KubernetesObject) -> Iterator[Cause]:
    scheduled = condition(status_of(pod), "PodScheduled")
    if scheduled.get("status") != "False" or scheduled.get("reason") != "Unschedulable":
        return
    text = _TAIL.sub("", str(scheduled.get("message", ""))).strip()
    if "volume node affinity" in text or "PersistentVolume's node affinity" in text:
        yield from _volume_node(evidence, pod, text)
        return
    if "persistentvolumeclaim" in text.lower():
        claim_hint = Hint("see its claim: ", Command("status"), "; classes: kubectl get storageclass")
        yield Cause("volume-unbound", _subject(pod), f"unschedulable: {text}", claim_hint, VOLUME_S)
        return
    if _is_autoscaled(evidence, pod):
        details = f"kubectl -n {evidence.namespace} describe pod {name_of(pod)}"
        hint = f"adding a node can take minutes: wait longer with --timeout SECONDS, or see why: {details}"
        yield Cause("unschedulable", _subject(pod), f"unschedulable until a node is added: {text}", hint, NEVER_S)
        return
    hint = "lower the component's resources.requests, or add a node; free resources: kubectl describe nodes"
    yield Cause("unschedulable", _subject(pod), f"unschedulable: {text}", hint, UNSCHEDULABLE_S)


def _volume_node(evidence: Evidence, pod: KubernetesObject, text: str) -> Iterator[Cause]:
    """Its volume is bound to a node or zone where the pod cannot be scheduled."""
    names = sorted({str(one) for claim in evidence.claims if (one := _selected_node(claim))})
    node = names[0] if len(names) == 1 else "NODE"
    where = f" on node {node}" if len(names) == 1 else " on one node"
    if "unschedulable" in text:
        why = f"its volume is{where}, which is unschedulable (cordoned or drained)"
        hint = f"make it schedulable again: kubectl uncordon {node}"
    elif "Insufficient" in text:
        why = f"its volume is{where}, which has insufficient resources"
        hint = f"free resources there: kubectl describe node {node}"
    else:
        why = f"its volume is{where}, which is gone or does not accept the pod"
        hint = f"bring the node back: kubectl get nodes; kubectl describe node {node}"
    yield Cause("volume-node", _subject(pod), f"{why}: {text}", hint, UNSCHEDULABLE_S)


def _selected_node(claim: KubernetesObject) -> str:
    return str(annotations_of(claim).get(SELECTED_NODE) or "")


def _is_autoscaled(evidence: Evidence, pod: KubernetesObject) -> bool:
    """Whether a cluster autoscaler adds a node for the pod, by the profile or by its events."""
    labels = spec_of(pod).get("nodeSelector")
    return labels in evidence.autoscaled_nodes or bool(evidence.events_of(pod, *_SCALE_UP))


_PASSING = re.compile(r"failed to sync (configmap|secret) cache")
"""Mount errors that the kubelet retries at once."""


def _mounting(evidence: Evidence, pod: KubernetesObject) -> Iterator[Cause]:
    """Why containers are not created yet; earlier failures are ignored once a container has started."""
    waiting = [(one.get("state") or {}).get("waiting") or {} for one in container_statuses(pod)]
    if any(one.get("reason") not in ("ContainerCreating", "PodInitializing") for one in waiting):
        return
    if pulling := evidence.events_of(pod, "Pulling")[: 0 if evidence.events_of(pod, "Pulled", "Failed") else 1]:
        hint = f"large images can take minutes: kubectl -n {evidence.namespace} describe pod {name_of(pod)}"
        yield Cause("pulling", _subject(pod), pulling[0], hint, NEVER_S)
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
        hint = f"check that the network plug-in of node {node} runs: kubectl get pods -A -o wide"
        yield Cause("pod-network", _subject(pod), text.rsplit("desc = ", 1)[-1], hint, SANDBOX_S)


_MISSING_HINT = Hint("create it, or change the reference in the profile; see the manifest: ", Command("render"))


def _container(evidence: Evidence, pod: KubernetesObject, container: Mapping[str, Any]) -> Iterator[Cause]:
    waiting = (container.get("state") or {}).get("waiting") or {}
    reason, text = str(waiting.get("reason", "")), str(waiting.get("message", ""))
    if find := _WAITING.get(reason):
        yield find(evidence, pod, container, text)
        return
    ended = (container.get("state") or {}).get("terminated")
    if ended and ended.get("exitCode") != 0:
        yield _crash(evidence, pod, container, text)
    elif not container.get("ready"):
        yield from _not_ready(evidence, pod, container)


CauseOfContainer = Callable[[Evidence, KubernetesObject, Mapping[str, Any], str], Cause]


_PULL_STEPS = re.compile(
    r'^(Failed to pull image|failed to (pull and unpack image|resolve reference|resolve image)) "[^"]*": '
)
_PULL_HINT = "check image.repository and image.tag in the profile, and that the nodes reach the registry"
_NEVER_HINT = "load the image on every node, or set image.pull_policy to IfNotPresent"
_NAME_HINT = "check image.repository and image.tag in the profile"


def _pull(grace_s: float, hint: str, code: str = "image-pull") -> CauseOfContainer:
    def cause(evidence: Evidence, pod: KubernetesObject, container: Mapping[str, Any], text: str) -> Cause:
        messages = evidence.events_of(pod, "Failed")
        why = next((one for one in messages if "pull" in one), text).rsplit("desc = ", 1)[-1].strip()
        while (shorter := _PULL_STEPS.sub("", why)) != why:
            why = shorter
        return Cause(code, _subject(pod), f"cannot pull image {container.get('image')}: {why}", hint, grace_s)

    return cause


def _config(evidence: Evidence, pod: KubernetesObject, container: Mapping[str, Any], text: str) -> Cause:
    missing = "not found" in text or "couldn't find key" in text
    code = "config-missing" if missing else "container-config"
    hint = _MISSING_HINT if missing else Hint("check the image and the container's configuration: ", Command("render"))
    return Cause(code, _subject(pod), f"cannot create its container: {text}", hint, PULL_S)


def _started(evidence: Evidence, pod: KubernetesObject, container: Mapping[str, Any], text: str) -> Cause:
    hint = Hint("check the image and the command: ", Command("render"))
    return Cause("container-config", _subject(pod), f"cannot start its container: {text}", hint, PULL_S)


def _last_end(container: Mapping[str, Any]) -> Mapping[str, Any]:
    states = ((container.get("state") or {}), (container.get("lastState") or {}))
    return next((state["terminated"] for state in states if state.get("terminated")), {})


def _crash(evidence: Evidence, pod: KubernetesObject, container: Mapping[str, Any], text: str) -> Cause:
    """A container that terminated; the first time there is a grace period, after a restart none."""
    ended = _last_end(container)
    restarts = int(container.get("restartCount") or 0)
    component, grace_s = evidence.component, AT_ONCE_S if restarts else BLOCKED_S
    if ended.get("reason") == "OOMKilled":
        hint = f"raise components.{component}.resources.limits.memory"
        return Cause("out-of-memory", _subject(pod), "exceeded its memory limit: OOMKilled", hint, AT_ONCE_S)
    log_hint = Hint("see more: ", Command("logs", component))
    if killer := _killer(evidence, pod, container, ended):
        result = _probe_message(evidence, pod, str(ended.get("startedAt") or ""))
        message = f"killed: its {killer} probe fails, {restarts} restarts" + (f": {result}" if result else "")
        return Cause("probe-kill", _subject(pod), message, log_hint, grace_s)
    lines = evidence.last_lines.get(name_of(pod)) or ([ended["message"]] if ended.get("message") else ())
    log = "".join(f"\n        {line}" for line in lines)
    why = f"{ended.get('reason', 'terminated')}, exit code {ended.get('exitCode', '?')}, {restarts} restarts"
    first = f"; {informative_line(lines)}" if lines else ""
    tail = f"\n    last log lines:{log}" if log else ""
    return Cause("crash", _subject(pod), f"crashed: {why}{first}{tail}", log_hint, grace_s)


_KILLED = re.compile(r"Container (\S+) failed (\w+) probe, will be restarted")


def _killer(evidence: Evidence, pod: KubernetesObject, container: Mapping[str, Any], ended: Mapping[str, Any]) -> str:
    """The probe that ended the container's last run; empty if none did."""
    since = str(ended.get("startedAt") or "")
    for text in evidence.events_of(pod, "Killing", since=since):
        match = _KILLED.match(text)
        if match and match[1] == container.get("name"):
            return match[2]
    return ""


def _probe_message(evidence: Evidence, pod: KubernetesObject, since: str) -> str:
    return " ".join(next(iter(evidence.events_of(pod, "Unhealthy", since=since)), "").split())


def _not_ready(evidence: Evidence, pod: KubernetesObject, container: Mapping[str, Any]) -> Iterator[Cause]:
    """A container that runs without being ready: its probe's message, or how its last run ended. It may recover."""
    running = (container.get("state") or {}).get("running")
    if _last_end(container).get("exitCode") not in (0, None):
        yield replace(_crash(evidence, pod, container, ""), grace_s=NEVER_S)
    elif running is not None and (result := _probe_message(evidence, pod, str(running.get("startedAt") or ""))):
        hint = Hint("see what it waits for: ", Command("logs", evidence.component))
        lines = evidence.last_lines.get(name_of(pod)) or ()
        informative = informative_line(lines)
        where = "last log line" if lines and informative == lines[-1].strip() else "from its log"
        last = f"; {where}: {informative}" if lines else ""
        yield Cause("probe", _subject(pod), result + last, hint, NEVER_S)


_ERROR_WORDS = re.compile(
    r"error|exception|panic|fatal|fail|cannot|denied|refused|unable|no such|not ready", re.IGNORECASE
)
_FRAME = re.compile(
    r"\s|at \S+\(|goroutine \d|Traceback \(most recent|\.\.\. \d+ more|stack( trace|:|$)|\[signal |runtime[./]\S+\("
    r"|\S+\.go:\d+|\S+\(0x|created by ",
    re.IGNORECASE,
)
"""A line of a stack trace: indented, or as in Java, Go and Python."""
_LOW_LEVEL = re.compile(r"\b(INFO|DEBUG)\b|\[(INFO|DEBUG)\]|level\"?[=:]\"?(info|debug)")
_LINE_CHARS = 200


def without_frames(lines: Sequence[str]) -> list[str]:
    """The lines without those of stack traces, where others are left; empty ones are left out."""
    filled = [line for line in lines if line.strip()]
    return [line for line in filled if not _FRAME.match(line)] or filled


def informative_line(lines: Sequence[str]) -> str:
    """The most informative line of a log: the last one with an error, stack frames excluded; else the last line."""
    plain = without_frames(lines)
    errors = (line for line in reversed(plain) if _ERROR_WORDS.search(line) and not _LOW_LEVEL.search(line))
    text = next(errors, plain[-1] if plain else "").strip()
    text = text.split("\\n", 1)[0].split(" [stack=", 1)[0]
    return text if len(text) <= _LINE_CHARS else f"{text[: _LINE_CHARS - 1]}…"


_WAITING: Mapping[str, CauseOfContainer] = {
    "ErrImagePull": _pull(PULL_S, _PULL_HINT),
    "ImagePullBackOff": _pull(PULL_S, _PULL_HINT),
    "ErrImageNeverPull": _pull(AT_ONCE_S, _NEVER_HINT),
    "InvalidImageName": _pull(AT_ONCE_S, _NAME_HINT, "image-name"),
    "CreateContainerConfigError": _config,
    "CreateContainerError": _config,
    "RunContainerError": _started,
    "CrashLoopBackOff": _crash,
}
