"""Reads what the rules of `deploy.lint` want to know of a cluster; what we may not read stays unknown."""

from collections.abc import Sequence
from typing import Any

from lightragctl.core.objects import ObjectRef
from lightragctl.deploy.apply import Scope
from lightragctl.deploy.lint import ClusterFacts
from lightragctl.kube.model import ForbiddenError


def read_facts(scope: Scope) -> ClusterFacts:
    """The cluster's facts for a release of this scope."""
    secrets = _select(scope, "v1", "Secret", scope.namespace)
    return ClusterFacts(
        nodes=_select(scope, "v1", "Node"),
        storage_classes=_select(scope, "storage.k8s.io/v1", "StorageClass"),
        priority_classes=_select(scope, "scheduling.k8s.io/v1", "PriorityClass"),
        ingress_classes=_select(scope, "networking.k8s.io/v1", "IngressClass"),
        secrets=None if secrets is None else frozenset(one["metadata"]["name"] for one in secrets),
        namespace=_namespace(scope),
        pods=_select(scope, "v1", "Pod", scope.namespace),
        metrics=scope.cluster.resource("metrics.k8s.io/v1beta1", "PodMetrics") is not None,
        external_metrics=scope.cluster.resource("external.metrics.k8s.io/v1beta1", "ExternalMetricValueList")
        is not None,
    )


def _select(scope: Scope, api_version: str, kind: str, namespace: str = "") -> Sequence[dict[str, Any]] | None:
    if scope.cluster.resource(api_version, kind) is None:
        return None
    try:
        return scope.cluster.select(api_version, kind, namespace)
    except ForbiddenError:
        return None


def _namespace(scope: Scope) -> dict[str, Any] | None:
    try:
        return scope.cluster.get(ObjectRef("v1", "Namespace", "", scope.namespace)) or {}
    except ForbiddenError:
        return None
