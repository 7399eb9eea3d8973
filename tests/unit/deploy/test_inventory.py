"""The inventory of a release."""

import json

import pytest

from lightragctl.core.errors import LightragctlError
from lightragctl.core.objects import ObjectRef
from lightragctl.deploy.inventory import SCHEMA, Inventory, ReleasePhase, from_object, to_object, to_prune

SERVICE = ObjectRef("v1", "Service", "n", "a")
DEPLOYMENT = ObjectRef("apps/v1", "Deployment", "n", "a")
CLAIM = ObjectRef("v1", "PersistentVolumeClaim", "n", "data")
RECORD = Inventory("dev", "dev", {"workspace": "默认"}, "0.1.0", ReleasePhase.APPLYING, (SERVICE, DEPLOYMENT), ("api",))


def test_a_record_comes_back_as_it_was_written() -> None:
    assert from_object(to_object(RECORD, "n")) == RECORD


def test_a_record_of_a_newer_version_is_refused_with_that_version() -> None:
    thing = to_object(RECORD, "n")
    document = json.loads(thing["data"]["record.json"]) | {"schema": SCHEMA + 1, "version": "9.9"}
    thing["data"]["record.json"] = json.dumps(document)
    with pytest.raises(LightragctlError, match=r"a newer lightragctl, 9"):
        from_object(thing)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": 1}', "null"])
def test_a_damaged_record_is_named(text: str) -> None:
    thing = to_object(RECORD, "n")
    thing["data"]["record.json"] = text
    with pytest.raises(LightragctlError, match="ConfigMap/dev-lightragctl in n is not a valid inventory"):
        from_object(thing)


def test_what_is_not_wanted_any_more_is_pruned_last_made_first() -> None:
    assert to_prune((SERVICE, DEPLOYMENT), ()) == [DEPLOYMENT, SERVICE]
    assert to_prune((SERVICE, DEPLOYMENT), (SERVICE,)) == [DEPLOYMENT]


def test_data_keys_and_namespaces_are_never_pruned() -> None:
    kept = (CLAIM, ObjectRef("v1", "Secret", "n", "keys"), ObjectRef("v1", "Namespace", "", "n"))
    assert to_prune(kept, ()) == []


def test_an_object_that_moved_to_another_version_of_its_group_is_kept() -> None:
    older = ObjectRef("apps/v1beta1", "Deployment", "n", "a")
    assert to_prune((older,), (DEPLOYMENT,)) == []
