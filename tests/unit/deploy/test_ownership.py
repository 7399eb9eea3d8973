"""Whose an object is."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from lightragctl.core.errors import RefusedError
from lightragctl.core.objects import ref
from lightragctl.core.runtime import UpOptions
from lightragctl.deploy.inventory import inventory_ref
from lightragctl.deploy.ownership import applyset_id, as_member, parent_annotations, refuse_foreign
from lightragctl.kube.labels import APPLYSET_PART_OF as PART_OF
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import target, up

PARENT = inventory_ref("dev", "lightrag")


def service(labels: Mapping[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    named = {"name": "dev-embedder", "namespace": "lightrag", "labels": dict(labels or {}), **metadata}
    return {"apiVersion": "v1", "kind": "Service", "metadata": named, "spec": {"type": "ClusterIP"}}


MANAGED = "app.kubernetes.io/managed-by"
INSTANCE = "app.kubernetes.io/instance"
CONTROLLER = {"kind": "Milvus", "name": "m", "controller": True}
TAKEN = {
    "helm release 'old'": service({MANAGED: "Helm"}, annotations={"meta.helm.sh/release-name": "old"}),
    "release 'two'": service({MANAGED: "lightragctl", INSTANCE: "two"}),
    "another ApplySet, applyset-x-v1": service({PART_OF: "applyset-x-v1"}),
    "Milvus/m": service(ownerReferences=[CONTROLLER]),
}


@pytest.mark.parametrize("whose", TAKEN)
@pytest.mark.parametrize("adopt", [False, True])
def test_what_belongs_to_others_is_never_taken(whose: str, adopt: bool) -> None:
    with pytest.raises(RefusedError, match=f"Service/dev-embedder belongs to {whose}"):
        refuse_foreign([TAKEN[whose]], "dev", PARENT, adopt)


def test_what_somebody_made_by_hand_stops_up_with_who_it_was() -> None:
    cluster = FakeCluster()
    cluster.apply(service(), manager="kubectl-create")
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lightrag"}}, manager="kubectl")
    before = list(cluster.writes)
    with pytest.raises(RefusedError) as caught:
        up(cluster)
    assert "Service/dev-embedder was created by kubectl-create" in caught.value.message
    assert "--adopt" in caught.value.hint
    assert [write for write in cluster.writes[len(before) :] if "Lease" not in write] == []


def test_what_somebody_made_by_hand_is_taken_over_with_adopt() -> None:
    cluster = FakeCluster()
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lightrag"}}, manager="kubectl")
    theirs = {**service(), "spec": {"type": "NodePort"}}
    cluster.apply(theirs, manager="kubectl-create")
    up(cluster, options=UpOptions(5.0, adopt=True))
    adopted = cluster.objects[ref(theirs)]
    assert adopted["spec"]["type"] == "ClusterIP"
    assert adopted["metadata"]["labels"][INSTANCE] == "dev"
    assert up(cluster) == ()


def test_what_somebody_made_in_the_place_of_ours_is_not_ours() -> None:
    cluster = FakeCluster()
    up(cluster)
    cluster.delete(ref(service()), cluster.objects[ref(service())]["metadata"]["uid"])
    cluster.apply(service(), manager="kubectl-create")
    with pytest.raises(RefusedError, match="Service/dev-embedder was created by kubectl-create"):
        up(cluster)
    up(cluster, options=UpOptions(5.0, adopt=True))
    assert up(cluster) == ()


def test_what_another_release_of_ours_has_applied_is_not_ours() -> None:
    cluster = FakeCluster()
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lightrag"}}, manager="kubectl")
    cluster.apply(service({MANAGED: "lightragctl", INSTANCE: "two"}))
    with pytest.raises(RefusedError, match="Service/dev-embedder belongs to release 'two'"):
        up(cluster, options=UpOptions(5.0, adopt=True))


def test_what_has_only_lost_its_labels_gets_them_back() -> None:
    cluster = FakeCluster()
    up(cluster)
    cluster.objects[ref(service())]["metadata"]["labels"] = {}
    assert up(cluster) == ("Service/dev-embedder configured",)


def test_a_set_is_named_by_its_parent_as_the_standard_says() -> None:
    digest = hashlib.sha256(b"dev-lightragctl.lightrag.ConfigMap.").digest()
    assert applyset_id(PARENT) == f"applyset-{base64.urlsafe_b64encode(digest).decode().rstrip('=')}-v1"
    assert len(applyset_id(PARENT)) <= 63


def test_the_parent_tells_tool_and_kinds() -> None:
    cluster = FakeCluster()
    up(cluster)
    parent = cluster.objects[PARENT]
    assert parent["metadata"]["labels"]["applyset.kubernetes.io/id"] == applyset_id(PARENT)
    noted = parent["metadata"]["annotations"]
    assert noted["applyset.kubernetes.io/tooling"].startswith("lightragctl/v")
    kinds = noted["applyset.kubernetes.io/contains-group-kinds"].split(",")
    assert kinds == sorted(kinds)
    assert {"Deployment.apps", "Service"} <= set(kinds)
    assert parent_annotations(())["applyset.kubernetes.io/contains-group-kinds"] == ""


def labels_inside(thing: Any, depth: int = 0) -> Iterator[str]:
    """Every mention of the member's label that is not a label of the object itself."""
    if isinstance(thing, Mapping):
        for key, value in thing.items():
            if depth == 0 and key == "metadata":
                continue
            yield from [str(key)] if PART_OF in str(key) else []
            yield from labels_inside(value, depth + 1)
    elif isinstance(thing, list):
        for item in thing:
            yield from labels_inside(item, depth + 1)


def test_members_are_labelled_and_no_selector_template_or_claim_is() -> None:
    for thing in target().objects:
        expected = applyset_id(PARENT) if thing["metadata"].get("namespace") else None
        assert (thing["metadata"].get("labels") or {}).get(PART_OF) == expected, yaml.safe_dump(dict(thing))
        assert not list(labels_inside(thing))


def test_an_object_without_a_namespace_is_no_member() -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lightrag"}}
    assert as_member(namespace, PARENT) == namespace
