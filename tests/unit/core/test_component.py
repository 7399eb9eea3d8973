"""Components: in what order they start, and how a plan sees their addresses."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightragctl.core.component import Component, Plan, Probes, Values, start_order
from lightragctl.core.profile import LocalOptions, Profile, Runtime
from lightragctl.core.settings import SecretKey, SecretRef


def component(name: str, *requires: str) -> Component:
    return Component(name, "", requires, Values, Probes(None, None, 1), None, None)


def order(**requires: tuple[str, ...]) -> list[str]:
    return start_order({name: component(name, *others) for name, others in requires.items()})


@pytest.mark.parametrize(
    ("requires", "expected"),
    [
        ({}, []),
        ({"b": (), "a": ()}, ["a", "b"]),
        ({"a": ("b",), "b": ()}, ["b", "a"]),
        ({"a": ("b", "c"), "b": ("c",), "c": ()}, ["c", "b", "a"]),
        ({"a": ("not_there",), "b": ()}, ["a", "b"]),
    ],
)
def test_a_component_starts_after_what_it_requires(requires: dict[str, tuple[str, ...]], expected: list[str]) -> None:
    assert order(**requires) == expected


@given(st.dictionaries(st.integers(0, 8), st.sets(st.integers(0, 8), max_size=4), max_size=9))
def test_every_component_stands_once_and_behind_its_requirements(wishes: dict[int, set[int]]) -> None:
    graph = {
        f"c{number}": tuple(f"c{other}" for other in others if other < number) for number, others in wishes.items()
    }
    placed = order(**graph)
    assert sorted(placed) == sorted(graph)
    for name, others in graph.items():
        assert all(placed.index(other) < placed.index(name) for other in others if other in graph)


def test_a_circle_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="cycle\\): a, b"):
        order(a=("b",), b=("a",), c=())


def plan(runtime: Runtime, offset: int = 0) -> Plan:
    values = {"engine": Values(port=100)}
    profile = Profile(runtime=runtime, components=values, local=LocalOptions(port_offset=offset))
    return Plan("rel", "mine", profile, {"engine": component("engine")})


def test_on_this_machine_a_component_has_a_loopback_address_shifted_by_the_offset() -> None:
    assert plan(Runtime.LOCAL, offset=7).url("engine") == "http://127.0.0.1:107"
    assert plan(Runtime.LOCAL).listen_host() == "127.0.0.1"


def test_on_kubernetes_a_component_has_its_services_name_and_no_offset() -> None:
    assert plan(Runtime.KUBERNETES, offset=7).url("engine") == "http://rel-engine:100"
    assert plan(Runtime.KUBERNETES).listen_host() == "0.0.0.0"


def test_a_kubernetes_secret_reaches_the_process_as_an_environment_variable() -> None:
    here = plan(Runtime.KUBERNETES)
    assert here.secret("KEY", SecretRef(secret=SecretKey(name="s", key="k"))) == SecretRef(env="KEY")
    assert here.secret("KEY", SecretRef(file="/run/key")) == SecretRef(file="/run/key")
    assert here.secret("KEY", None) is None


def test_a_plan_is_not_changed_in_place() -> None:
    first = plan(Runtime.LOCAL)
    assert replace(first, release="other").release == "other"
    assert first.release == "rel"
