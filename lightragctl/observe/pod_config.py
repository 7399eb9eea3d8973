"""Finds missing ConfigMaps and Secrets, and pods that started before the last change of what they read. Pure.

Processes read their settings and keys when they start.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lightragctl.core.findings import Finding, Severity
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.kube.labels import GENERATE
from lightragctl.kube.managed_fields import owners
from lightragctl.kube.objects import annotations_of, container_statuses, is_terminating, labels_of

_DATA = ("data", "binaryData")


def config_references(workload: KubernetesObject) -> set[ObjectRef]:
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


def last_modified(thing: KubernetesObject) -> str:
    """When the content was last modified, by the API server's clock; empty if never since its creation, or unknown."""
    created = str(thing["metadata"].get("creationTimestamp") or "")
    times = [
        owner.time
        for owner in owners(thing)
        if any(path and path[0].removeprefix("f:") in _DATA for path in owner.paths)
    ]
    newest = max(times, default="")
    return newest if created and newest > created else ""


def _began(pod: KubernetesObject) -> str:
    """The latest time at which the pod read its content; empty if unknown.

    A pod's creation is by the API server's clock, as modifications are; the start of a container by its node's clock.
    """
    created = str(pod["metadata"].get("creationTimestamp") or "")
    states = [(one.get("state") or {}) for one in container_statuses(pod)]
    starts = [str((state.get("running") or {}).get("startedAt") or "") for state in states]
    return max(created, min(starts, default=created)) if created else ""


def stale_pods(pods: Iterable[KubernetesObject], content: Iterable[KubernetesObject]) -> list[tuple[str, ObjectRef]]:
    """Pods that started before the last change of content that they read, each with the changed object."""
    written = [(ref(thing), time) for thing in content if (time := last_modified(thing))]
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


def missing_config(
    workloads: Sequence[KubernetesObject],
    applied: Sequence[KubernetesObject],
    there: Mapping[ObjectRef, KubernetesObject | None],
) -> list[Finding]:
    """Secrets and ConfigMaps that are gone, and Secrets without a generated key."""
    readers: dict[ObjectRef, list[str]] = {one: [] for one, thing in there.items() if thing is None}
    for workload in workloads:
        for identity in config_references(workload) & readers.keys():
            readers[identity].append(str(ref(workload)))
    found = [_missing(identity, names) for identity, names in sorted(readers.items())]
    for secret in applied:
        live = there.get(ref(secret))
        keys = str(annotations_of(secret).get(GENERATE, "")).replace(" ", "").split(",")
        lost = [key for key in keys if key and live is not None and key not in (live.get("data") or {})]
        if lost:
            hint = Hint("generate it again: ", Command("up"))
            found.append(_warning("secret-key-missing", str(ref(secret)), f"has no {', '.join(lost)}", hint))
    return found


def _missing(identity: ObjectRef, readers: Sequence[str]) -> Finding:
    by = f"; read by {', '.join(sorted(readers))}" if readers else ""
    hint = Hint("recreate it: ", Command("up"))
    return _warning("config-missing", str(identity), f"deleted{by}: new pods will not start", hint)


def _warning(code: str, subject: str, message: str, hint: str) -> Finding:
    return Finding(code, subject, message, hint, severity=Severity.WARNING)


def stale_config(
    workloads: Sequence[KubernetesObject],
    pods: Sequence[KubernetesObject],
    there: Mapping[ObjectRef, KubernetesObject | None],
) -> list[Finding]:
    """Pods that started before the last change of what they read."""
    found: list[Finding] = []
    hint = Hint("restart it: ", Command("up"))
    for workload in workloads:
        content = [thing for one in sorted(config_references(workload)) if (thing := there.get(one)) is not None]
        found += [
            _warning("config-outdated", f"Pod/{name}", f"started before {identity} was last modified", hint)
            for name, identity in stale_pods(pods_of(workload, pods), content)
        ]
    return found
