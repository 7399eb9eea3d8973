"""Which tests one worker of `pytest -n` runs: those that share what is dear to start, and those of one file.

A fixture of a session exists once in each worker; without groups each worker would start a Milvus of its own.
"""

from collections.abc import Iterable
from pathlib import Path

import pytest

SHARED = ("cluster", "milvus", "local_release", "lite")
"""Fixtures of the session that take seconds to start, the dearest first."""
FIRST = ("cluster", "milvus", "tests/e2e", "tests/quality", "tests/contract/test_wheel.py", "local_release")
"""What takes longest starts first, so that no worker is left alone with it at the end."""


def group_of(item: pytest.Item) -> str:
    """Tests of one group run on one worker, in order."""
    path = Path(item.nodeid.split("::")[0]).as_posix()
    fixtures = getattr(item, "fixturenames", ())
    for name in SHARED:
        if name in fixtures or item.get_closest_marker(name):
            return name
    parameters = getattr(getattr(item, "callspec", None), "params", {}).values()
    for name in SHARED:
        if name in parameters:
            return name
    if item.get_closest_marker("slow") and not shares_a_module(item):
        return item.nodeid
    return path


def shares_a_module(item: pytest.Item) -> bool:
    """Whether the test uses a fixture that lives as long as its module."""
    definitions: Iterable[Iterable[pytest.FixtureDef[object]]] = item._fixtureinfo.name2fixturedefs.values()  # type: ignore[attr-defined]
    return any(one.scope == "module" for several in definitions for one in several)


def rank(group: str) -> int:
    """The place of a group in the order of starting."""
    return next((place for place, name in enumerate(FIRST) if group.startswith(name)), len(FIRST))


def into_groups(items: list[pytest.Item]) -> None:
    """Mark each test with its group, and sort the groups by when they are to start."""
    groups = {item: group_of(item) for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: rank(groups[item]))
