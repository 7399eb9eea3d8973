"""What is read of a cluster for the rules: what we may not read is unknown, which is not the same as not there."""

from typing import Any

from lightragctl.checks.cluster_facts import read_facts
from lightragctl.checks.lint import skipped_checks
from lightragctl.core.errors import LightragctlError
from lightragctl.core.objects import ObjectRef
from lightragctl.deploy.up import preview
from lightragctl.kube.model import ClusterUnavailableError, ForbiddenError, Resource
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import OPTIONS, rollback, scope, target, up


class Guarded(FakeCluster):
    """A cluster that does not let us look at nodes, nor at the namespace."""

    def select(self, api_version: str, kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        if kind == "Node":
            raise ForbiddenError("nodes is forbidden")
        return super().select(api_version, kind, namespace, selector)

    def get(self, identity: ObjectRef) -> dict[str, Any] | None:
        if identity.kind == "Namespace":
            raise ForbiddenError("namespaces is forbidden")
        return super().get(identity)


class Bare(FakeCluster):
    """A cluster without metrics and priorities."""

    def resource(self, api_version: str, kind: str) -> Resource | None:
        return None if kind in ("PodMetrics", "PriorityClass") else super().resource(api_version, kind)


def test_what_is_not_there_is_known() -> None:
    facts = read_facts(scope(FakeCluster()))
    assert (facts.nodes, facts.secrets, facts.namespace, facts.pods) == ([], frozenset(), {}, [])
    assert (facts.metrics, facts.external_metrics) == (True, False)
    assert skipped_checks(facts) == []


def test_what_we_may_not_read_is_unknown_and_said() -> None:
    facts = read_facts(scope(Guarded()))
    assert (facts.nodes, facts.namespace) == (None, None)
    (told,) = skipped_checks(facts)
    assert "nodes, namespace" in told.message


class Degraded(FakeCluster):
    """A cluster in which the servers behind the metrics groups are down, or closed to us."""

    def __init__(self, error: LightragctlError) -> None:
        super().__init__()
        self.error = error

    def resource(self, api_version: str, kind: str) -> Resource | None:
        if "metrics" in api_version:
            raise self.error
        return super().resource(api_version, kind)


DOWN = ClusterUnavailableError("the API server answers 503 for metrics.k8s.io/v1beta1: service unavailable")


def test_a_group_whose_server_is_down_is_unknown_and_said_with_the_reason() -> None:
    facts = read_facts(scope(Degraded(DOWN)))
    assert (facts.metrics, facts.external_metrics) == (None, None)
    (told,) = skipped_checks(facts)
    assert told.message.startswith("not checked: metrics (the API server answers 503 for metrics.k8s.io/v1beta1")
    assert "apiservices" in told.hint


def test_a_group_that_is_closed_to_us_is_unknown() -> None:
    facts = read_facts(scope(Degraded(ForbiddenError("metrics.k8s.io is forbidden"))))
    (told,) = skipped_checks(facts)
    assert "no permission to list: metrics, external metrics" in told.message


def test_a_release_goes_up_changes_and_rolls_back_while_metrics_are_down() -> None:
    cluster = Degraded(DOWN)
    up(cluster)
    up(cluster, "components.embedder.replicas=2")
    rollback(cluster, 1)
    told = preview(scope(cluster), target(), OPTIONS).warnings
    assert any("metrics.k8s.io" in warning and "503" in warning for warning in told)


def test_what_the_cluster_does_not_serve_is_told_apart() -> None:
    facts = read_facts(scope(Bare()))
    assert facts.metrics is False
    assert facts.priority_classes is None


def test_objects_are_read_and_secrets_kept_by_their_names_alone() -> None:
    cluster = FakeCluster()
    metadata = {"name": "ours", "namespace": "lightrag"}
    cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"k": "dmFsdWU="}})
    cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}})
    facts = read_facts(scope(cluster))
    assert [one["metadata"]["name"] for one in facts.nodes or ()] == ["a"]
    assert facts.secrets == frozenset({"ours"})
    assert "dmFsdWU=" not in repr(facts)
