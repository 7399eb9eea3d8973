"""Who may talk to whom: a connection that a component needs is allowed at both ends, and nothing else is."""

from pathlib import Path
from typing import Any

import pytest

from lightragctl.core.errors import ProfileError
from lightragctl.core.placement import NetworkPolicySettings
from lightragctl.deploy.network import Policy, outside, policies
from lightragctl.release.profiles import load_profile, make_plan

SITE = Path(__file__).resolve().parents[2] / "contract" / "site.yaml"
ANYWHERE = [
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}},
    {"ipBlock": {"cidr": "::/0", "except": ["fe80::/10", "fd00:ec2::/32"]}},
]


def made(*sets: str, profile: str = "prod") -> dict[str, Policy]:
    found = policies(make_plan("rel", load_profile(profile, [SITE], sets)))
    return {one.component or one.name: one for one in found}


def pods(component: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/instance": "rel", "app.kubernetes.io/component": component}
    return {"podSelector": {"matchLabels": labels}}


def allowed(policy: Policy, way: str, peer: dict[str, Any]) -> list[int] | None:
    """The ports on which the policy lets the peer; all of them is an empty list, none is None."""
    side = "from" if way == "ingress" else "to"
    rules = [rule for rule in policy.spec[way] if peer in rule.get(side, ())]
    if not rules:
        return None
    return [port["port"] for rule in rules for port in rule.get("ports", ())]


CONNECTIONS = [
    ("lightrag-api", "vector-engine", 19530),
    ("lightrag-api", "model-gateway", 8081),
    ("model-gateway", "embedder", 8083),
    ("vector-engine", "etcd", 2379),
]


def test_everything_is_denied_that_no_other_policy_allows() -> None:
    deny = made()["default-deny"].spec
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize(("caller", "called", "port"), CONNECTIONS)
def test_what_a_component_requires_it_reaches_and_at_both_ends(caller: str, called: str, port: int) -> None:
    found = made()
    assert allowed(found[caller], "egress", pods(called)) == [port]
    assert allowed(found[called], "ingress", pods(caller)) == [port]


def test_what_a_component_does_not_require_it_does_not_reach() -> None:
    found = made()
    names = [name for name in found if name not in ("default-deny", "dns")]
    wanted = {(caller, called) for caller, called, _ in CONNECTIONS}
    wanted |= {(name, name) for name in ("etcd", "vector-engine")}  # their pods talk to each other
    for caller in names:
        for called in names:
            reached = allowed(found[caller], "egress", pods(called)) is not None
            assert reached == ((caller, called) in wanted), (caller, called)
            assert (allowed(found[called], "ingress", pods(caller)) is not None) == reached


def test_clients_come_by_the_ingress_controller_to_the_api_alone() -> None:
    found = made()
    controller = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}
    assert allowed(found["lightrag-api"], "ingress", controller) == [8080]
    for name in ("vector-engine", "model-gateway", "embedder", "etcd"):
        assert allowed(found[name], "ingress", controller) is None


def test_a_port_of_every_node_lets_everybody_in_to_the_api_and_to_nothing_else() -> None:
    found = made("network={}", profile="dev")
    anybody = {
        name: [rule for rule in one.spec.get("ingress", ()) if "from" not in rule] for name, one in found.items()
    }
    assert anybody.pop("lightrag-api") == [{"ports": [{"protocol": "TCP", "port": 8080}]}]
    assert not any(anybody.values())
    closed = made("network={}", "components.lightrag-api.expose={type: ClusterIP, node_port: null}", profile="dev")
    assert all("from" in rule for rule in closed["lightrag-api"].spec["ingress"])


def test_metrics_of_milvus_are_for_the_monitoring_namespace_alone() -> None:
    rules = [
        rule
        for rule in made()["vector-engine"].spec["ingress"]
        if {"protocol": "TCP", "port": 9091} in rule.get("ports", ())
    ]
    assert [rule["from"] for rule in rules] == [
        [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    ]


def test_names_are_asked_for_of_the_clusters_name_servers() -> None:
    (rule,) = made()["dns"].spec["egress"]
    assert rule["to"][0]["podSelector"]["matchLabels"] == {"k8s-app": "kube-dns"}
    assert {(port["protocol"], port["port"]) for port in rule["ports"]} == {("UDP", 53), ("TCP", 53)}


def test_only_who_calls_outside_gets_out() -> None:
    found = made()
    out = {name for name, policy in found.items() if "ipBlock" in str(policy.spec.get("egress"))}
    assert out == {"vector-engine", "model-gateway", "dns"}  # and to a cache of names on the pod's own node


def test_a_vector_engine_that_others_run_is_reached_and_has_no_policy() -> None:
    found = made(
        "components.vector-engine={topology: external, url: 'http://milvus.vectors.svc:19530'}",
        "components.etcd.enabled=false",
        "site=null",
    )
    assert "vector-engine" not in found
    there = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "vectors"}}}
    assert allowed(found["lightrag-api"], "egress", there) == []


POSTGRES = (
    "components.lightrag-server={enabled: true, image: {repository: r, tag: '1'}}",
    "components.lightrag-server.environment.LIGHTRAG_KV_STORAGE=PGKVStorage",
    "components.lightrag-server.environment.POSTGRES_PASSWORD={secret: {name: rag, key: password}}",
)


def test_lightrag_server_reaches_the_database_of_its_stores() -> None:
    where = "components.lightrag-server.environment.POSTGRES_HOST=db.data.svc"
    there = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "data"}}}
    assert allowed(made(*POSTGRES, where)["lightrag-server"], "egress", there) == []
    far = [
        where.replace("db.data.svc", "db.example.org"),
        "components.lightrag-server.environment.POSTGRES_PORT='6432'",
    ]
    assert allowed(made(*POSTGRES, *far)["lightrag-server"], "egress", ANYWHERE[0]) == [6432]
    assert allowed(made(POSTGRES[0], where)["lightrag-server"], "egress", there) is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("LIGHTRAG_VECTOR_STORAGE=PGVectorStorage", "LIGHTRAG_VECTOR_STORAGE cannot be set: vectors are in Milvus"),
        ("POSTGRES_WORKSPACE=other", "POSTGRES_WORKSPACE cannot be set"),
        ("POSTGRES_PASSWORD=plain", "POSTGRES_PASSWORD must refer to a secret"),
        ("POSTGRES_PORT=abc", "POSTGRES_PORT is not a port: abc"),
    ],
)
def test_settings_of_postgresql_that_cannot_work_are_refused(changed: str, message: str) -> None:
    with pytest.raises(ProfileError, match=message) as caught:
        made(*POSTGRES, f"components.lightrag-server.environment.{changed}")
    assert "plain" not in str(caught.value) + caught.value.hint


def test_the_api_reaches_lightrag_server_which_it_does_not_require() -> None:
    found = made("components.lightrag-server={enabled: true, image: {repository: r, tag: '1'}}")
    assert allowed(found["lightrag-api"], "egress", pods("lightrag-server")) == [9621]
    assert allowed(found["lightrag-server"], "ingress", pods("lightrag-api")) == [9621]
    assert allowed(found["lightrag-server"], "egress", pods("vector-engine")) == [19530]


def test_without_a_network_there_are_no_policies() -> None:
    assert made("network=null") == {}
    assert made(profile="dev") == {}


@pytest.mark.parametrize(
    ("address", "to", "port"),
    [
        ("https://llm.example", ANYWHERE, 443),
        ("http://llm.example", ANYWHERE, 80),
        ("s3.example:9000", ANYWHERE, 9000),
        ("https://*", ANYWHERE, 443),
        ("192.0.2.7:9000", [{"ipBlock": {"cidr": "192.0.2.7/32"}}], 9000),
        ("https://known.example", [{"ipBlock": {"cidr": "198.51.100.0/24"}}], 443),
        ("kafka:9092", [{"podSelector": {}}], None),
        ("kafka-0.kafka.queues.svc.cluster.local:9092",
         [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "queues"}}}], None),
    ],
)  # fmt: skip
def test_the_way_out_to_an_address(address: str, to: list[Any], port: int | None) -> None:
    rule = outside(address, NetworkPolicySettings(addresses={"known.example": ("198.51.100.0/24",)}))
    assert rule["to"] == to
    assert [one["port"] for one in rule.get("ports", ())] == ([port] if port else [])


def dns_rule(*sets: str) -> dict[str, Any]:
    (rule,) = made(*sets)["dns"].spec["egress"]
    return rule


def test_names_are_resolved_through_node_local_caches_too() -> None:
    to = dns_rule()["to"]
    assert {"ipBlock": {"cidr": "169.254.20.10/32"}} in to
    assert {"k8s-app": "node-local-dns"} in [peer["podSelector"]["matchLabels"] for peer in to if "podSelector" in peer]


def test_the_name_servers_of_openshift_are_reached() -> None:
    rule = dns_rule(
        "network.dns={kubernetes.io/metadata.name: openshift-dns}",
        "network.dns_pods={k8s-app: null, dns.operator.openshift.io/daemonset-dns: default}",
        "network.dns_port=5353",
        "network.dns_addresses=[10.96.0.10]",
    )
    assert {port["port"] for port in rule["ports"]} == {53, 5353}
    assert rule["to"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "openshift-dns"}
    assert {"ipBlock": {"cidr": "10.96.0.10/32"}} in rule["to"]


def test_a_load_balancer_outside_the_cluster_reaches_the_api_alone() -> None:
    found = made("network.ingress_addresses=[35.191.0.0/16, 2600:2d00::/32]")
    for cidr in ("35.191.0.0/16", "2600:2d00::/32"):
        assert allowed(found["lightrag-api"], "ingress", {"ipBlock": {"cidr": cidr}}) == [8080]
        assert allowed(found["vector-engine"], "ingress", {"ipBlock": {"cidr": cidr}}) is None


def test_only_who_uses_the_nodes_rights_reaches_the_metadata_services() -> None:
    metadata = {"ipBlock": {"cidr": "169.254.169.254/32"}}
    pod_identity = {"ipBlock": {"cidr": "169.254.170.23/32"}}
    keys = made()
    assert all(allowed(one, "egress", metadata) is None for one in keys.values() if "egress" in one.spec)
    store = "components.vector-engine.object_store"
    found = made(f"{store}.iam=true", f"{store}.credentials=null")
    assert allowed(found["vector-engine"], "egress", metadata) == [80, 988]
    assert allowed(found["vector-engine"], "egress", pod_identity) == [80, 988]
    assert 443 in (allowed(found["vector-engine"], "egress", ANYWHERE[0]) or [])
    assert allowed(found["model-gateway"], "egress", metadata) is None


@pytest.mark.parametrize("text", ["10.0.0.1/8", "all", "10.0.0.0/33", "fd00::/200"])
def test_what_is_no_address_range_is_refused(text: str) -> None:
    with pytest.raises(ProfileError, match="not an address range"):
        made(f"network.ingress_addresses=['{text}']")
