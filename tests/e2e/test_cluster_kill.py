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


LITTLE = (
    *("--set", "components.vector-engine.enabled=false"),
    *("--set", "components.lightrag-api.enabled=false"),
    *("--set", "components.lightrag-server.enabled=false"),
    *("--set", "quota=null"),
)
"""Of a release whose changes take seconds, so that a kill at any moment may hit any write."""
COMMANDS = (
    ("up", "--yes", *LITTLE),
    ("up", "--yes", *LITTLE, "--set", "components.mock-llm.replicas=2", "--set", "components.embedder.replicas=2"),
    ("rollback", "--yes"),
    ("down",),
)
KILLS = 20


@pytest.mark.drill
def test_twenty_kills_of_up_rollback_and_down_at_any_moment(release: ClusterRelease) -> None:
    """Each command is killed a little later than the one before; nobody waits for a lock of the dead."""
    for words in COMMANDS[:2]:  # two revisions, so that there is one to go back to
        done = release.run(*words)
        assert done.returncode == 0, done.stderr
    killed = 0
    for number in range(KILLS):
        words = release.words(*COMMANDS[number % len(COMMANDS)])
        process = release.tool.popen(*words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        try:
            said = process.communicate(timeout=0.8 + number * 0.2)[1]
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            said, killed = process.communicate(timeout=10)[1], killed + 1
        assert process.returncode != 6, said
        print(f"{words[0]} killed after {0.8 + number * 0.2:.1f} s: {process.returncode}; {said.splitlines()[-1:]}")
    assert killed >= KILLS // 2
    done = release.up(*LITTLE)
    assert done.returncode == 0, done.stderr
    assert release.run("diff", *LITTLE).returncode == 0
    assert {part["replicas"] for part in release.components().values()} == {"1/1"}
    assert release.run("down", "--purge", "--yes").returncode == 0
    assert not release.cluster.kubectl("get", "namespace", release.name, "--ignore-not-found")
