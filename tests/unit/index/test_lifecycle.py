"""Life-cycle rules: what they ask for, and that what is not known never makes a workspace cold."""

from dataclasses import replace
from typing import Any

import pytest

from lightragctl.core import assets
from lightragctl.core.errors import ProfileError
from lightragctl.core.lifecycle import IndexLifecycle
from lightragctl.deploy.render import render_plan
from lightragctl.index.lifecycle import Action, Observation, Surroundings, observed, plan
from lightragctl.index.observing import counts_in, read_observations, write_observations
from lightragctl.index.roles import Owner, Role
from lightragctl.index.state import IndexState
from tests.fakes.release import plan as release_plan
from tests.fakes.store import FakeStore

DAY = 86_400.0
OURS = Role(Owner.OURS, "default", "chunks", True)
ALONE = Surroundings(has_upstream=False, is_lite=False, open_tokens=(), kept=())


def state(name: str = "c", role: Role = OURS, **more: Any) -> IndexState:
    made = IndexState(
        name, (), role, 8, "HNSW", "COSINE", {}, 100, 100, 0, "Finished", "", True, False, 4, 3, 1000
    )  # fmt: skip
    return replace(made, **more)


def seen(at: float = 0.0, rows: int = 100, queried_at: float = 0.0) -> Observation:
    return Observation(at, rows, queried_at)


def asked(rules: IndexLifecycle, *states: IndexState, around: Surroundings = ALONE, **known: Observation) -> list[str]:
    found = plan(states, known, rules, around, 10 * DAY)
    return [f"{one.kind} {one.collection}" for one in found.actions]


def test_without_rules_nothing_is_asked_for_and_that_is_said() -> None:
    found = plan([state()], {}, IndexLifecycle(), ALONE, 0.0)
    assert found.actions == ()
    assert "no rules" in found.notes[0]


@pytest.mark.parametrize(("small", "wanted"), [(3, []), (4, ["compact c"]), (None, [])])
def test_small_segments_are_merged(small: int | None, wanted: list[str]) -> None:
    assert asked(IndexLifecycle(compact_small_segments=4), state(small_segments=small)) == wanted


@pytest.mark.parametrize(
    ("rows", "index_type", "wanted"), [(149, "HNSW", []), (150, "HNSW", ["rebuild c"]), (900, "FLAT", [])]
)
def test_an_index_is_rebuilt_when_its_rows_have_grown(rows: int, index_type: str, wanted: list[str]) -> None:
    rules = IndexLifecycle(rebuild_growth_percent=50)
    assert asked(rules, state(rows=rows, index_type=index_type), c=seen()) == wanted
    assert asked(rules, state(rows=rows, index_type=index_type)) == []


@pytest.mark.parametrize(
    ("action", "more", "wanted"),
    [
        ("release", {}, ["release c"]),
        ("release", {"loaded": False}, []),
        ("mmap", {}, ["mmap c"]),
        ("mmap", {"mmap": True}, []),
        ("archive", {}, ["archive c"]),
    ],
)
def test_a_cold_workspace_gets_its_action_once(action: Any, more: dict[str, Any], wanted: list[str]) -> None:
    rules = IndexLifecycle(cold_days=7, cold_action=action)
    assert asked(rules, state(**more), c=seen(queried_at=2.9 * DAY)) == wanted
    assert asked(rules, state(**more), c=seen(queried_at=3.1 * DAY)) == []


def test_a_workspace_is_cold_as_a_whole() -> None:
    entities = state("e", replace(OURS, kind="entities"))
    rules = IndexLifecycle(cold_days=7)
    assert asked(rules, state(), entities, c=seen(), e=seen(queried_at=9 * DAY)) == []
    assert asked(rules, state(), entities, c=seen()) == []  # one was never observed


def test_what_lightrag_server_searches_is_never_cold() -> None:
    upstream = state("u", replace(OURS, owner=Owner.UPSTREAM))
    rules, around = IndexLifecycle(cold_days=7), replace(ALONE, has_upstream=True)
    assert asked(rules, upstream, around=around, u=seen()) == []
    assert "default never counts as cold" in plan([upstream], {}, rules, around, 0.0).notes[0]
    assert asked(rules, upstream, u=seen()) == ["release u"]


@pytest.mark.parametrize(
    ("around", "wanted"),
    [
        (ALONE, ["drop kept_a1_1", "drop __tune_x"]),
        (replace(ALONE, open_tokens={"a1"}), ["drop __tune_x"]),
        (replace(ALONE, kept={"kept_a1_1"}), ["drop __tune_x"]),
    ],
    ids=["alone", "open", "kept"],
)
def test_leftovers_are_dropped_that_nothing_uses_or_keeps(around: Surroundings, wanted: list[str]) -> None:
    states = [
        state("kept_a1_1", Role(Owner.OPERATION, token="a1")),
        state("__tune_x", Role(Owner.OPERATION)),
        state("a_table", Role(Owner.OTHER)),
    ]
    rules, known = IndexLifecycle(drop_leftovers_hours=24), {one.name: seen(9.5 * DAY) for one in states}
    assert asked(rules, *states, around=around, **known) == []
    old = {one.name: seen(8.9 * DAY) for one in states}
    assert asked(rules, *states, around=around, **old) == wanted


@pytest.mark.parametrize(
    ("counts", "queried"),
    [
        ({"a": (1.0, {"c": 5.0})}, False),
        ({"a": (1.0, {"c": 6.0})}, True),
        ({"a": (2.0, {"c": 5.0})}, True),
        ({"a": (1.0, {"c": 5.0}), "b": (1.0, {})}, True),
        ({}, True),
    ],
    ids=["same", "searched", "restarted", "another-replica", "none-answers"],
)
def test_a_search_that_may_have_been_missed_counts(counts: Any, queried: bool) -> None:
    before = observed({}, [state()], {"a": (1.0, {"c": 5.0})}, 100.0)
    assert before == {"c": Observation(100.0, 100, 100.0, {"a": (1.0, 5.0)})}
    after = observed(before, [state(rows=500), state("new")], counts, 200.0)
    assert after["c"].queried_at == (200.0 if queried else 100.0)
    assert (after["c"].seen_at, after["c"].rows, after["new"].seen_at) == (100.0, 100, 200.0)
    assert observed(after, [], counts, 300.0) == {}


def test_searches_are_read_from_metrics() -> None:
    text = 'process_start_time_seconds 12.5\nlightragctl_searches_total{collection="c"} 7.0\n'
    text += 'lightragctl_searches_created{collection="c"} 1.7e+09\nlightragctl_cache_bytes{cache="result"} 1.0\n'
    assert counts_in(text) == (12.5, {"c": 7.0})


def test_observations_are_kept_in_the_control_collection() -> None:
    store, found = FakeStore(), observed({}, [state()], {"a": (1.0, {"c": 5.0})}, 100.0)
    assert read_observations(store, "default") == {}
    write_observations(store, "default", found, 100.0)
    assert read_observations(store, "default") == found


def test_the_schedule_is_a_cron_job_whose_pod_may_read_metrics() -> None:
    objects = render_plan(release_plan("lifecycle.schedule=0 4 * * *"), assets.root() / "templates")
    mine = {one["kind"]: one for one in objects if one["metadata"]["name"] == "dev-lifecycle"}
    assert set(mine) == {"CronJob", "ServiceAccount", "Role", "RoleBinding"}
    template = mine["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert template["containers"][0]["args"][:4] == ["index", "lifecycle", "--apply", "--yes"]
    assert {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get", "create"]} in mine["Role"]["rules"]


def test_a_schedule_that_is_none_is_refused() -> None:
    with pytest.raises(ProfileError, match="five fields"):
        release_plan("lifecycle.schedule=daily")


def test_an_action_names_its_rule() -> None:
    (one,) = plan([state()], {}, IndexLifecycle(compact_small_segments=2), ALONE, 0.0).actions
    assert one == Action("c", "default", one.kind, "compact_small_segments", "3 of 4 segments are small")
