"""The objects of a canary: a Deployment beside the stable one, and its settings. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.kube.labels import MANAGED_BY, OPERATION, component_of
from lightragctl.kube.objects import labels_of
from lightragctl.upgrade.samples import Track

TRACK = "track"
"""The label in the selectors of workloads, which no Service selects by."""
_SUFFIX = "-canary"


def canary_ref(namespace: str, release: str, component: str) -> ObjectRef:
    """The Deployment of a component's canary."""
    return ObjectRef("apps/v1", "Deployment", namespace, f"{release}-{component}{_SUFFIX}")


def canary_objects(
    objects: Sequence[KubernetesObject], component: str, pods: int, operation_id: str
) -> list[KubernetesObject]:
    """The canary of a component: copies of the ConfigMaps that its pods read, then its Deployment.

    Its pods have the labels of the stable pods but `track: canary`, so that the same Service selects them. None of the
    objects has the label by which the objects of the release are found: they belong to the operation.

    Args:
        objects: of the release, as the new version has them.
        component: a component with one Deployment.
        pods: of the canary.
        operation_id: that the objects are labelled with.
    """
    deployment = next(one for one in objects if one["kind"] == "Deployment" and component_of(one) == component)
    maps = {one["metadata"]["name"]: one for one in objects if one["kind"] == "ConfigMap"}
    read = [name for name in _config_maps(deployment) if name in maps]
    copies = [_owned(maps[name], operation_id) for name in read]
    spec = _renamed(_on_canary_track(deployment["spec"]), read)
    made = _owned({**deployment, "spec": {**spec, "replicas": pods}}, operation_id)
    return [*copies, made]


def _owned(thing: KubernetesObject, operation_id: str) -> dict[str, Any]:
    metadata = thing["metadata"]
    kept = {key: value for key, value in labels_of(thing).items() if key != MANAGED_BY and "applyset" not in key}
    made = {"name": f"{metadata['name']}{_SUFFIX}", "namespace": metadata["namespace"]}
    return {**thing, "metadata": {**made, "labels": {**kept, OPERATION: operation_id}}}


def _config_maps(deployment: KubernetesObject) -> list[str]:
    volumes = deployment["spec"]["template"]["spec"].get("volumes") or ()
    return [one["configMap"]["name"] for one in volumes if "configMap" in one]


def _on_canary_track(part: Any) -> Any:
    """The spec with `track: canary` wherever it has `track: stable`: labels, selectors, spreading."""
    if isinstance(part, Mapping):
        changed = {key: _on_canary_track(value) for key, value in part.items()}
        return {**changed, TRACK: str(Track.CANARY)} if changed.get(TRACK) == Track.STABLE else changed
    if isinstance(part, list | tuple):
        return [_on_canary_track(one) for one in part]
    return part


def _renamed(spec: Mapping[str, Any], maps: Iterable[str]) -> dict[str, Any]:
    """The spec whose pods read the canary's copies of these ConfigMaps."""
    names, pod = set(maps), spec["template"]["spec"]
    volumes = [
        {**one, "configMap": {**one["configMap"], "name": f"{one['configMap']['name']}{_SUFFIX}"}}
        if one.get("configMap", {}).get("name") in names
        else one
        for one in pod.get("volumes") or ()
    ]
    return {**spec, "template": {**spec["template"], "spec": {**pod, "volumes": volumes}}}


def track_of(pod: KubernetesObject) -> Track | None:
    """The track of a pod; None for any other label."""
    label = labels_of(pod).get(TRACK)
    return Track(label) if label in set(Track) else None


def own_objects(live: Iterable[KubernetesObject], operation_id: str) -> list[KubernetesObject]:
    """Of these live objects those of the operation's canaries, Deployments first."""
    found = [one for one in live if labels_of(one).get(OPERATION) == operation_id and ref(one).name.endswith(_SUFFIX)]
    return sorted(found, key=lambda one: one["kind"] != "Deployment")
