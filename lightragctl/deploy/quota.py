"""Whether a namespace's quotas leave room for a release. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from lightragctl.core.objects import KubernetesObject
from lightragctl.core.units import quantity, words

_PLAIN = {"cpu": "requests.cpu", "memory": "requests.memory", "storage": "requests.storage"}
"""Older names that a quota may use for the same amounts."""


def demand(objects: Iterable[KubernetesObject]) -> Counter[str]:
    """What the workloads among the objects ask of a quota, all replicas running: by quota resource name.

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
        if thing["kind"] not in ("Deployment", "StatefulSet"):
            continue
        scaled = least.get((thing["kind"], thing["metadata"]["name"]), 1)
        replicas = int(thing["spec"].get("replicas", scaled))
        total["pods"] += replicas
        for name, amount in _pod(thing["spec"]["template"]["spec"]):
            total[name] += amount * replicas  # type: ignore[assignment]
        for claim in thing["spec"].get("volumeClaimTemplates", ()):
            total["persistentvolumeclaims"] += replicas
            total["requests.storage"] += quantity(claim["spec"]["resources"]["requests"]["storage"]) * replicas  # type: ignore[assignment]
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
        present: what it asks for now, and what is therefore counted as used already.
    """
    found = []
    for one in quotas:
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
