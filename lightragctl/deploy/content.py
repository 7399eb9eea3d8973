"""What pods were started with: the content of the ConfigMaps and Secrets that they read. Pure.

Processes read their settings and keys when they start. So a pod template names the content that its pods are to be
started with, by a digest, and a change of the content rolls the pods. Where the content was changed by others and is
taken back, the digest is the same as before: then a number behind it rolls the pods that were started in between.
"""

import copy
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.kube.labels import CONTENT
from lightragctl.kube.managed_fields import owners
from lightragctl.kube.objects import annotations_of, container_statuses, is_terminating, labels_of, spec_of

_DIGEST_CHARS = 16
_DATA = ("data", "binaryData")


@dataclass(frozen=True)
class Content:
    """ConfigMaps and Secrets that workloads read; one that could not be read is in neither map.

    Attributes:
        after: as they will be when the workloads are applied.
        before: as they are.
    """

    after: Mapping[ObjectRef, KubernetesObject]
    before: Mapping[ObjectRef, KubernetesObject]


def references(workload: KubernetesObject) -> set[ObjectRef]:
    """The ConfigMaps and Secrets whose content the workload's pods read."""
    namespace = str(workload["metadata"].get("namespace", ""))
    return {ObjectRef("v1", kind, namespace, name) for kind, name in _named(workload["spec"]["template"]["spec"])}


def _named(pod: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for container in (*(pod.get("initContainers") or ()), *pod["containers"]):
        for variable in container.get("env") or ():
            source = variable.get("valueFrom") or {}
            yield from _sources(source, "secretKeyRef", "configMapKeyRef")
        for source in container.get("envFrom") or ():
            yield from _sources(source, "secretRef", "configMapRef")
    for volume in pod.get("volumes") or ():
        for part in (volume, *((volume.get("projected") or {}).get("sources") or ())):
            yield from _sources(part, "secret", "configMap")


def _sources(thing: Mapping[str, Any], secret: str, config_map: str) -> Iterator[tuple[str, str]]:
    for key, kind in ((secret, "Secret"), (config_map, "ConfigMap")):
        if found := thing.get(key):
            yield kind, str(found.get("name") or found.get("secretName"))


def data_of(thing: KubernetesObject) -> dict[str, Any]:
    """The content of a ConfigMap or a Secret."""
    return {part: dict(thing[part]) for part in _DATA if thing.get(part)}


def digest(things: Iterable[KubernetesObject]) -> str:
    """A word that stands for the content of all of them."""
    content = {str(ref(thing)): data_of(thing) for thing in things}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARS]


def written_at(thing: KubernetesObject) -> str:
    """When the content was last written over, as the API server has it; empty when it is as it was made, or unknown."""
    created = str(thing["metadata"].get("creationTimestamp") or "")
    times = [
        owner.time
        for owner in owners(thing)
        if any(path and path[0].removeprefix("f:") in _DATA for path in owner.paths)
    ]
    newest = max(times, default="")
    return newest if created and newest > created else ""


def _began(pod: KubernetesObject) -> str:
    """When the pod last read its content at the latest; empty when that is not known.

    A pod's making is by the API server's clock, as the times of writing are, the start of a container by its node's.
    """
    made = str(pod["metadata"].get("creationTimestamp") or "")
    states = [(one.get("state") or {}) for one in container_statuses(pod)]
    starts = [str((state.get("running") or {}).get("startedAt") or "") for state in states]
    return max(made, min(starts, default=made)) if made else ""


def outdated(pods: Iterable[KubernetesObject], content: Iterable[KubernetesObject]) -> list[tuple[str, ObjectRef]]:
    """Pods that were started before content that they read was last written, each with what was written."""
    written = [(ref(thing), time) for thing in content if (time := written_at(thing))]
    return [
        (str(pod["metadata"]["name"]), identity)
        for pod in pods
        if (began := _began(pod)) and not is_terminating(pod)
        for identity, time in written
        if began < time
    ]


def pods_of(workload: KubernetesObject, pods: Iterable[KubernetesObject]) -> list[KubernetesObject]:
    """The pods that the workload selects."""
    labels = workload["spec"]["selector"]["matchLabels"].items()
    return [pod for pod in pods if labels <= labels_of(pod).items()]


def with_content(
    workload: KubernetesObject, live: KubernetesObject | None, content: Content, pods: Sequence[KubernetesObject]
) -> tuple[dict[str, Any], str]:
    """The workload with the content that its pods are to be started with, and why they are rolled; empty for a plain
    change, or none.

    Args:
        workload: as it will be applied.
        live: as it is.
        content: what it reads, and perhaps more.
        pods: of the namespace.
    """
    wanted = references(workload)
    if not wanted:
        return dict(workload), ""
    there = _noted(live)
    if not wanted <= content.after.keys():  # what we may not read says nothing new
        return _with_note(workload, there) if there else dict(workload), ""
    now = digest(content.after[one] for one in sorted(wanted))
    before, _, count = there.partition(".")
    if live is None or before != now:
        return _with_note(workload, now), ""
    if reason := _taken_back(wanted, content, pods_of(live, pods)):
        return _with_note(workload, f"{now}.{int(count or 0) + 1}"), reason
    return _with_note(workload, there), ""


def _taken_back(wanted: set[ObjectRef], content: Content, pods: Sequence[KubernetesObject]) -> str:
    """Why pods whose content is named rightly may have read another one."""
    there = [content.before[one] for one in sorted(wanted & content.before.keys())]
    for thing in there if pods else ():
        if data_of(thing) != data_of(content.after[ref(thing)]):
            return f"its pods may have read {ref(thing)} as others have changed it"
    for name, identity in outdated(pods, there):
        return f"Pod/{name} was started before {identity} was last written"
    return ""


def _noted(live: KubernetesObject | None) -> str:
    return str(annotations_of(spec_of(live or {}).get("template", {})).get(CONTENT, ""))


def _with_note(workload: KubernetesObject, note: str) -> dict[str, Any]:
    made = copy.deepcopy(dict(workload))
    made["spec"]["template"].setdefault("metadata", {}).setdefault("annotations", {})[CONTENT] = note
    return made
