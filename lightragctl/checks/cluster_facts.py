"""Reads the state of the cluster that the rules of `checks.lint` need; what cannot be read is None, with a reason."""

from collections.abc import Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from lightragctl.checks.lint import ClusterFacts
from lightragctl.core.objects import ObjectRef
from lightragctl.kube.calls import WORKERS
from lightragctl.kube.model import ClusterUnavailableError, ForbiddenError
from lightragctl.kube.scope import Scope

T = TypeVar("T")
Kind = tuple[str, str]

_LISTED = {
    "nodes": ("v1", "Node"),
    "storage_classes": ("storage.k8s.io/v1", "StorageClass"),
    "priority_classes": ("scheduling.k8s.io/v1", "PriorityClass"),
    "ingress_classes": ("networking.k8s.io/v1", "IngressClass"),
    "pods": ("v1", "Pod"),
    "secrets": ("v1", "Secret"),
    "claims": ("v1", "PersistentVolumeClaim"),
}
"""Facts that are lists of objects, in the release's namespace or cluster-scoped."""
_METRICS = ("metrics.k8s.io/v1beta1", "PodMetrics")
_EXTERNAL = ("external.metrics.k8s.io/v1beta1", "ExternalMetricValueList")


def read_facts(scope: Scope) -> ClusterFacts:
    """The state of the cluster for a release.

    Aggregated API groups, such as that of metrics-server, may be down while the rest of the cluster works.
    """
    reasons: dict[str, str] = {}
    readers: dict[str, Callable[[], Any]] = {
        **{name: partial(_select, scope, kind) for name, kind in _LISTED.items()},
        "namespace": partial(_namespace, scope),
        "metrics": partial(_is_served, scope, _METRICS),
        "external_metrics": partial(_is_served, scope, _EXTERNAL),
    }
    with ThreadPoolExecutor(WORKERS) as pool:
        values = pool.map(lambda name: _known(name, readers[name], reasons), readers)
        found = dict(zip(readers, values, strict=True))
    for name in ("secrets", "claims"):
        things = found[name]
        found[name] = None if things is None else frozenset(one["metadata"]["name"] for one in things)
    return ClusterFacts(**found, reasons=reasons)


def _known(name: str, read: Callable[[], T], reasons: MutableMapping[str, str]) -> T | None:
    """A fact; None if it cannot be read: `reasons` gets the cause, except for a missing permission."""
    try:
        return read()
    except ForbiddenError:
        return None
    except ClusterUnavailableError as error:
        reasons[name] = error.message
        return None


def _select(scope: Scope, kind: Kind) -> list[dict[str, Any]] | None:
    resource = scope.cluster.resource(*kind)
    return scope.cluster.select(*kind, scope.namespace if resource.namespaced else "") if resource else None


def _is_served(scope: Scope, kind: Kind) -> bool:
    return scope.cluster.resource(*kind) is not None


def _namespace(scope: Scope) -> dict[str, Any]:
    return scope.cluster.get(ObjectRef("v1", "Namespace", "", scope.namespace)) or {}
