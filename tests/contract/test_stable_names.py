"""Names that users rely on stay: codes, keys, metrics, options and labels may be added, not removed or renamed.

`tests/stable_names.py` says how the snapshot is updated.
"""

from pathlib import Path

import pytest

from tests import stable_names

BEFORE = {"rule code": frozenset({"zones", "no-secret"}), "label": frozenset({"a/b"})}


def test_no_stable_name_is_gone() -> None:
    assert stable_names.missing(stable_names.stored(), stable_names.collected()) == []


def test_every_kind_of_name_is_found() -> None:
    empty = [kind for kind, names in stable_names.stored().items() if not names]
    assert (empty, set(stable_names.stored())) == ([], set(stable_names.COLLECTORS))


@pytest.mark.parametrize(
    ("now", "gone"),
    [
        ({"rule code": frozenset({"zones", "no-secret", "new"}), "label": frozenset({"a/b"})}, []),
        ({"rule code": frozenset({"zones", "secret-missing"}), "label": frozenset({"a/b"})}, ["rule code: no-secret"]),
        ({"rule code": frozenset({"zones", "no-secret"})}, ["label: a/b"]),
    ],
    ids=["added", "renamed", "a whole kind"],
)
def test_an_added_name_passes_and_a_renamed_one_does_not(now: stable_names.Names, gone: list[str]) -> None:
    assert stable_names.missing(BEFORE, now) == gone


def test_the_snapshot_loses_a_name_only_on_request(tmp_path: Path) -> None:
    snapshot = tmp_path / "stable_names.json"
    before, renamed = {"label": frozenset({"a/b"})}, {"label": frozenset({"a/c"})}
    assert stable_names.update(snapshot, before, remove=False) == []
    assert stable_names.update(snapshot, renamed, remove=False) == ["label: a/b"]
    assert stable_names.stored(snapshot) == before
    assert stable_names.update(snapshot, renamed, remove=True) == ["label: a/b"]
    assert stable_names.stored(snapshot) == renamed
