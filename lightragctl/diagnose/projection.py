"""Reduces Kubernetes objects to the fields that checks read, by an allow-list. Pure.

Values of environment variables, arguments, data of ConfigMaps and Secrets, and what containers print are on no list.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from lightragctl.checks.rules.safety import holds_secret, secret_options
from lightragctl.core.objects import KubernetesObject
from lightragctl.diagnose.text import redacted
from lightragctl.kube.labels import DEFAULT_STORAGE_CLASS, REPLICA_SET_REVISION, SELECTED_NODE

ALL = "all"
"""Keep the value with all below."""
TEXT = "text"
"""Keep a text without what looks like a secret."""
Allowed = Mapping[str, Any] | str

_METADATA: Mapping[str, Any] = {
    "name": ALL,
    "namespace": ALL,
    "uid": ALL,
    "labels": ALL,
    "annotations": {REPLICA_SET_REVISION: ALL, SELECTED_NODE: ALL, DEFAULT_STORAGE_CLASS: ALL},
    "generation": ALL,
    "creationTimestamp": ALL,
    "deletionTimestamp": ALL,
    "deletionGracePeriodSeconds": ALL,
    "finalizers": ALL,
    "ownerReferences": {"apiVersion": ALL, "kind": ALL, "name": ALL, "uid": ALL, "controller": ALL},
}
_CONDITIONS: Allowed = {
    "type": ALL,
    "status": ALL,
    "reason": ALL,
    "message": TEXT,
    "lastTransitionTime": ALL,
    "lastHeartbeatTime": ALL,
}
_STATE: Allowed = {
    "waiting": {"reason": ALL, "message": TEXT},
    "running": {"startedAt": ALL},
    "terminated": {"reason": ALL, "exitCode": ALL, "signal": ALL, "startedAt": ALL, "finishedAt": ALL},
}
_CONTAINER_STATUS: Allowed = {
    "name": ALL,
    "ready": ALL,
    "started": ALL,
    "restartCount": ALL,
    "image": ALL,
    "imageID": ALL,
    "state": _STATE,
    "lastState": _STATE,
}
_CONTAINER: Allowed = {
    "name": ALL,
    "image": ALL,
    "resources": ALL,
    "ports": ALL,
    "securityContext": ALL,
    "secretNames": ALL,
    "env": {"name": ALL, "valueFrom": {"secretKeyRef": ALL, "configMapKeyRef": ALL}},
    "envFrom": {"secretRef": ALL, "configMapRef": ALL},
    "livenessProbe": {"periodSeconds": ALL, "timeoutSeconds": ALL, "failureThreshold": ALL},
    "readinessProbe": {"periodSeconds": ALL, "timeoutSeconds": ALL, "failureThreshold": ALL},
    "startupProbe": {"periodSeconds": ALL, "timeoutSeconds": ALL, "failureThreshold": ALL},
}
_POD_SPEC: Allowed = {
    "nodeName": ALL,
    "nodeSelector": ALL,
    "tolerations": ALL,
    "priorityClassName": ALL,
    "serviceAccountName": ALL,
    "automountServiceAccountToken": ALL,
    "securityContext": ALL,
    "hostNetwork": ALL,
    "hostPID": ALL,
    "terminationGracePeriodSeconds": ALL,
    "containers": _CONTAINER,
    "initContainers": _CONTAINER,
    "volumes": {
        "name": ALL,
        "persistentVolumeClaim": {"claimName": ALL},
        "secret": {"secretName": ALL, "items": ALL},
        "configMap": {"name": ALL},
        "emptyDir": ALL,
        "hostPath": {"path": ALL},
    },
}
_WORKLOAD: Mapping[str, Any] = {
    "replicas": ALL,
    "selector": ALL,
    "strategy": ALL,
    "updateStrategy": ALL,
    "podManagementPolicy": ALL,
    "minReadySeconds": ALL,
    "paused": ALL,
    "template": {"metadata": {"labels": ALL}, "spec": _POD_SPEC},
}
_COUNTS: Mapping[str, Any] = {
    **dict.fromkeys(
        (
            *("observedGeneration", "replicas", "readyReplicas", "updatedReplicas", "availableReplicas"),
            *("unavailableReplicas", "currentRevision", "updateRevision", "currentReplicas", "collisionCount"),
        ),
        ALL,
    ),
    "conditions": _CONDITIONS,
}
_EVENT: Mapping[str, Any] = {
    "reason": ALL,
    "type": ALL,
    "count": ALL,
    "message": TEXT,
    "involvedObject": {"kind": ALL, "name": ALL, "uid": ALL, "fieldPath": ALL},
    "firstTimestamp": ALL,
    "lastTimestamp": ALL,
    "eventTime": ALL,
}

_KINDS: Mapping[str, Mapping[str, Allowed]] = {
    "Deployment": {"spec": _WORKLOAD, "status": _COUNTS},
    "StatefulSet": {"spec": {**_WORKLOAD, "serviceName": ALL}, "status": _COUNTS},
    "ReplicaSet": {"spec": {"replicas": ALL, "selector": ALL}, "status": _COUNTS},
    "Pod": {
        "spec": _POD_SPEC,
        "status": {
            "phase": ALL,
            "reason": ALL,
            "message": TEXT,
            "startTime": ALL,
            "conditions": _CONDITIONS,
            "containerStatuses": _CONTAINER_STATUS,
            "initContainerStatuses": _CONTAINER_STATUS,
        },
    },
    "PersistentVolumeClaim": {
        "spec": {"storageClassName": ALL, "volumeName": ALL, "resources": ALL, "accessModes": ALL},
        "status": {"phase": ALL, "capacity": ALL, "conditions": _CONDITIONS},
    },
    "Event": _EVENT,
    "Service": {
        "spec": {"type": ALL, "selector": ALL, "ports": ALL, "clusterIP": ALL},
        "status": {"loadBalancer": ALL},
    },
    "EndpointSlice": {"endpoints": {"conditions": ALL, "zone": ALL, "targetRef": {"kind": ALL, "name": ALL}}},
    "HorizontalPodAutoscaler": {
        "spec": {"minReplicas": ALL, "maxReplicas": ALL, "scaleTargetRef": ALL},
        "status": {"currentReplicas": ALL, "desiredReplicas": ALL, "conditions": _CONDITIONS},
    },
    "PodDisruptionBudget": {
        "spec": {"minAvailable": ALL, "maxUnavailable": ALL, "selector": ALL},
        "status": {"disruptionsAllowed": ALL, "currentHealthy": ALL, "desiredHealthy": ALL, "expectedPods": ALL},
    },
    "ResourceQuota": {"spec": {"hard": ALL}, "status": {"hard": ALL, "used": ALL}},
    "NetworkPolicy": {"spec": ALL},
    "Ingress": {"spec": {"tls": ALL, "ingressClassName": ALL, "rules": {"host": ALL}}, "status": ALL},
    "RoleBinding": {"roleRef": ALL, "subjects": ALL},
    "Node": {
        "spec": {"unschedulable": ALL, "taints": ALL},
        "status": {
            "allocatable": ALL,
            "capacity": ALL,
            "conditions": _CONDITIONS,
            "nodeInfo": {"kubeletVersion": ALL, "architecture": ALL, "kernelVersion": ALL},
        },
    },
    "Lease": {"spec": {"renewTime": ALL, "leaseDurationSeconds": ALL}},
    "PodMetrics": {"containers": {"name": ALL, "usage": ALL}, "timestamp": ALL},
    "NodeMetrics": {"usage": ALL, "timestamp": ALL},
}


def projected(thing: KubernetesObject) -> dict[str, Any]:
    """The object with the fields of its kind's list; of a kind without one only its name and labels."""
    kind = str(thing.get("kind"))
    head = {"apiVersion": thing.get("apiVersion"), "kind": kind}
    whole = {**thing, "spec": _flagged(thing)} if kind in ("Deployment", "StatefulSet") else thing
    return {**head, **_kept(whole, {"metadata": _METADATA, **_KINDS.get(kind, {})})}


def _kept(value: Any, allowed: Allowed) -> Any:
    if isinstance(value, list):
        return [_kept(one, allowed) for one in value]
    if isinstance(allowed, str):
        return redacted(value) if allowed == TEXT and isinstance(value, str) else value
    if not isinstance(value, Mapping):
        return {}
    return {key: _kept(value[key], below) for key, below in allowed.items() if key in value}


def _flagged(thing: KubernetesObject) -> dict[str, Any]:
    """The spec of a workload; each container says which of its variables and arguments hold a secret in plain text."""
    spec = dict(thing.get("spec") or {})
    template = dict(spec.get("template") or {})
    pod = dict(template.get("spec") or {})
    pod["containers"] = [{**one, "secretNames": sorted(_secret_names(one))} for one in pod.get("containers") or ()]
    return {**spec, "template": {**template, "spec": pod}}


def _secret_names(container: Mapping[str, Any]) -> Iterator[str]:
    for variable in container.get("env") or ():
        if holds_secret(str(variable.get("name", "")), str(variable.get("value") or "")):
            yield str(variable["name"])
    yield from secret_options([*map(str, container.get("command") or ()), *map(str, container.get("args") or ())])
