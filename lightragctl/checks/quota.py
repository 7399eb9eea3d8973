"""Compares what a release uses with the quotas of its namespace. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from lightragctl.core.findings import Finding, Severity
from lightragctl.core.objects import KubernetesObject
from lightragctl.core.quantity import quantity, words
from lightragctl.kube.objects import WORKLOAD_KINDS, spec_of, status_of

_HINT = "raise the quota (profile key quota), or lower replicas and resources of the components"
_PLAIN = {
    "cpu": "requests.cpu",
    "memory": "requests.memory",
    "storage": "requests.storage",
    "count/pods": "pods",
    "count/persistentvolumeclaims": "persistentvolumeclaims",
}
"""Other names of the same resources in a quota."""


_COUNTED = {
    "ConfigMap": ("configmaps", "count/configmaps"),
    "Secret": ("secrets", "count/secrets"),
    "Service": ("services", "count/services"),
    "ServiceAccount": ("count/serviceaccounts",),
    "Deployment": ("count/deployments.apps",),
    "StatefulSet": ("count/statefulsets.apps",),
    "Ingress": ("count/ingresses.networking.k8s.io",),
    "NetworkPolicy": ("count/networkpolicies.networking.k8s.io",),
    "PodDisruptionBudget": ("count/poddisruptionbudgets.policy",),
    "HorizontalPodAutoscaler": ("count/horizontalpodautoscalers.autoscaling",),
}
"""The names under which a quota counts objects of a kind."""


def requested(objects: Iterable[KubernetesObject]) -> Counter[str]:
    """What the workloads use of a quota when all replicas run, by the quota's resource names.

    An autoscaled workload counts with its minimum number of pods.
    """
    total: Counter[str] = Counter()
    objects = list(objects)
    least = {
        (one["spec"]["scaleTargetRef"]["kind"], one["spec"]["scaleTargetRef"]["name"]): one["spec"]["minReplicas"]
        for one in objects
        if one["kind"] == "HorizontalPodAutoscaler"
    }
    for thing in objects:
        if thing["kind"] not in WORKLOAD_KINDS:
            continue
        scaled = least.get((thing["kind"], thing["metadata"]["name"]), 1)
        replicas = int(thing["spec"].get("replicas", scaled))
        total["pods"] += replicas
        for name, amount in _pod(thing["spec"]["template"]["spec"]):
            total[name] += amount * replicas  # type: ignore[assignment]
        for claim in thing["spec"].get("volumeClaimTemplates", ()):
            for name, count in _of_claim(claim).items():
                total[name] += count * replicas
    return total


def object_counts(objects: Iterable[KubernetesObject]) -> Counter[str]:
    """What the objects themselves use of a quota, without what they create.

    Volume claims are not counted: in a dry run the server compares their sizes with its quotas itself.
    """
    total: Counter[str] = Counter()
    for thing in objects:
        total.update(_COUNTED.get(str(thing["kind"]), ()))
        spec = spec_of(thing)
        if thing["kind"] == "Service" and spec.get("type") in ("NodePort", "LoadBalancer"):
            total["services.nodeports"] += len(spec.get("ports") or ())
            total["services.loadbalancers"] += spec["type"] == "LoadBalancer"
    return total


def usage(pods: Iterable[KubernetesObject], claims: Iterable[KubernetesObject]) -> Counter[str]:
    """What existing pods, and the claims that they keep, use of a quota, under the names of `requested`."""
    total: Counter[str] = Counter()
    for claim in claims:
        total += _of_claim(claim)
    for pod in pods:
        if status_of(pod).get("phase") in ("Succeeded", "Failed"):
            continue
        total["pods"] += 1
        for name, amount in _pod(pod["spec"]):
            total[name] += amount  # type: ignore[assignment]
    return total


def _of_claim(claim: Mapping[str, Any]) -> Counter[str]:
    spec = claim["spec"]
    size = quantity(spec["resources"]["requests"]["storage"])
    total: Counter[str] = Counter({"persistentvolumeclaims": 1, "requests.storage": size})
    if name := spec.get("storageClassName"):
        prefix = f"{name}.storageclass.storage.k8s.io"
        total += Counter({f"{prefix}/persistentvolumeclaims": 1, f"{prefix}/requests.storage": size})
    return total


def _pod(spec: Mapping[str, Any]) -> Iterator[tuple[str, Decimal]]:
    for container in spec["containers"]:
        for part in ("requests", "limits"):
            for name, amount in (container.get("resources", {}).get(part) or {}).items():
                yield f"{part}.{name}", quantity(amount)


def exceeded_quotas(
    quotas: Sequence[KubernetesObject], wanted: Mapping[str, Any], present: Mapping[str, Any]
) -> list[Finding]:
    """The resources of quotas that the release would exceed.

    Args:
        quotas: the namespace's ResourceQuotas with their status.
        wanted: what the release will use, from `requested`.
        present: the part that the quotas count already, from `usage`.
    """
    found = []
    for one in quotas:
        if spec_of(one).get("scopes") or spec_of(one).get("scopeSelector"):
            continue  # it counts only some pods, which only the cluster can select
        status = status_of(one)
        hard = status.get("hard") or one.get("spec", {}).get("hard") or {}
        for name, limit in hard.items():
            resource = _PLAIN.get(name, name)
            more = Decimal(wanted.get(resource, 0)) - Decimal(present.get(resource, 0))
            used = quantity((status.get("used") or {}).get(name, 0))
            if more > 0 and used + more > quantity(limit):
                sums = f"{words(used, name)} used + {words(more, name)} more > {words(quantity(limit), name)}"
                subject = f"ResourceQuota/{one['metadata']['name']}"
                found.append(Finding("quota-exceeded", subject, f"{name}: {sums}", _HINT, severity=Severity.ERROR))
    return found
