"""Collectors on a cluster in memory, and how they run: in parallel, with deadlines, with whatever rights there are."""

import threading
import time
from collections.abc import Callable
from queue import Queue
from typing import Any, cast

import pytest

from lightragctl.core.diagnosis import Thresholds
from lightragctl.core.errors import LightragctlError
from lightragctl.core.objects import ObjectRef
from lightragctl.deploy.runtime import KubernetesRuntime
from lightragctl.diagnose import keys
from lightragctl.diagnose.collect import run
from lightragctl.diagnose.collect.source import Collector, Source
from lightragctl.diagnose.facts import Fact, Facts
from lightragctl.release.release import Release, ReleaseOptions
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import DEPLOYMENT, NAMESPACE, NOW, lock_holder, up

OBJECTS = [
    *(keys.RECORD, keys.DRIFT, keys.ASLEEP, keys.DANGERS, keys.RULES, keys.WORKLOADS, keys.PODS, keys.CLAIMS),
    *(keys.EVENTS, keys.NODES, keys.NODE_LEASES, keys.QUOTAS, keys.SLICES, keys.CLUSTER_SERVICES, keys.DNS_PODS),
    *(keys.OPERATIONS, keys.STORE_PLACES, keys.CERTIFICATES, keys.POD_METRICS, keys.SIGNS),
]


@pytest.fixture(scope="module")
def whole() -> FakeCluster:
    cluster = FakeCluster()
    up(cluster)
    return cluster


@pytest.fixture
def cluster(whole: FakeCluster) -> FakeCluster:
    return whole.copy()


def collected(cluster: FakeCluster, wanted: list[Fact[Any]]) -> Facts:
    with Release(ReleaseOptions(profile="dev"), {}) as release:
        release.runtime = KubernetesRuntime(cast(Any, cluster), NAMESPACE, "dev", lock_holder())
        source = Source(release, NOW.timestamp())
        return run.collect(source, Thresholds(), wanted, lambda name: None)


def test_the_objects_of_a_release_are_read_with_its_record(cluster: FakeCluster) -> None:
    facts = collected(cluster, OBJECTS)
    assert {one.name for one in OBJECTS} <= facts.values.keys(), facts.missing
    assert facts[keys.RECORD].phase == "applied"
    assert "lightrag-api" in facts[keys.DEPLOYED].components
    names = {one["metadata"]["name"] for one in facts[keys.WORKLOADS]}
    assert {"dev-embedder", "dev-vector-engine"} <= names
    assert facts[keys.DRIFT] == []


def test_a_changed_field_is_told_without_its_value(cluster: FakeCluster) -> None:
    path = ("spec", "template", "spec", "hostNetwork")
    cluster.edit(DEPLOYMENT, "kubectl-edit", path, "planted")
    facts = collected(cluster, [keys.DRIFT])
    assert [(one.path, one.manager) for one in facts[keys.DRIFT]] == [
        ("spec.template.spec.hostNetwork", "kubectl-edit")
    ]
    assert "planted" not in str(facts.document(keys.KNOWN)["facts"]["drift"])


def test_what_others_scaled_to_zero_is_told(cluster: FakeCluster) -> None:
    cluster.edit(DEPLOYMENT, "kubectl-scale", ("spec", "replicas"), 0)
    found = collected(cluster, [keys.ASLEEP])[keys.ASLEEP]
    assert list(found) == ["Deployment/dev-embedder"]


@pytest.mark.parametrize("kind", ["Pod", "Node", "Event", "Secret", "Lease", "Namespace", "ConfigMap"])
def test_with_any_subset_of_rights_the_rest_is_read(cluster: FakeCluster, kind: str) -> None:
    cluster.hidden = {kind}
    facts = collected(cluster, OBJECTS)
    assert keys.QUOTAS in facts
    assert facts.values.keys() | facts.missing.keys() >= {one.name for one in OBJECTS}
    assert all(facts.missing.values())


def test_a_kind_that_is_not_served_is_missing_with_the_reason(cluster: FakeCluster) -> None:
    del cluster.objects[ObjectRef("v1", "Service", NAMESPACE, "dev-embedder")]
    facts = collected(cluster, [keys.NODE_METRICS, keys.CLUSTER_SERVICES])
    assert facts[keys.NODE_METRICS] == []
    assert keys.MACHINE.name in facts.missing
    assert facts.reason(keys.MACHINE).endswith("does not apply")


def reading(read: Callable[[Source, Facts], None], deadline_s: float = 5.0) -> Collector:
    return Collector("test", (keys.STORE, keys.GOLDEN), read, deadline_s=deadline_s)


def ran(*collectors: Collector) -> Facts:
    facts = Facts()
    run._run(collectors, cast(Source, None), facts, lambda name: None)
    return facts


def test_a_collector_that_hangs_is_left_behind_and_its_facts_are_missing() -> None:
    begin = time.monotonic()
    facts = ran(reading(lambda source, facts: time.sleep(30), deadline_s=0.1))
    assert time.monotonic() - begin < 10
    assert facts.reason(keys.STORE) == "not collected within 0.1 s"


def test_what_was_put_before_an_error_is_kept_and_the_rest_has_its_reason() -> None:
    def read(source: Source, facts: Facts) -> None:
        facts.put(keys.GOLDEN, keys.GOLDEN.load({"version": 3}))
        raise LightragctlError("no key sk-0123456789abcdef")

    facts = ran(reading(read))
    assert facts[keys.GOLDEN].version == 3
    assert facts.reason(keys.STORE) == "no key [redacted]"


def test_a_bug_in_a_collector_is_printed_and_costs_its_facts_alone() -> None:
    seen: Queue[object] = Queue()
    before, threading.excepthook = threading.excepthook, seen.put
    try:
        facts = ran(reading(lambda source, facts: facts.put(keys.STORE, cast(Any, 1 / 0))))
        assert seen.get(timeout=10)
    finally:
        threading.excepthook = before
    assert facts.reason(keys.GOLDEN) == "not collected"


def test_every_fact_has_a_collector() -> None:
    provided = {fact.name for one in run.collectors() for fact in one.provides}
    assert provided | {"deployed", "thresholds"} == keys.KNOWN.keys()
