"""What is read of a cluster for the rules: what we may not read is unknown, which is not the same as not there."""

from typing import Any

from lightragctl.core.objects import ObjectRef
from lightragctl.deploy.facts import read_facts
from lightragctl.deploy.lint import unread
from lightragctl.kube.model import ForbiddenError, Resource
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import scope


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
    assert unread(facts) == []


def test_what_we_may_not_read_is_unknown_and_said() -> None:
    facts = read_facts(scope(Guarded()))
    assert (facts.nodes, facts.namespace) == (None, None)
    (told,) = unread(facts)
    assert "nodes, namespace" in told.message


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
