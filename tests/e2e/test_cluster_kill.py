"""kill -9 of the tool while it brings a release up: the next run finishes, and nothing is left over."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.fixture import ReadyCluster
from tests.e2e.cluster_stories import SMALL, ClusterRelease, release_on

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

MOMENTS = (
    "created Namespace",
    "created Service",
    "created StatefulSet",
    "waiting:",
    "created Deployment/NAME-lightrag-api",
)
"""Lines of progress; the tool is killed as soon as it has said one."""


@pytest.fixture
def release(cluster: ReadyCluster, tmp_path: Path) -> Iterator[ClusterRelease]:
    with release_on(cluster, tmp_path, "killed", *SMALL) as release:
        yield release


def kill_when_it_says(release: ClusterRelease, text: str) -> bool:
    """Run `up` and kill it at the line; False when it ended without saying so."""
    kind, _, name = text.partition(" ")
    process = release.tool.popen(*release.words("up", "--yes"), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stderr is not None
    for line in process.stderr:
        subject, _, message = line.partition(": ")
        if (kind in message and name in subject) if name else line.startswith(text):
            process.send_signal(signal.SIGKILL)
            process.wait(10)
            return True
    process.wait(10)
    return False


def finished(release: ClusterRelease) -> None:
    """The next run ends well, and the record knows every object."""
    done = release.up()
    assert done.returncode == 0, done.stderr
    assert {part["state"] for part in release.components().values()} == {"ready"}
    assert release.run("diff").returncode == 0


def test_a_killed_up_is_finished_by_the_next(release: ClusterRelease) -> None:
    assert kill_when_it_says(release, MOMENTS[2])
    seen = release.run("status")
    assert seen.returncode in (3, 4), seen.stdout + seen.stderr
    finished(release)


@pytest.mark.drill
def test_five_kills_one_after_the_other(release: ClusterRelease) -> None:
    for moment in MOMENTS:
        assert kill_when_it_says(release, moment.replace("NAME", release.name)), moment
    finished(release)
    assert release.run("down", "--purge", "--yes").returncode == 0
    assert not release.cluster.kubectl("get", "namespace", "killed", "--ignore-not-found")
