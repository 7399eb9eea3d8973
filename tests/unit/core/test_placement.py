"""What a profile leaves to its user, and the labels of pools and namespaces."""

import pytest

from lightragctl.core.errors import ProfileError
from lightragctl.core.layers import Layer, Origin
from lightragctl.core.placement import NodePool, Toleration, filled, unset
from lightragctl.core.profile import check

ASKED = {"site": {"image.tag": "a version", "components.a.url": "where", "models.name": None}}


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({}, []),
        (ASKED, ["image.tag", "components.a.url"]),
        ({**ASKED, "image": {"tag": None}}, ["image.tag", "components.a.url"]),
        ({**ASKED, "image": {"tag": "1"}}, ["components.a.url"]),
        ({**ASKED, "image": {"tag": "1"}, "components": {"a": {"url": "x"}}}, []),
        ({**ASKED, "image": {"tag": "1"}, "components": {"a": {"enabled": False}}}, []),
        ({**ASKED, "image": "1"}, ["image.tag", "components.a.url"]),
    ],
)
def test_what_is_asked_for_and_not_set_is_missing(values: dict[str, object], missing: list[str]) -> None:
    assert list(unset(values)) == missing


def test_all_that_is_missing_is_asked_for_at_once_with_how_to_set_it() -> None:
    layer = Layer({"runtime": "kubernetes", **ASKED}, {("site",): Origin("profiles/prod.yaml", 3)})
    with pytest.raises(ProfileError) as caught:
        check("mine", layer, {})
    assert caught.value.message.startswith("profile 'mine' needs 2 values that are specific to your site:")
    assert "image.tag         a version" in caught.value.message
    assert "components.a.url  where" in caught.value.message
    assert "profiles init mine --extends prod" in caught.value.hint


def test_a_value_is_filled_in_and_the_rest_stays() -> None:
    values = {"a": {"b": 1}, "c": 2}
    assert filled(values, "a.d.e", 3) == {"a": {"b": 1, "d": {"e": 3}}, "c": 2}
    assert values == {"a": {"b": 1}, "c": 2}


def test_null_takes_back_a_label() -> None:
    pool = NodePool.model_validate({"node_selector": {"theirs": None, "ours": "x"}})
    assert pool.node_selector == {"ours": "x"}
    with pytest.raises(ValueError, match="node_selector"):
        NodePool.model_validate({"node_selector": {"theirs": None}})


@pytest.mark.parametrize(
    ("toleration", "rendered"),
    [
        (Toleration(key="k"), {"key": "k", "operator": "Exists"}),
        (
            Toleration(key="k", value="v", effect="NoSchedule"),
            {"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"},
        ),
    ],
)
def test_a_toleration_as_a_pod_has_it(toleration: Toleration, rendered: dict[str, str]) -> None:
    assert toleration.rendered() == rendered
