"""Stories of `diagnose` on a cluster: something is broken as it breaks in life, and the cause comes first."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.cluster.fixture import ReadyCluster
from tests.e2e.cluster_faults import FAULTS, MOODS, Elsewhere, Ill
from tests.e2e.cluster_stories import SMALL, release_on

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

FOUND_S, WELL_S = 75.0, 180.0


@pytest.fixture(scope="module")
def base(cluster: ReadyCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ill]:
    with release_on(cluster, tmp_path_factory.mktemp("ill"), "ill", *SMALL) as release:
        ill = Ill(release)
        ill.up()
        ill.fill()
        yield ill


@pytest.fixture
def ill(base: Ill) -> Iterator[Ill]:
    """The release, which is whole again afterwards."""
    base.undo = ExitStack()
    yield base
    base.undo.close()
    left = until_well(base)
    assert not left, left


def shown(found: dict[str, Any]) -> list[str]:
    return [
        f"{one['code']} {one['subject']}: {one['message']} (explains {[two['code'] for two in one['consequences']]})"
        for one in found["findings"]
    ]


def until_well(ill: Ill) -> list[str]:
    """What is found when nothing is broken any more; nothing, once pods are replaced."""
    end, left = time.monotonic() + WELL_S, ["not asked"]
    while left and time.monotonic() < end:
        left = shown(ill.diagnose()[1])
    return left


def until_found(ill: Ill, codes: str) -> tuple[float, dict[str, Any]]:
    """Seconds until one of the codes is the first finding, and what was found then; or at the end of the time."""
    begin = time.monotonic()
    while True:
        _, found = ill.diagnose()
        took_s = time.monotonic() - begin
        first = found["findings"][0]["code"] if found["findings"] else ""
        print(f"    {took_s:5.1f} s, in {found['took_s']} s: " + " | ".join(shown(found)), flush=True)
        if first in codes.split() or took_s > FOUND_S:
            return took_s, found


def check(ill: Ill, name: str, codes: str) -> None:
    """The cause comes first; the row is for the table in docs/drills.md."""
    took_s, found = until_found(ill, codes)
    first = found["findings"][0] if found["findings"] else {"code": "nothing", "subject": "", "message": ""}
    print(f"| {name} | {first['code']} `{first['subject']}: {first['message']}` | {took_s:.0f} |", flush=True)
    assert first["code"] in codes.split(), shown(found)


@pytest.mark.drill
@pytest.mark.parametrize("name", FAULTS)
def test_the_cause_comes_first(ill: Ill, name: str) -> None:
    print(f"\n## {name}", flush=True)
    fault = FAULTS[name]
    fault.breaks(ill)
    check(ill, name, fault.codes)


@pytest.fixture(scope="module")
def elsewhere(base: Ill) -> Iterator[Elsewhere]:
    """Its embedding model is served outside."""
    with Elsewhere(base.host_address()) as model:
        base.up("--set", f"models.embedding.url={model.url}")
        yield model
    base.up()


@pytest.mark.drill
@pytest.mark.parametrize("mood", MOODS)
def test_what_a_model_elsewhere_does_comes_first(base: Ill, elsewhere: Elsewhere, mood: str) -> None:
    print(f"\n## the model's server: {mood}", flush=True)
    elsewhere.mood = mood
    try:
        check(base, f"the model's endpoint: {mood}", MOODS[mood])
    finally:
        elsewhere.mood = "good"
    left = until_well(base)
    assert not left, left
