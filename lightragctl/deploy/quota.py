"""Whether a namespace's quotas leave room for a release. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from lightragctl.core.objects import KubernetesObject
from lightragctl.core.units import quantity, words

_PLAIN = {"cpu": "requests.cpu", "memory": "requests.memory", "storage": "requests.storage"}
"""Older names that a quota may use for the same amounts."""


_COUNTED = {
    "ConfigMap": ("configmaps", "count/configmaps"),
    "Secret": ("secrets", "count/secrets"),
    "Service": ("services", "count/services"),
    "PersistentVolumeClaim": ("persistentvolumeclaims", "count/persistentvolumeclaims"),
    "ServiceAccount": ("count/serviceaccounts",),
    "Deployment": ("count/deployments.apps",),
    "StatefulSet": ("count/statefulsets.apps",),
    "Ingress": ("count/ingresses.networking.k8s.io",),
    "NetworkPolicy": ("count/networkpolicies.networking.k8s.io",),
    "PodDisruptionBudget": ("count/poddisruptionbudgets.policy",),
    "HorizontalPodAutoscaler": ("count/horizontalpodautoscalers.autoscaling",),
}
"""Under which names a quota counts objects of a kind."""


def demand(objects: Iterable[KubernetesObject]) -> Counter[str]:
    """What the objects ask of a quota, all replicas running: by quota resource name.

    An autoscaled workload counts with its least number of pods.
    """
    total: Counter[str] = Counter()
    objects = list(objects)
    least = {
        (one["spec"]["scaleTargetRef"]["kind"], one["spec"]["scaleTargetRef"]["name"]): one["spec"]["minReplicas"]
        for one in objects
        if one["kind"] == "HorizontalPodAutoscaler"
    }
    for thing in objects:
        total += counted(thing)
        if thing["kind"] not in ("Deployment", "StatefulSet"):
            continue
        scaled = least.get((thing["kind"], thing["metadata"]["name"]), 1)
        replicas = int(thing["spec"].get("replicas", scaled))
        total["pods"] += replicas
        total["count/pods"] += replicas
        for name, amount in _pod(thing["spec"]["template"]["spec"]):
            total[name] += amount * replicas  # type: ignore[assignment]
        for claim in thing["spec"].get("volumeClaimTemplates", ()):
            for name, count in counted({**claim, "kind": "PersistentVolumeClaim"}).items():
                total[name] += count * replicas
    return total


def usage(
    objects: Iterable[KubernetesObject], pods: Iterable[KubernetesObject], claims: Iterable[KubernetesObject]
) -> Counter[str]:
    """What a quota counts already of a release.

    Args:
        objects: live ones that the release goes on to want.
        pods: of the release.
        claims: volume claims that the release goes on to want.
    """
    total: Counter[str] = Counter()
    for thing in objects:
        if thing["kind"] != "PersistentVolumeClaim":
            total += counted(thing)
    for claim in claims:
        total += counted({**claim, "kind": "PersistentVolumeClaim"})
    for pod in pods:
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            continue
        total += Counter({"pods": 1, "count/pods": 1})
        for name, amount in _pod(pod["spec"]):
            total[name] += amount  # type: ignore[assignment]
    return total


def counted(thing: KubernetesObject) -> Counter[str]:
    """What a quota counts of the object itself, not of what it makes."""
    total = Counter(dict.fromkeys(_COUNTED.get(str(thing["kind"]), ()), 1))
    spec = thing.get("spec") or {}
    if thing["kind"] == "Service" and spec.get("type") in ("NodePort", "LoadBalancer"):
        total["services.nodeports"] += len(spec.get("ports") or ())
        total["services.loadbalancers"] += spec["type"] == "LoadBalancer"
    if thing["kind"] == "PersistentVolumeClaim":
        size = quantity(spec["resources"]["requests"]["storage"])
        total["requests.storage"] += size  # type: ignore[assignment]
        if name := spec.get("storageClassName"):
            prefix = f"{name}.storageclass.storage.k8s.io"
            total[f"{prefix}/requests.storage"] += size  # type: ignore[assignment]
            total[f"{prefix}/persistentvolumeclaims"] += 1
    return total


def _pod(spec: Mapping[str, Any]) -> Iterator[tuple[str, Decimal]]:
    for container in spec["containers"]:
        for part in ("requests", "limits"):
            for name, amount in (container.get("resources", {}).get(part) or {}).items():
                yield f"{part}.{name}", quantity(amount)


def shortfalls(quotas: Sequence[KubernetesObject], wanted: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    """Where the quotas leave too little room, one sentence each.

    Args:
        quotas: the namespace's ResourceQuotas with their status.
        wanted: what the release will ask for, from `demand`.
        present: what is counted of it as used already, from `usage`.
    """
    found = []
    for one in quotas:
        if (one.get("spec") or {}).get("scopes") or (one.get("spec") or {}).get("scopeSelector"):
            continue  # it counts some pods only, and the cluster alone knows which
        status = one.get("status") or {}
        hard = status.get("hard") or one.get("spec", {}).get("hard") or {}
        for name, limit in hard.items():
            resource = _PLAIN.get(name, name)
            more = Decimal(wanted.get(resource, 0)) - Decimal(present.get(resource, 0))
            used = quantity((status.get("used") or {}).get(name, 0))
            if more > 0 and used + more > quantity(limit):
                numbers = f"{words(used, name)} used + {words(more, name)} more > {words(quantity(limit), name)}"
                found.append(f"ResourceQuota/{one['metadata']['name']}: {name}: {numbers}")
    return found
