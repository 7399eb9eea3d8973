"""kill -9 of real processes that drive an operation whose record is a file: the next process continues."""

import json
import multiprocessing
import random
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from lightragctl.local.files import ReleaseFiles, write_atomically
from lightragctl.operations.control import drive
from lightragctl.operations.desk import Clock
from lightragctl.operations.model import Phase
from lightragctl.operations.place import Place
from tests.fakes.operations import DONE, ID, MOVE, START, World, crew, move
from tests.fakes.release import lock_holder

PATIENT = replace(MOVE, steps=tuple(replace(step, deadline_s=1e9) for step in MOVE.steps), limit_s=1e9)
KILLS = 12
STEP_S = 0.01
FASTER = 500.0
"""Seconds of the world in one of ours."""


class WorldOnDisk(World):
    """A world whose facts outlive the process; each change takes some time."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        if path.exists():
            self.facts = json.loads(path.read_text(encoding="utf-8"))

    def set(self, name: str, value: object) -> None:
        time.sleep(STEP_S)
        self.facts[name] = value
        write_atomically(self.path, json.dumps(self.facts))

    @property
    def clock(self) -> Clock:
        return Clock(lambda: START + timedelta(seconds=time.monotonic() * FASTER), lambda seconds: time.sleep(STEP_S))


def place(base: Path) -> Place:
    return Place("dev", lock_holder(), ReleaseFiles(base))


def drive_it(base: Path) -> None:
    world = WorldOnDisk(base / "world.json")
    drive(place(base), ID, crew(world, PATIENT))


def test_processes_that_are_killed_at_any_moment_are_followed_to_one_end(tmp_path: Path) -> None:
    chance = random.Random(7)
    base = tmp_path / "release"
    base.mkdir()
    place(base).store.create(move(PATIENT))
    killed = 0
    for _ in range(KILLS):
        process = multiprocessing.get_context("fork").Process(target=drive_it, args=(base,))
        process.start()
        process.join(chance.uniform(0.0, 0.12))
        killed += process.is_alive()
        process.kill()
        process.join()
    drive_it(base)
    record = place(base).store.read(ID)
    assert killed
    assert record.phase is Phase.SUCCEEDED
    assert WorldOnDisk(base / "world.json").facts == DONE
    assert record.originals == {"replicas": 3}
    assert record.turn >= 2
    assert not place(base).driver(ID)
    left = {path.name for path in (base / "operations").iterdir()} - {
        f"{ID}.lock"
    }  # of one killed after its last write
    assert left == {"lock", f"{ID}.json"}
