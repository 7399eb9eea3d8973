"""A second lightrag-server of the new version on a clone of the workspace, for an upgrade. Pure."""

import json
from collections.abc import Sequence
from typing import Any

from lightragctl.core.objects import KubernetesObject
from lightragctl.kube.labels import OPERATION
from lightragctl.upgrade.shadow_objects import SUFFIX, shadow_object

_SETTINGS = "settings.json"


def trial_objects(
    objects: Sequence[KubernetesObject], component: str, operation_id: str, workspace: str
) -> list[dict[str, Any]]:
    """Its ConfigMap and its StatefulSet, which mounts the volume of the first one: the files of the clone are there.

    Args:
        objects: of the release, as the new version has them.
        component: lightrag-server.
        operation_id: that both are labelled with.
        workspace: the clone.
    """
    made = shadow_object(objects, component, operation_id)
    pod, original = made["spec"]["template"]["spec"], made["metadata"]["name"].removesuffix(SUFFIX)
    name = next(one["configMap"]["name"] for one in pod["volumes"] if "configMap" in one)
    settings = next(one for one in objects if one["kind"] == "ConfigMap" and one["metadata"]["name"] == name)
    changed = {**json.loads(settings["data"][_SETTINGS]), "workspace": workspace}
    metadata = {"namespace": made["metadata"]["namespace"], "labels": {OPERATION: operation_id}}
    copied = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {**metadata, "name": f"{name}{SUFFIX}"},
        "data": {_SETTINGS: json.dumps(changed)},
    }
    volumes = [
        {**one, "configMap": {**one["configMap"], "name": f"{name}{SUFFIX}"}} if "configMap" in one else one
        for one in pod["volumes"]
    ]
    claims = [
        {
            "name": one["metadata"]["name"],
            "persistentVolumeClaim": {"claimName": f"{one['metadata']['name']}-{original}-0"},
        }
        for one in made["spec"]["volumeClaimTemplates"]
    ]
    spec = {key: value for key, value in made["spec"].items() if key != "volumeClaimTemplates"}
    spec.pop("persistentVolumeClaimRetentionPolicy")
    spec["template"] = {**spec["template"], "spec": {**pod, "volumes": [*volumes, *claims]}}
    return [copied, {**made, "spec": spec}]
