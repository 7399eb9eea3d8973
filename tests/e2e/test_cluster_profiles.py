"""The profiles staging and prod before a real API server: it would take every object, and every pod in a namespace that
enforces `restricted`; what the cluster lacks is said before anything is written."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.cluster.fixture import ReadyCluster
from tests.cluster.kept import ClusterError
from tests.conftest import Tool

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

SITE = Path(__file__).resolve().parents[1] / "contract" / "site.yaml"
ANY_NODE = {"lightragctl/pool": None, "kubernetes.io/os": "linux"}
POOLS = {"pools": {name: {"node_selector": ANY_NODE} for name in ("retrieval", "routing")}}
"""The test cluster's nodes are all alike."""
PROFILES = ("prod", "staging")


@dataclass(frozen=True)
class Place:
    """A namespace that enforces `restricted` and has the Secret that the profiles name; nothing else is in it."""

    tool: Tool
    cluster: ReadyCluster
    namespace: str

    def words(self, command: str, profile: str, *more: str) -> list[str]:
        """A command on a release of the profile there."""
        return [command, "--profile", profile, "--values", str(SITE), "-n", self.namespace, *more]


@pytest.fixture(scope="module")
def place(cluster: ReadyCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    base = tmp_path_factory.mktemp("profiles")
    (base / "home").mkdir()
    (base / "pools.yaml").write_text(yaml.safe_dump(POOLS))
    name, kubectl = "profiles-story", cluster.kubectl
    kubectl("create", "namespace", name)
    try:
        kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
        keys = ("--from-literal=access-key=a", "--from-literal=secret-key=b")
        kubectl("create", "secret", "generic", "lightrag-object-store", "-n", name, *keys)
        yield Place(Tool(base / "home", base, {"KUBECONFIG": str(cluster.kubeconfig)}), cluster, name)
    finally:
        kubectl("delete", "namespace", name, "--wait=false")


@pytest.mark.parametrize("profile", PROFILES)
def test_the_api_server_would_take_every_object(place: Place, profile: str) -> None:
    done = place.tool.run(*place.words("up", profile, "--values", "pools.yaml", "--dry-run", "-o", "json"))
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    rendered = place.tool.run(*place.words("render", profile, "--values", "pools.yaml", "-o", "json"))
    objects = json.loads(rendered.stdout)["objects"]
    assert len(document["changes"]) == len([one for one in objects if one["kind"] != "Namespace"])
    assert {one["action"] for one in document["changes"]} == {"created"}
    assert {one["note"] for one in document["changes"]} == {""}  # each was checked by the server
    assert any("external metrics" in one for one in document["warnings"])
    assert place.cluster.kubectl("get", "deployments,statefulsets", "-n", place.namespace, "-o", "name") == ""


@pytest.mark.parametrize("profile", PROFILES)
def test_a_namespace_that_enforces_restricted_would_take_every_pod(place: Place, profile: str) -> None:
    rendered = place.tool.run(*place.words("render", profile, "--values", "pools.yaml", "-o", "json"))
    names = set()
    for thing in json.loads(rendered.stdout)["objects"]:
        if thing["kind"] not in ("Deployment", "StatefulSet"):
            continue
        template = thing["spec"]["template"]
        spec = {**template["spec"], "serviceAccountName": "default"}
        spec.pop("priorityClassName", None)  # neither account nor class is there
        spec["volumes"] = [*spec.get("volumes", ()), *claims(thing)]
        name = thing["metadata"]["name"]
        metadata = {"name": name, "namespace": place.namespace, "labels": template["metadata"]["labels"]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        place.cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))
        names.add(name)
    assert len(names) == 9


def claims(thing: dict) -> list[dict]:
    """The volumes that the StatefulSet's controller adds."""
    made = thing["spec"].get("volumeClaimTemplates") or ()
    return [{"name": one["metadata"]["name"], "persistentVolumeClaim": {"claimName": "x"}} for one in made]


def test_the_namespace_does_refuse_a_pod_that_may_do_more(place: Place) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "odd", "namespace": place.namespace}}
    pod["spec"] = {"containers": [{"name": "odd", "image": "odd:1"}]}
    with pytest.raises(ClusterError, match="violates PodSecurity"):
        place.cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))


def test_what_the_cluster_lacks_is_said_with_the_way_out(place: Place) -> None:
    zones = ("--set", "zones=4", "--set", "components.etcd.storage_class=no-such-class")
    done = place.tool.run(*place.words("up", "prod", "--dry-run", *zones))
    assert done.returncode == 8, done.stderr
    for text in (
        "lightragctl/pool=retrieval",
        "kubectl label node NAME",
        "spreads over 4 zones; the nodes are in 3",
        "storage class no-such-class does not exist",
        "storage_class: local-path",
    ):
        assert text in done.stderr, text
    assert "hint: " in done.stderr
