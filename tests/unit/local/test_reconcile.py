"""What the supervisor does next, as tables of what is wanted, what is and what time it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightragctl.local.files import DesiredProcess, ProcessId, ProcessRecord
from lightragctl.local.reconcile import (
    BACKOFF_FIRST_S,
    BACKOFF_MAX_S,
    STEADY_S,
    Start,
    Stop,
    after_exit,
    backoff_s,
    obsolete,
    reconcile,
    with_backoff_reset,
)

NOW = 1000.0


def wanted(name: str, digest: str = "d", grace_s: float = 3.0) -> DesiredProcess:
    return DesiredProcess(
        name=name, argv=(), digest=digest, port=1, ready_path=None, start_timeout_s=1.0, stop_grace_s=grace_s
    )


def record(digest: str = "d", next_start_at: float = 0.0, failures: int = 0, started_at: float = NOW) -> ProcessRecord:
    return ProcessRecord(
        digest=digest,
        process=ProcessId(pid=1, ticks=1),
        started_at=started_at,
        failures=failures,
        next_start_at=next_start_at,
    )


def test_starts_what_is_missing_in_the_wanted_order() -> None:
    parts = [wanted("b"), wanted("a")]
    assert reconcile(parts, {}, frozenset(), NOW) == [Start(parts[0]), Start(parts[1])]


def test_leaves_alone_what_runs_as_wanted() -> None:
    assert reconcile([wanted("a")], {"a": record()}, frozenset({"a"}), NOW) == []


@pytest.mark.parametrize(("next_start_at", "due"), [(NOW - 1, True), (NOW, True), (NOW + 0.1, False)])
def test_starts_a_dead_process_only_when_its_back_off_is_over(next_start_at: float, due: bool) -> None:
    actions = reconcile([wanted("a")], {"a": record(next_start_at=next_start_at)}, frozenset(), NOW)
    assert actions == ([Start(wanted("a"))] if due else [])


def test_one_process_in_back_off_does_not_hold_up_another() -> None:
    records = {"a": record(next_start_at=NOW + 9), "b": record()}
    assert reconcile([wanted("a"), wanted("b")], records, frozenset(), NOW) == [Start(wanted("b"))]


def test_new_settings_end_the_back_off() -> None:
    records = {"a": record(digest="old", next_start_at=NOW + 9)}
    assert reconcile([wanted("a", "new")], records, frozenset(), NOW) == [Start(wanted("a", "new"))]


def test_stops_a_process_whose_digest_changed_with_its_own_grace_and_starts_it_once_it_is_gone() -> None:
    part, records = wanted("a", "new", grace_s=7.0), {"a": record("old")}
    assert reconcile([part], records, frozenset({"a"}), NOW) == [Stop("a", 7.0)]
    assert reconcile([part], records, frozenset(), NOW) == [Start(part)]


def test_stops_the_unwanted_in_reverse_order_of_starting() -> None:
    records = {name: record() for name in ("engine", "gateway", "api")}
    actions = reconcile([], records, frozenset(records), NOW)
    assert [action.name for action in actions if isinstance(action, Stop)] == ["api", "gateway", "engine"]
    assert len(actions) == 3


def test_stops_come_before_starts() -> None:
    records = {"old": record()}
    kinds = [type(action) for action in reconcile([wanted("new")], records, frozenset({"old"}), NOW)]
    assert kinds == [Stop, Start]


def test_does_not_stop_what_is_dead_already() -> None:
    assert reconcile([], {"a": record()}, frozenset(), NOW) == []


def test_back_off_doubles_up_to_its_bound() -> None:
    waits = [backoff_s(failures) for failures in range(1, 9)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


@given(st.integers(1, 10**9))
def test_back_off_never_leaves_its_bounds(failures: int) -> None:
    assert BACKOFF_FIRST_S <= backoff_s(failures) <= BACKOFF_MAX_S


def test_a_death_counts_and_sets_the_next_start() -> None:
    dead = after_exit(record(failures=2, started_at=NOW - 1), "exit status 1", NOW)
    assert dead.process is None
    assert dead.failures == 3
    assert dead.next_start_at == NOW + 2.0
    assert dead.last_exit == "exit status 1"


@pytest.mark.parametrize(("lived_s", "failures"), [(STEADY_S - 1, 9), (STEADY_S, 1), (STEADY_S * 9, 1)])
def test_a_process_that_ran_steadily_begins_the_back_off_anew(lived_s: float, failures: int) -> None:
    dead = after_exit(record(failures=8, started_at=NOW - lived_s), "", NOW)
    assert dead.failures == failures
    assert dead.next_start_at == NOW + backoff_s(failures)


def test_a_clock_that_was_set_back_delays_no_start_beyond_the_longest_back_off() -> None:
    records = {"a": record(next_start_at=NOW + 3600)}
    assert reconcile([wanted("a")], records, frozenset(), NOW) == [Start(wanted("a"))]


def test_the_record_of_a_dead_process_is_dropped_when_it_is_not_wanted_any_more() -> None:
    records = {"gone": record(), "ending": record(), "a": record()}
    assert obsolete([wanted("a")], records, frozenset({"ending"})) == {"gone"}


def test_a_new_up_forgets_earlier_deaths() -> None:
    dead = record(failures=4, next_start_at=NOW + 30)
    assert with_backoff_reset(dead, "2").failures == 0
    assert with_backoff_reset(dead, "2").next_start_at == 0.0
    assert with_backoff_reset(with_backoff_reset(dead, "2"), "2") == with_backoff_reset(dead, "2")


def test_what_is_held_is_stopped_with_its_own_grace_and_not_started() -> None:
    parts = [wanted("a", grace_s=90.0), wanted("b")]
    records = {"a": record(), "b": record()}
    assert reconcile(parts, records, frozenset({"a", "b"}), NOW, {"a"}) == [Stop("a", 90.0)]
    assert reconcile(parts, {"b": record()}, frozenset({"b"}), NOW, {"a"}) == []
    assert reconcile(parts, {"b": record()}, frozenset({"b"}), NOW) == [Start(parts[0])]
