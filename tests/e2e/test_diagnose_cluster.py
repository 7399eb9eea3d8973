"""Stories of `diagnose` on a cluster: something is broken as it breaks in life, and the cause comes first."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.cluster.fixture import ReadyCluster
from tests.e2e.cluster_faults import FAULTS, MOODS
from tests.e2e.cluster_ill import Elsewhere, Ill, check, quick, until_well
from tests.e2e.cluster_stories import SMALL, release_on

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

RUNS = 50


@pytest.fixture(scope="module")
def base(cluster: ReadyCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ill]:
    with release_on(cluster, tmp_path_factory.mktemp("ill"), "ill", *SMALL) as release:
        ill = Ill(quick(release))
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


@pytest.mark.drill
@pytest.mark.parametrize("name", FAULTS)
def test_the_cause_comes_first(ill: Ill, name: str) -> None:
    print(f"\n## {name}", flush=True)
    fault = FAULTS[name]
    fault.breaks(ill)
    check(ill, name, fault.codes)


@pytest.mark.drill
def test_fifty_runs_on_a_healthy_release_find_nothing(ill: Ill) -> None:
    for number in range(RUNS):
        _, found = ill.diagnose()
        print(
            f"run {number}: {found['took_s']} s, {found['api_requests']} requests, {found['bytes_read']} bytes",
            flush=True,
        )
        assert found["findings"] == []


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
