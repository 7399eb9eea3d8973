"""Names that Kubernetes makes longer, and numbers that it does not take, are refused with what fits."""

import pytest

from lightragctl.checks.names import check_names
from lightragctl.components import all_components
from lightragctl.core.errors import ProfileError, UsageError
from lightragctl.core.profile import LoadedProfile
from lightragctl.deploy.up import wanted
from lightragctl.release.profiles import load_profile, make_plan
from tests.fakes.release import plan


def test_a_name_is_as_long_as_the_profile_lets_it_be_and_no_longer() -> None:
    wanted(plan(release="a" * 36))
    with pytest.raises(UsageError, match="is 4 characters too long for this profile") as caught:
        wanted(plan(release="a" * 40))
    assert (
        "StatefulSet/" + "a" * 40 + "-lightrag-server has 56 characters, at most 52 are allowed" in caught.value.message
    )
    assert caught.value.hint == "use at most 36 characters: --name " + "a" * 36
    wanted(plan("components.lightrag-server.enabled=false", release="a" * 38))


@pytest.mark.parametrize(
    ("kind", "longest"), [("StatefulSet", 52), ("CronJob", 52), ("Job", 63), ("Service", 63), ("ConfigMap", 253)]
)
def test_each_kind_has_its_longest_name(kind: str, longest: int) -> None:
    def named(length: int) -> list[dict[str, object]]:
        return [{"apiVersion": "v1", "kind": kind, "metadata": {"name": "r" * length}}]

    check_names(named(longest), "r" * longest)
    with pytest.raises(UsageError, match=f"{longest} are allowed"):
        check_names(named(longest + 1), "r" * (longest + 1))


def test_labels_of_pods_count_too() -> None:
    template = {"metadata": {"labels": {"app": "x" * 64}}, "spec": {"containers": []}}
    thing = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "r"}, "spec": {"template": template}}
    with pytest.raises(UsageError, match="label app has 64 characters, at most 63 are allowed"):
        check_names([thing], "x" * 64)


def loaded(*assignments: str, profile: str = "dev") -> LoadedProfile:
    return load_profile(profile, (), assignments)


@pytest.mark.parametrize("component", [one.name for one in all_components()])
@pytest.mark.parametrize("port", ["0", "-1", "65536", "99999"])
def test_every_component_s_port_is_from_1_to_65535(component: str, port: str) -> None:
    with pytest.raises(ProfileError, match=rf"components\.{component}\.port: .*than or equal to"):
        loaded(f"components.{component}.port={port}")


@pytest.mark.parametrize(
    "assignment",
    [
        "components.lightrag-server.ready_port=70000",
        "components.lightrag-api.expose.node_port=80",
        "components.lightrag-api.expose.node_port=32768",
        "components.embedder.replicas=-1",
        "components.embedder.start_timeout_s=0",
        "components.embedder.start_timeout_s=99999999999",
        "components.embedder.stop_grace_s=-1",
        "components.embedder.drain_s=.inf",
        "components.lightrag-api.deadlines.request_s=-1",
        "components.lightrag-api.breaking.failure_ratio=1.5",
        "quota.pods=0",
        "models.chat.url=http://llm:99999",
        "models.chat.url=http://llm:0",
        "models.embedding.url=http://llm:port",
        "components.vector-engine.queue.address='a:9092,b:99999'",
        "components.vector-engine.etcd=[etcd:99999]",
    ],
)
def test_numbers_that_cannot_be_are_refused_by_their_key(assignment: str) -> None:
    with pytest.raises(ProfileError, match=assignment.split("=")[0].replace(".", r"\.")):
        loaded(assignment)


def test_the_offset_of_a_local_release_counts() -> None:
    with pytest.raises(ProfileError, match="lightrag-api would listen on port 70000, above the maximum 65535"):
        make_plan("a", loaded("components.lightrag-api.port=60000", "local.port_offset=10000", profile="local"))


def test_milvus_s_own_second_port_is_taken() -> None:
    with pytest.raises(ProfileError, match="port 9091 is used by Milvus's metrics"):
        loaded("components.vector-engine.port=9091")
