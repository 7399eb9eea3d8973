"""Paths of fields as the API server writes them, read, shown and followed."""

from typing import Any

import pytest

from lightragctl.kube.managed_fields import MISSING, Path, find, owners, show, with_value, without

API = ("f:spec", "f:template", "f:spec", "f:containers", 'k:{"name":"api"}', "f:image")
THING: dict[str, Any] = {
    "spec": {
        "template": {"spec": {"containers": [{"name": "side", "image": "s"}, {"name": "api", "image": "a"}]}},
        "finalizers": ["x", "y"],
    },
    "data": {"settings.json": "{}", "none": None},
}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (API, "spec.template.spec.containers[name=api].image"),
        (("f:data", "f:settings.json"), "data[settings.json]"),
        (("f:spec", "f:ports", 'k:{"port":80,"protocol":"TCP"}', "f:name"), "spec.ports[port=80,protocol=TCP].name"),
        (("f:spec", "f:finalizers", 'v:"x"'), "spec.finalizers[=x]"),
        (("f:spec", "f:args", "i:0"), "spec.args[0]"),
        ((), ""),
    ],
)
def test_a_path_is_shown_as_people_write_it(path: Path, text: str) -> None:
    assert show(path) == text


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (API, "a"),
        (("f:data", "f:settings.json"), "{}"),
        (("f:data", "f:none"), None),
        (("f:data", "f:other"), MISSING),
        (("f:spec", "f:finalizers", 'v:"y"'), "y"),
        (("f:spec", "f:finalizers", "i:5"), MISSING),
        ((*API[:4], 'k:{"name":"other"}'), MISSING),
        ((*API, "f:deeper"), MISSING),
    ],
)
def test_a_path_leads_to_its_value(path: Path, value: Any) -> None:
    assert find(THING, path) is value or find(THING, path) == value


def test_copies_are_changed_and_the_object_stays() -> None:
    assert find(without(THING, API), API) is MISSING
    assert find(without(THING, ("f:nothing", "f:there")), API) == "a"
    assert find(with_value(THING, API, "b"), API) == "b"
    assert find(THING, API) == "a"


def test_who_holds_what_is_read_from_managed_fields() -> None:
    fields = {"f:spec": {"f:replicas": {}, "f:containers": {'k:{"name":"api"}': {".": {}, "f:image": {}}}}}
    entry = {"manager": "kubectl-edit", "operation": "Update", "time": "T", "fieldsV1": fields}
    (owner,) = owners({"metadata": {"managedFields": [entry]}})
    assert (owner.manager, owner.operation, owner.time, owner.subresource) == ("kubectl-edit", "Update", "T", "")
    assert {show(path) for path in owner.paths} == {"spec.replicas", "spec.containers[name=api].image"}
    assert owners({"metadata": {}}) == []
