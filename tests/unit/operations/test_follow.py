"""What a command reports that follows an operation by its record alone."""

from pathlib import Path

from lightragctl.operations.control import begin
from lightragctl.operations.follow import follow
from lightragctl.operations.model import Operation, Phase, Progress, StepState
from tests.fakes.operations import ID, START, World, local_place, move


def test_each_step_is_told_once_although_no_look_sees_it_act(tmp_path: Path) -> None:
    world = World()
    place = local_place(tmp_path, world)
    begin(place, move(), world.events.append)
    progress = Progress(step="copy", done=2, total=3, unit="rows", began_at=START, updated_at=START.replace(second=4))

    def held(record: Operation) -> Operation:
        return record.with_step("fence", state=StepState.DONE).changed(phase=Phase.RUNNING, turn=1)

    def waits(record: Operation) -> Operation:
        return record.with_step("copy", state=StepState.WAITING, message="Milvus restarts").changed(progress=progress)

    def ends(record: Operation) -> Operation:
        return record.with_step("fence", state=StepState.UNDONE).changed(phase=Phase.FAILED, cause="refused")

    looks = iter([held, waits, waits, ends])
    world.on_pause = lambda seconds: place.store.update(ID, next(looks)) and None
    record = follow(place.store, ID, world.clock, world.events.append, lambda record: "Pod/x: ImagePullBackOff")
    assert record.phase is Phase.FAILED
    told = [(one.subject, one.message) for one in world.events if not one.passing]
    assert told == [
        (ID, "pending"),
        (ID, "running"),
        ("fence", "hold the write fence"),
        ("copy", "copy rows"),
        (ID, "failed"),
        ("fence", "releasing: hold the write fence"),
    ]
    passing = [(one.subject, one.message) for one in world.events if one.passing]
    assert passing[0] == ("waiting for the driver", "Pod/x: ImagePullBackOff")
    assert ("copy", "2 of 3 rows, 0.5 rows/s, 2 s left") in passing
    assert ("copy", "Milvus restarts") in passing
