"""kill -9 of the tool while it brings a release up: the next run finishes, and nothing is left over."""

import json
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.cluster.fixture import ReadyCluster
from tests.e2e.cluster_stories import SMALL, ClusterRelease, end_of, has_said, release_on

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

MOMENTS = (
    "created Namespace",
    "created Service",
    "created StatefulSet",
    "waiting",
    "created Deployment/NAME-lightrag-api",
)
"""Events, by action and object or by type; the tool is killed as soon as it has told one."""
UP_S = 240.0
"""Longer than `up` of this small release takes, as long as any command of these stories may."""
LATE = ("was changed by another process", "another lightragctl is changing release")
"""What a command says to a write that it had not read."""


@pytest.fixture
def release(cluster: ReadyCluster, tmp_path: Path) -> Iterator[ClusterRelease]:
    with release_on(cluster, tmp_path, "killed", *SMALL) as release:
        yield release


def kill_when_it_says(release: ClusterRelease, text: str) -> bool:
    """Run `up` and kill it at the event; False when it ended without telling it."""
    kind, _, name = text.partition(" ")

    def is_it(line: str) -> bool:
        event = json.loads(line)
        return (event["message"] == kind and event["subject"].startswith(name)) if name else event["type"] == kind

    with release.at_work("up", "--yes", "--events", "jsonl", within_s=UP_S) as process:
        return has_said(process, is_it)


def once_more_if_late(attempt: Callable[[], CompletedProcess[str]]) -> CompletedProcess[str]:
    """The command after one that was killed: never refused by its lock, and refused by what it wrote at most once.

    A request of the killed one may reach the API server after the next one has read: that one then stops, as it must.
    """
    done = attempt()
    if done.returncode == 6 and any(words in done.stderr for words in LATE):
        done = attempt()
    assert "is held by" not in done.stderr, done.stderr
    return done


def finished(release: ClusterRelease) -> None:
    """The next run ends well, and the record knows every object."""
    done = once_more_if_late(release.up)
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


def killed_after(release: ClusterRelease, words: Sequence[str], after_s: float) -> CompletedProcess[str]:
    """The command, killed if it takes longer."""
    with release.at_work(*words, within_s=after_s) as process:
        return end_of(process)


@pytest.mark.drill
def test_twenty_kills_of_up_rollback_and_down_at_any_moment(release: ClusterRelease) -> None:
    """Each command is killed a little later than the one before; nobody waits for a lock of the dead."""
    for words in COMMANDS[:2]:  # two revisions, so that there is one to go back to
        done = release.run(*words)
        assert done.returncode == 0, done.stderr
    killed = 0
    for number in range(KILLS):
        words, after_s = COMMANDS[number % len(COMMANDS)], 0.8 + number * 0.2
        done = once_more_if_late(partial(killed_after, release, words, after_s))
        assert done.returncode != 6, done.stderr
        killed += done.returncode == -signal.SIGKILL
        print(f"{words[0]} killed after {after_s:.1f} s: {done.returncode}; {done.stderr.splitlines()[-1:]}")
    assert killed >= KILLS // 2
    done = once_more_if_late(partial(release.up, *LITTLE))
    assert done.returncode == 0, done.stderr
    assert release.run("diff", *LITTLE).returncode == 0
    assert {part["replicas"] for part in release.components().values()} == {"1/1"}
    assert release.run("down", "--purge", "--yes").returncode == 0
    assert not release.cluster.kubectl("get", "namespace", release.name, "--ignore-not-found")
