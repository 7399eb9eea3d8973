"""Which worker of `pytest -n` runs which test, and in what order. `tests/conftest.py` takes the two hooks from here.

A fixture of a session exists once in each worker that uses it. So tests that share one make a group, which one worker
runs in order: there is one real Milvus and one cluster, however many workers there are.
"""

import json
import tempfile
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

SHARED = ("cluster", "milvus", "local_release", "lite", "postgres")
"""What takes seconds to start, the dearest first. A test belongs to the first that it uses or is marked with."""
FIRST = ("cluster", "milvus", "tests/e2e/", "local_release", "tests/contract/", "lite", "tests/unit/bench/")
"""Groups start in this order: the longest first, so that no worker is left alone with one at the end."""


def group_of(item: pytest.Function) -> str:
    """The name of the test's group: what it shares, its file, or itself where a test is long and shares nothing."""
    named = {*item.fixturenames, *(mark.name for mark in item.iter_markers()), *parameters(item)}
    if shared := next((name for name in SHARED if name in named), None):
        return shared
    alone = item.get_closest_marker("slow") and not shares_with_its_file(item)
    return item.nodeid if alone else item.nodeid.split("::")[0]


def parameters(item: pytest.Function) -> list[str]:
    """The parameters that may be the name of a fixture."""
    called = getattr(item, "callspec", None)
    return [value for value in called.params.values() if isinstance(value, str)] if called else []


def shares_with_its_file(item: pytest.Function) -> bool:
    """Whether the test uses a fixture that lives as long as its module."""
    found: Iterable[Iterable[pytest.FixtureDef[Any]]] = item._fixtureinfo.name2fixturedefs.values()
    return any(one.scope == "module" for several in found for one in several)


def rank(group: str) -> int:
    """The place of a group in the order of starting."""
    return next((place for place, name in enumerate(FIRST) if group.startswith(name)), len(FIRST))


def notes(run: str) -> Path:
    """Where a worker tells the groups of its tests to the scheduler, which collects none itself."""
    return Path(tempfile.gettempdir(), f"lightragctl-groups-{run}.json")


class Scheduler(LoadScopeScheduling):
    """Gives each worker one group after the other."""

    @cached_property
    def groups(self) -> dict[str, str]:
        """The group of each test."""
        file = notes(self.nodes[0].workerinput["testrunuid"])
        groups: dict[str, str] = json.loads(file.read_text())
        file.unlink()
        return groups

    def _split_scope(self, nodeid: str) -> str:
        return self.groups[nodeid]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Function]) -> None:
    """In a worker: sort the tests by when their group is to start, and write the groups down."""
    worker = getattr(config, "workerinput", None)
    if worker is None:
        return
    groups = {item.nodeid: group_of(item) for item in items}
    items.sort(key=lambda item: rank(groups[item.nodeid]))
    if worker["workerid"] == "gw0":
        notes(worker["testrunuid"]).write_text(json.dumps(groups))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduler:
    """Our scheduler, whatever `--dist` says."""
    config.option.loadscopereorder = False  # it would start the groups of many quick tests first
    return Scheduler(config, log)
