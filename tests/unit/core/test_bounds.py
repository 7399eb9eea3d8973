"""Values that Kubernetes refuses are refused when the profile is read, with the rule; those that it takes are taken."""

import pytest

from lightragctl.core.errors import ProfileError
from lightragctl.core.profile import Profile
from lightragctl.release.profiles import draft_profile, load_profile

POOL = "pools={p: {node_selector: {SELECTOR}, tolerations: [{key: gpu, value: VALUE}]}}"
API = "components.lightrag-api"
ENGINE = "components.vector-engine"

REFUSED = [
    ("image.tag=V1,b=2", "image tag"),
    ("image.tag=.x", "image tag"),
    ("image.tag='a b'", "image tag"),
    (f"image.tag={'a' * 129}", "image tag"),
    ("image.repository=https://registry.example/x", "image repository"),
    ("image.repository=Name", "image repository"),
    ("image.repository=x:y/z", "image repository"),
    (f"{ENGINE}.image.repository=x/", "image repository"),
    (f"{API}.expose.node_port=80", "30000"),
    (f"{API}.expose.node_port=32768", "32767"),
    (f"{API}.port=99999", "65535"),
    ("components.embedder.port=0", "greater than or equal to 1"),
    (f"{API}.expose={{type: Ingress, host: Bad_host}}", "host name"),
    (f"{API}.expose={{type: Ingress, host: 10.0.0.1}}", "no address"),
    (f"{API}.expose={{type: Ingress, host: a.example, tls_secret: A_b}}", "name of an object"),
    (f"{API}.expose={{type: Ingress, host: a.example, class_name: A}}", "name of an object"),
    (f"{API}.api_key.secret={{name: A_b, key: k}}", "api_key.secret.name: 'A_b' is not a valid name"),
    (f"{API}.api_key.secret={{name: a, key: 'a b'}}", "key of a Secret"),
    (f"{ENGINE}.storage_class=Fast_Disk", "name of an object"),
    (f"{ENGINE}.storage=10gb", "size of a volume"),
    (f"{ENGINE}.storage=0", "above 0"),
    (f"{ENGINE}.resources.limits.cpu=5x", "500m"),
    (f"{ENGINE}.resources.limits.memory=-1Gi", "quantity"),
    ("quota.cpu=1,5", "quantity"),
    ("limit_range.default.cpu=1m", "above default.cpu"),
    ("components.embedder.priority=Very High", "name of an object"),
    ("priorities={Bad_Name: 1}", "name of an object"),
    (POOL.replace("SELECTOR", '"bad key": x'), "label key"),
    (POOL.replace("SELECTOR", "example.com/: x"), "label key"),
    (POOL.replace("SELECTOR", "Example_/a: x"), "DNS name"),
    (POOL.replace("SELECTOR", "a: b c"), "label value"),
    (POOL.replace("SELECTOR", f"a: {'b' * 64}"), "63"),
    (POOL.replace("SELECTOR", "a: b").replace("VALUE", "-x"), "label value"),
    ("network.dns={a: b/c}", "label value"),
    ("models.chat.api_key={env: 1A}", "environment variable"),
    ("models.chat.url=llm.example", "http://"),
    ("components.embedder.start_timeout_s=99999999999", "start_timeout_s"),
    (f"{API}.autoscale={{min: 0, max: 2}}", "autoscale.min"),
    (f"{API}.drain_s=.inf", "finite"),
]
TAKEN = [
    ("image.tag=v1.2-rc_3", "image.tag", "v1.2-rc_3"),
    (f"image.tag=1.0.0@sha256:{'0' * 64}", "image.tag", f"1.0.0@sha256:{'0' * 64}"),
    ("image.repository=localhost:5000/a/b__c.d-e", "image.repository", "localhost:5000/a/b__c.d-e"),
    ("image.repository=registry.example:5000/x", "image.repository", "registry.example:5000/x"),
    ("quota.cpu=1", "quota.cpu", "1"),
    ("quota.cpu=0.5", "quota.cpu", "0.5"),
    ("quota.memory=1e9", "quota.memory", "1000000000"),
    ("quota.memory=2Pi", "quota.memory", "2Pi"),
    ("pools={p: {node_selector: {example.com/Zone_1: ''}}}", "pools.p.node_selector", {"example.com/Zone_1": ""}),
    (r"pools.p.node_selector.example\.com/zone=no", "pools.p.node_selector", {"example.com/zone": "no"}),
]


@pytest.mark.parametrize(("assignment", "rule"), REFUSED)
def test_what_kubernetes_refuses_is_refused_with_the_rule(assignment: str, rule: str) -> None:
    with pytest.raises(ProfileError) as caught:
        load_profile("dev", assignments=[assignment])
    assert rule in caught.value.message
    assert len(caught.value.message.splitlines()) == 1, caught.value.message


@pytest.mark.parametrize(("assignment", "key", "value"), TAKEN)
def test_what_kubernetes_takes_is_taken(assignment: str, key: str, value: object) -> None:
    found: object = load_profile("dev", assignments=[assignment]).profile.model_dump()
    for step in key.split("."):
        assert isinstance(found, dict)
        found = found[step]
    assert found == value


def test_a_draft_shows_what_is_still_to_be_filled_in() -> None:
    assert draft_profile("prod").profile.image.tag.startswith("<")


@pytest.mark.parametrize("name", ["embedder", "lightrag-api", "vector-engine", "lightrag-server", "mock-llm"])
@pytest.mark.parametrize("port", ["0", "65536", "-1"])
def test_every_port_is_one(name: str, port: str) -> None:
    with pytest.raises(ProfileError, match=rf"{name}\.port"):
        load_profile("dev", assignments=[f"components.{name}.port={port}"])


def test_null_is_the_default_and_a_map_is_laid_over_it() -> None:
    untouched = load_profile("dev").profile
    sets = ["chunking=null", f"{API}.resources=null", "image.tag=null", "namespace=null"]
    assert load_profile("dev", assignments=sets).profile == untouched
    components = load_profile(
        "dev", assignments=[f"{API}.resources.limits.cpu=4", "components.lightrag-server.image.tag=v1"]
    ).profile.components
    resources = components["lightrag-api"].resources
    assert (resources.limits.cpu, resources.limits.memory, resources.requests.cpu) == ("4", "1Gi", "500m")
    image = components["lightrag-server"].image
    assert (image.repository, image.tag) == ("lightragctl-lightrag", "v1")
    assert isinstance(untouched, Profile)


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        (
            "image.tag=1.10",
            "expected a string, got the number 1.1; "
            """for a string write tag: "1.10", or --set 'image.tag="1.10"'""",
        ),
        ("image.tag=true", 'the boolean true; for a string write tag: "true"'),
        ("image=v2", "expected a map, got the string 'v2'"),
        ("components.embedder=3", "expected a map, got the number 3"),
        ("components.embedder.replicas=two", "expected an integer, got the string 'two'"),
        ("components.embedder.replicas=1.5", "expected an integer, got the number 1.5"),
        ("components.embedder.replicas=true", "expected a number, got the boolean true"),
        ("components.embedder.enabled=3", "expected true or false, got the number 3"),
        (f"{API}.recording.redact=x", "expected a list, got the string 'x'"),
        ("pools={p: {nodeselector: {a: b}}}", "did you mean 'node_selector'?"),
    ],
)
def test_a_message_says_what_was_read_and_what_to_write(assignment: str, told: str) -> None:
    with pytest.raises(ProfileError) as caught:
        load_profile("dev", assignments=[assignment])
    assert told in caught.value.message
