"""What a driver does with failures, waits, requests, signals, and a driver that was replaced."""

from dataclasses import replace
from pathlib import Path

import pytest

from lightragctl.cli.operations.payloads import Shower, shown
from lightragctl.core.errors import LightragctlError, LockedError, NotRunningError, RefusedError, UsageError
from lightragctl.operations.control import abandon, abort, begin, clean_up, drive, kept_data, pause, resume, the_open
from lightragctl.operations.model import Kept, Phase, StepState, next_command
from lightragctl.operations.run import take_turn
from tests.fakes.operations import DONE, ID, MOVE, START, UNTOUCHED, World, crew, local_place, move, run


def held(world: World) -> dict[str, object]:
    return {name: world.facts[name] for name in ("fence", "replicas")}


FREE = {"fence": False, "replicas": 3}


def test_success_gives_back_what_was_held_and_frees_the_release(tmp_path: Path) -> None:
    world = World()
    place = local_place(tmp_path, world)
    record = run(place, world)
    assert record.phase is Phase.SUCCEEDED
    assert world.facts == DONE
    assert world.mortal.writes.index("fence=False") < world.mortal.writes.index("update", -8)
    begin(place, move(operation_id="0002"), world.events.append)


def test_the_record_announces_a_step_before_its_effect(tmp_path: Path) -> None:
    world = World()
    place = local_place(tmp_path, world)
    seen: list[StepState] = []
    original = world.set

    def looking(name: str, value: object) -> None:
        step = {"fence": "fence", "replicas": "writers", "rows": "copy", "live": "switch"}[name]
        seen.append(place.store.read(ID).step(step).state)
        original(name, value)

    world.set = looking  # type: ignore[method-assign]
    run(place, world)
    assert set(seen) == {StepState.ACTING, StepState.UNDOING}


def test_a_failure_gives_back_what_is_held_and_keeps_the_rest(tmp_path: Path) -> None:
    world = World(problems={"switch": [LightragctlError("refused", "see the log")]})
    record = run(local_place(tmp_path, world), world)
    assert record.phase is Phase.FAILED
    assert record.cause == "switch readers: refused (see the log)"
    assert held(world) == FREE
    assert world.facts["rows"] == 3
    assert next_command(record) == (
        f"fix the cause, then: lightragctl operations resume {ID}; or undo it: lightragctl operations abort {ID}"
    )


def test_a_kind_that_aborts_on_failure_undoes_everything(tmp_path: Path) -> None:
    world = World(problems={"verify": [LightragctlError("other rows")]})
    kind = replace(MOVE, abort_on_failure=True)
    record = run(local_place(tmp_path, world), world, kind)
    assert record.phase is Phase.ABORTED
    assert record.cause == "verify: other rows"
    assert world.facts == UNTOUCHED


def test_a_resumed_operation_holds_again_and_ends(tmp_path: Path) -> None:
    world = World(problems={"switch": [LightragctlError("refused")]})
    place = local_place(tmp_path, world)
    run(place, world)
    resume(place, ID, world.now)
    record = run(place, world)
    assert record.phase is Phase.SUCCEEDED
    assert world.facts == DONE
    assert world.mortal.writes.count("fence=True") == 2
    assert world.mortal.writes.count("rows=1") == 1


def test_what_is_counts_more_than_what_the_record_says(tmp_path: Path) -> None:
    world = World(problems={"switch": [LightragctlError("refused")]})
    place = local_place(tmp_path, world)
    run(place, world)
    world.facts["rows"] = 1  # rows of the copy were deleted meanwhile
    resume(place, ID, world.now)
    assert run(place, world).phase is Phase.SUCCEEDED
    assert world.facts == DONE


def test_an_undo_that_fails_needs_attention_and_the_others_are_given_back(tmp_path: Path) -> None:
    world = World(problems={"switch": [LightragctlError("refused")], "start writers": [LightragctlError("forbidden")]})
    place = local_place(tmp_path, world)
    record = run(place, world)
    assert record.phase is Phase.NEEDS_ATTENTION
    assert held(world) == {"fence": False, "replicas": 0}
    assert f"lightragctl operations abort {ID}" in next_command(record)
    assert record.step("writers").message == "forbidden"
    abort(place, ID, world.now)
    assert run(place, world).phase is Phase.ABORTED
    assert world.facts == UNTOUCHED


def test_a_hold_that_cannot_be_given_back_in_time_is_a_failure(tmp_path: Path) -> None:
    world = World(problems={"start writers": [LightragctlError("forbidden")]})
    place = local_place(tmp_path, world)
    assert run(place, world).phase is Phase.NEEDS_ATTENTION
    resume(place, ID, world.now)
    assert run(place, world).phase is Phase.SUCCEEDED
    assert world.facts == DONE


def test_what_does_not_answer_is_retried_until_the_deadline_of_the_step(tmp_path: Path) -> None:
    world = World(problems={"copy": [NotRunningError("Milvus restarts")] * 4})
    assert run(local_place(tmp_path / "a", world), world).phase is Phase.SUCCEEDED
    world = World(problems={"copy": [NotRunningError("Milvus restarts")] * 40})
    record = run(local_place(tmp_path / "b", world), world)
    assert record.phase is Phase.FAILED
    assert record.cause == "copy rows: not done within its deadline of 60 s: Milvus restarts"
    assert held(world) == FREE


def test_the_deadline_of_the_operation_ends_it(tmp_path: Path) -> None:
    world = World()
    place = local_place(tmp_path, world)
    begin(place, move(), world.events.append)
    world.now = place.store.read(ID).deadline.replace(year=2027)
    record = drive(place, ID, crew(world))
    assert record.phase is Phase.FAILED
    assert record.cause == "not done within its deadline of 3600 s"


def test_a_request_stops_a_step_that_reports(tmp_path: Path) -> None:
    world = World()
    place = local_place(tmp_path, world)
    original = world.set

    def asking(name: str, value: object) -> None:
        original(name, value)
        if name == "rows" and value == 2:
            pause(place, ID)

    world.set = asking  # type: ignore[method-assign]
    record = run(place, world)
    assert record.phase is Phase.PAUSED
    assert world.facts == {**UNTOUCHED, "rows": 2}
    resume(place, ID, world.now)
    assert run(place, world).phase is Phase.SUCCEEDED
    assert world.facts == DONE


def test_progress_has_a_rate_and_a_remaining_time(tmp_path: Path) -> None:
    world = World()
    place = local_place(tmp_path, world)
    seen = []
    original = world.fail

    def looking(name: str) -> None:
        if name == "copy":
            seen.append(place.store.read(ID).progress)
        original(name)

    world.fail = looking  # type: ignore[method-assign]
    run(place, world)
    last = seen[-1]
    assert last is not None
    assert (last.step, last.done, last.total, last.unit) == ("copy", 2, 3, "rows")
    assert last.rate_per_s == pytest.approx(2 / 3)
    assert last.remaining_s == pytest.approx(1.5)


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(143)])
def test_a_signal_pauses_what_runs_here(stop: BaseException, tmp_path: Path) -> None:
    world = World(problems={"copy": [stop]})  # type: ignore[list-item]
    place = local_place(tmp_path, world)
    with pytest.raises(type(stop)):
        run(place, world)
    assert place.store.read(ID).phase is Phase.PAUSED
    assert held(world) == FREE


def test_a_signal_leaves_what_a_job_drives_to_the_next_pod(tmp_path: Path) -> None:
    world = World(problems={"copy": [SystemExit(143)]})  # type: ignore[list-item]
    place = local_place(tmp_path, world)
    with pytest.raises(SystemExit):
        run(place, world, in_job=True)
    assert place.store.read(ID).phase is Phase.RUNNING
    assert world.facts["fence"] is True
    assert run(place, world, in_job=True).phase is Phase.SUCCEEDED


def test_a_bug_in_a_step_gives_back_what_is_held(tmp_path: Path) -> None:
    world = World(problems={"copy": [KeyError("rows")]})
    place = local_place(tmp_path, world)
    with pytest.raises(KeyError):
        run(place, world)
    record = place.store.read(ID)
    assert record.phase is Phase.FAILED
    assert record.cause == "KeyError: 'rows'"
    assert held(world) == FREE


def test_a_record_that_cannot_be_written_does_not_keep_anything_held(tmp_path: Path) -> None:
    world = World()
    place = local_place(tmp_path, world)
    store, original = place.store, place.store.update

    def full(operation_id: str, change: object) -> object:
        if world.facts["rows"]:
            raise LightragctlError("no space left on device")
        return original(operation_id, change)  # type: ignore[arg-type]

    store.update = full  # type: ignore[method-assign, assignment]
    with pytest.raises(LightragctlError, match="no space"):
        run(place, world)
    assert held(world) == FREE


def test_a_driver_that_was_replaced_writes_no_more(tmp_path: Path) -> None:
    world = World()
    place = local_place(tmp_path, world)
    original = world.fail

    def replaced(name: str) -> None:
        if name == "switch":
            place.store.update(ID, lambda current: take_turn(current, "bob@desk", 0))
        original(name)

    world.fail = replaced  # type: ignore[method-assign]
    with pytest.raises(LockedError, match="bob@desk has taken over operation"):
        run(place, world)
    assert place.store.read(ID).driver == "bob@desk"
    assert world.facts["fence"] is True  # its successor has it


def test_two_drivers_of_one_operation(tmp_path: Path) -> None:
    world = World()
    place = local_place(tmp_path, world)
    begin(place, move(), world.events.append)
    with place.hold_driver(ID, 0, world.events.append):
        assert place.driver(ID)
        with pytest.raises(LockedError, match="drives operation"):
            drive(place, ID, crew(world))
    assert not place.driver(ID)


def test_a_second_operation_is_refused_while_one_is_open(tmp_path: Path) -> None:
    world = World()
    place = local_place(tmp_path, world)
    begin(place, move(), world.events.append)
    with pytest.raises(LockedError, match=f"operation {ID} of this release is pending"):
        begin(place, move(operation_id="0002"), world.events.append)


def test_without_an_id_the_open_operation_is_meant(tmp_path: Path) -> None:
    world = World()
    place = local_place(tmp_path, world)
    with pytest.raises(UsageError, match=r"no operation of release 'dev' is open$"):
        the_open(place)
    begin(place, move(), world.events.append)
    assert the_open(place).id == ID
    drive(place, ID, crew(world))
    with pytest.raises(UsageError, match=f"is open; the last one, {ID}, is succeeded"):
        the_open(place)


def test_a_long_cause_is_reported_while_steps_are_undone_and_in_the_result_only(tmp_path: Path) -> None:
    world = World(problems={"switch": [LightragctlError("refused " * 40)]})
    record = run(local_place(tmp_path, world), world)
    told = [event.message for event in world.events if "refused" in event.message]
    assert [len(message) for message in told] == [len("failing: ") + 100]
    assert shown(record, Shower.STATUS).errors[0].message == record.cause


def test_another_version_of_a_kind_is_not_continued(tmp_path: Path) -> None:
    world = World()
    place = local_place(tmp_path, world)
    begin(place, move(), world.events.append)
    for other in (replace(MOVE, version=2), replace(MOVE, steps=MOVE.steps[:-1]), replace(MOVE, name="walk")):
        with pytest.raises(LightragctlError, match=r"was started by lightragctl 1.0, whose move has other steps"):
            drive(place, ID, crew(world, other))
    assert world.facts == UNTOUCHED


def test_what_cannot_be_paused_resumed_or_aborted_is_refused(tmp_path: Path) -> None:
    world = World()
    place = local_place(tmp_path, world)
    run(place, world)
    for ask in (lambda: pause(place, ID), lambda: resume(place, ID, START), lambda: abort(place, ID, START)):
        with pytest.raises(RefusedError, match="succeeded"):
            ask()
    with pytest.raises(UsageError, match="there is no operation move-9"):
        pause(place, "move-9")


def test_an_operation_can_be_closed_without_undoing(tmp_path: Path) -> None:
    world = World(problems={"switch": [LightragctlError("no")], "start writers": [LightragctlError("forbidden")]})
    place = local_place(tmp_path, world)
    run(place, world)
    record = abandon(place, ID, crew(world))
    assert record.phase is Phase.ABORTED
    assert "without undoing its steps by ann@laptop" in record.cause
    begin(place, move(operation_id="0002"), world.events.append)


def test_kept_data_are_listed_until_they_are_deleted(tmp_path: Path) -> None:
    world = World()
    place = local_place(tmp_path, world)
    run(place, world)
    (found,) = kept_data(place, world.now)
    assert (found.kept.name, found.is_expired) == ("old", False)
    assert kept_data(place, START.replace(year=2027))[0].is_expired
    assert clean_up(place, [found], crew(world)) == [found]
    assert world.facts["rows"] == 0
    assert kept_data(place, world.now) == []


def test_history_is_bounded_but_keeps_what_has_data(tmp_path: Path) -> None:
    world = World()
    place = local_place(tmp_path, world)
    for number in range(25):
        record = move(operation_id=f"{number:04}").changed(
            phase=Phase.SUCCEEDED, created_at=START.replace(day=number + 1)
        )
        if number == 3:
            kept = Kept(name="old", about="rows", created_at=START, expires_at=START)
            record = record.changed(kept=(kept,))
        begin(place, record, world.events.append)
    ids = [one.id for one in place.store.records()]
    assert len(ids) == 21
    assert "move-0003" in ids
    assert "move-0024" in ids
