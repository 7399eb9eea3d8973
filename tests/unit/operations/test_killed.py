"""Death at every write of an operation: the next driver continues to one end state, and nothing stays held."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lightragctl.core.errors import LightragctlError
from lightragctl.operations.control import abort, pause, resume
from lightragctl.operations.model import Phase, StepState
from lightragctl.operations.place import Place
from tests.fakes.cluster import DiedError
from tests.fakes.operations import DONE, ID, UNTOUCHED, World, local_place, run

Story = Callable[[Place, World], object]
AFTER = pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])


def finish(place: Place, world: World) -> None:
    run(place, world)


def fail(place: Place, world: World) -> None:
    """The switch fails, for each driver again."""
    if not world.facts.get("tried"):
        world.problems = {"switch": [LightragctlError("refused")]}
    run(place, world)


def fail_and_resume(place: Place, world: World) -> None:
    fail(place, world)
    if place.store.read(ID).phase is Phase.FAILED:
        world.facts["tried"] = True
        world.problems = {}
        resume(place, ID, world.now)
    run(place, world)


def abort_late(place: Place, world: World) -> None:
    """A user aborts after the switch."""
    world.on_pause = lambda seconds: None
    if place.store.records() and place.store.read(ID).step("switch").state is StepState.DONE:
        abort(place, ID, world.now)
    else:
        world.on_pause = lambda seconds: abort(place, ID, world.now) and None
    run(place, world)
    if place.store.read(ID).is_open:
        abort(place, ID, world.now)
        run(place, world)


def pause_and_resume(place: Place, world: World) -> None:
    """A user pauses during the wait of the last step, and resumes."""
    asked = place.store.records() and world.facts.get("paused")

    def ask(seconds: float) -> None:
        if not world.facts.get("paused"):
            world.facts["paused"] = True
            pause(place, ID)

    world.on_pause = (lambda seconds: None) if asked else ask
    run(place, world)
    resume(place, ID, world.now) if place.store.read(ID).is_open else None
    run(place, world)


STORIES: dict[str, tuple[Story, Phase, dict[str, object]]] = {
    "success": (finish, Phase.SUCCEEDED, DONE),
    "failure": (fail, Phase.FAILED, {**UNTOUCHED, "rows": 3}),
    "failure and resume": (fail_and_resume, Phase.SUCCEEDED, DONE),
    "abort": (abort_late, Phase.ABORTED, UNTOUCHED),
    "pause and resume": (pause_and_resume, Phase.SUCCEEDED, DONE),
}


@AFTER
@pytest.mark.parametrize("story", STORIES)
def test_a_driver_that_dies_at_any_write_is_followed_to_one_end(story: str, after: bool, tmp_path: Path) -> None:
    act, phase, end = STORIES[story]
    whole = World()
    act(local_place(tmp_path / "whole", whole), whole)
    assert len(whole.mortal.writes) > 15
    for number in range(1, len(whole.mortal.writes) + 1):
        world = World()
        world.mortal.die_at, world.mortal.after = number, after
        place = local_place(tmp_path / str(number), world)
        try:
            act(place, world)
        except DiedError:
            world.mortal.revive()
            act(place, world)
        died = f"died at write {number}: {whole.mortal.writes[number - 1]}"
        record = place.store.read(ID)
        assert record.phase is phase, died
        assert {name: world.facts[name] for name in UNTOUCHED} == end, died
        assert not [one.name for one in record.steps if one.hold_through and one.is_begun], died
        assert not place.driver(ID), died
        if phase is Phase.SUCCEEDED:
            assert {one.state for one in record.steps} <= {StepState.DONE, StepState.UNDONE}, died
