"""Who may talk to whom: a connection that a component needs is allowed at both ends, and nothing else is."""

from pathlib import Path
from typing import Any

import pytest

from lightragctl.cli.loading import load_profile, make_plan
from lightragctl.core.site import Network
from lightragctl.deploy.network import Policy, outside, policies

SITE = Path(__file__).resolve().parents[2] / "contract" / "site.yaml"
ANYWHERE = {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}


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
    assert out == {"vector-engine", "model-gateway"}


def test_a_vector_engine_that_others_run_is_reached_and_has_no_policy() -> None:
    found = made(
        "components.vector-engine={topology: external, url: 'http://milvus.vectors.svc:19530'}",
        "components.etcd.enabled=false",
        "site=null",
    )
    assert "vector-engine" not in found
    there = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "vectors"}}}
    assert allowed(found["lightrag-api"], "egress", there) == []


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
        ("https://llm.example", [ANYWHERE], 443),
        ("http://llm.example", [ANYWHERE], 80),
        ("s3.example:9000", [ANYWHERE], 9000),
        ("https://*", [ANYWHERE], 443),
        ("192.0.2.7:9000", [{"ipBlock": {"cidr": "192.0.2.7/32"}}], 9000),
        ("https://known.example", [{"ipBlock": {"cidr": "198.51.100.0/24"}}], 443),
        ("kafka:9092", [{"podSelector": {}}], None),
        ("kafka-0.kafka.queues.svc.cluster.local:9092",
         [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "queues"}}}], None),
    ],
)  # fmt: skip
def test_the_way_out_to_an_address(address: str, to: list[Any], port: int | None) -> None:
    rule = outside(address, Network(addresses={"known.example": ("198.51.100.0/24",)}))
    assert rule["to"] == to
    assert [one["port"] for one in rule.get("ports", ())] == ([port] if port else [])
