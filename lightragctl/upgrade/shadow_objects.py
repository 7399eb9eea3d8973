"""The shadow of a vector store: a StatefulSet of the new version beside it, with storage of its own. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.kube.labels import COMPONENT, MANAGED_BY, OPERATION, component_of
from lightragctl.kube.objects import labels_of

SUFFIX = "-shadow"
_STOP_S = 1
"""Its data is deleted with it, and its share of the quota is needed again."""
_NAME = "app.kubernetes.io/name"


def shadow_ref(namespace: str, release: str, component: str) -> ObjectRef:
    """The StatefulSet of a component's shadow."""
    return ObjectRef("apps/v1", "StatefulSet", namespace, f"{release}-{component}{SUFFIX}")


def claim_refs(shadow: KubernetesObject) -> list[ObjectRef]:
    """The volume claims of its pod."""
    identity, templates = ref(shadow), shadow["spec"].get("volumeClaimTemplates") or ()
    names = [f"{one['metadata']['name']}-{identity.name}-0" for one in templates]
    return [ObjectRef("v1", "PersistentVolumeClaim", identity.namespace, name) for name in names]


def shadow_object(
    objects: Sequence[KubernetesObject], component: str, operation_id: str, node: str = ""
) -> dict[str, Any]:
    """The shadow of a component with one StatefulSet.

    Its labels say another component, so that no Service, disruption budget or autoscaler of the release selects it;
    `instance` stays, by which the network policy of an operation lets its Job in.

    Args:
        objects: of the release, as the new version has them.
        component: its name.
        operation_id: that the shadow is labelled with.
        node: where it runs if possible: that of the present pod, which then has the image when it is replaced.
    """
    original = next(one for one in objects if one["kind"] == "StatefulSet" and component_of(one) == component)
    made = _renamed(original, component)
    metadata = {key: value for key, value in made["metadata"].items() if key in ("name", "namespace")}
    kept = {key: value for key, value in labels_of(made).items() if key != MANAGED_BY and "applyset" not in key}
    spec = {**made["spec"], "replicas": 1, "serviceName": f"{original['metadata']['name']}{SUFFIX}"}
    spec["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    pod = {**spec["template"]["spec"], "terminationGracePeriodSeconds": _STOP_S}
    spec["template"] = {**spec["template"], "spec": pod}
    if node:
        spec["template"] = _near(spec["template"], node)
    name = f"{original['metadata']['name']}{SUFFIX}"
    return {**made, "metadata": {**metadata, "name": name, "labels": {**kept, OPERATION: operation_id}}, "spec": spec}


def _renamed(part: Any, component: str) -> Any:
    """The same with labels of the shadow wherever there are those of the component."""
    if isinstance(part, Mapping):
        made = {key: _renamed(value, component) for key, value in part.items()}
        return {
            key: f"{component}{SUFFIX}" if key in (COMPONENT, _NAME) and value == component else value
            for key, value in made.items()
        }
    if isinstance(part, list | tuple):
        return [_renamed(one, component) for one in part]
    return part


def _near(template: Mapping[str, Any], node: str) -> dict[str, Any]:
    """The template whose pod prefers a node."""
    spec = template["spec"]
    here = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    preferred = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": here}]}
    return {**template, "spec": {**spec, "affinity": {**(spec.get("affinity") or {}), "nodeAffinity": preferred}}}


def is_own(live: KubernetesObject, operation_id: str) -> bool:
    """Whether a live object is the shadow of this operation."""
    return labels_of(live).get(OPERATION) == operation_id and ref(live).name.endswith(SUFFIX)
