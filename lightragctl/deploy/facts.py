"""Reads what the rules of `deploy.lint` want to know of a cluster; what we may not read stays unknown."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from lightragctl.core.objects import ObjectRef
from lightragctl.deploy.apply import Scope
from lightragctl.deploy.lint import ClusterFacts
from lightragctl.deploy.preflight import WORKERS
from lightragctl.kube.model import ForbiddenError

_LISTED = {
    "nodes": ("v1", "Node"),
    "storage_classes": ("storage.k8s.io/v1", "StorageClass"),
    "priority_classes": ("scheduling.k8s.io/v1", "PriorityClass"),
    "ingress_classes": ("networking.k8s.io/v1", "IngressClass"),
    "pods": ("v1", "Pod"),
    "secrets": ("v1", "Secret"),
    "claims": ("v1", "PersistentVolumeClaim"),
}
"""Facts that are lists of objects: of the release's namespace, or of the whole cluster where the kind is so."""
_METRICS = ("metrics.k8s.io/v1beta1", "PodMetrics")
_EXTERNAL = ("external.metrics.k8s.io/v1beta1", "ExternalMetricValueList")


def read_facts(scope: Scope) -> ClusterFacts:
    """The cluster's facts for a release of this scope."""
    with ThreadPoolExecutor(WORKERS) as pool:
        found: dict[str, Any] = dict(zip(_LISTED, pool.map(partial(_select, scope), _LISTED.values()), strict=True))
    for name in ("secrets", "claims"):
        things = found[name]
        found[name] = None if things is None else frozenset(one["metadata"]["name"] for one in things)
    return ClusterFacts(
        **found,
        namespace=_namespace(scope),
        metrics=scope.cluster.resource(*_METRICS) is not None,
        external_metrics=scope.cluster.resource(*_EXTERNAL) is not None,
    )


def _select(scope: Scope, kind: tuple[str, str]) -> Sequence[dict[str, Any]] | None:
    resource = scope.cluster.resource(*kind)
    if resource is None:
        return None
    try:
        return scope.cluster.select(*kind, scope.namespace if resource.namespaced else "")
    except ForbiddenError:
        return None


def _namespace(scope: Scope) -> dict[str, Any] | None:
    try:
        return scope.cluster.get(ObjectRef("v1", "Namespace", "", scope.namespace)) or {}
    except ForbiddenError:
        return None
