"""Drills: all of them, or those that a word names. `python -m tests.drill [STORY]`, which is `make drill STORY=...`.

STORY is any part of a drill's file or test, with spaces or `-` for `_`: `kill`, `rolling-restarts`, `cluster_life`.
"""

import argparse
import contextlib
import io
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

PYTEST = (sys.executable, "-m", "pytest", "-q", "-s", "--hypothesis-profile=drill")


@dataclass(frozen=True)
class Drill:
    """A test that is marked so; drills of a cluster have one started for them."""

    nodeid: str
    on_cluster: bool

    @property
    def name(self) -> str:
        """What STORY is looked for in: the file and the test, without what all of them have."""
        path, _, test = self.nodeid.partition("::")
        return f"{path.rpartition('/')[2].removeprefix('test_').removesuffix('.py')}: {test.removeprefix('test_')}"


@dataclass
class Collector:
    """Gathers what pytest selects."""

    found: list[Drill] = field(default_factory=list)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.found += [Drill(item.nodeid, item.get_closest_marker("cluster") is not None) for item in session.items]


def collected() -> list[Drill]:
    """Every drill, and what hypothesis makes up, which a drill does more of."""
    collector, said = Collector(), io.StringIO()
    with contextlib.redirect_stdout(said):
        status = pytest.main(["--collect-only", "-q", "-m", "drill or hypothesis"], [collector])
    if status != pytest.ExitCode.OK:
        sys.exit(said.getvalue())
    return collector.found


def chosen(drills: Sequence[Drill], story: str) -> list[Drill]:
    """Those that the word names; all when there is none."""
    word = story.strip().lower().replace("-", "_").replace(" ", "_")
    return [drill for drill in drills if word in drill.name.lower().replace(" ", "_")]


def unknown(drills: Sequence[Drill], story: str) -> str:
    """That there is no such drill, and which there are."""
    names = dict.fromkeys(drill.name.partition("[")[0] for drill in drills)
    return "\n".join([f"error: no drill has {story!r} in its name; there are:", *(f"  {name}" for name in names)])


def run(drills: Sequence[Drill], cluster: str) -> int:
    """Run them, those of a cluster on one that is started before and stopped after; the worst exit status."""
    here = [drill.nodeid for drill in drills if not drill.on_cluster]
    there = [drill.nodeid for drill in drills if drill.on_cluster]
    status = subprocess.run([*PYTEST, *here]).returncode if here else 0
    return max(status, on_cluster(there, cluster)) if there else status


def on_cluster(nodeids: Sequence[str], name: str) -> int:
    """Run tests on a new cluster."""
    ours = (sys.executable, "-m", "tests.cluster", "--name", name)
    subprocess.run([*ours, "down"], check=True)
    try:
        subprocess.run([*ours, "up"], check=True)
        words = ("sh", "-c", 'exec "$@" "--cluster=$KUBECONFIG"', "sh")
        return subprocess.run([*ours, "shell", "--", *words, *PYTEST, *nodeids]).returncode
    finally:
        subprocess.run([*ours, "down"], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drill", description=__doc__)
    parser.add_argument("story", nargs="?", default="", help="part of a drill's name (default: all drills)")
    parser.add_argument("--cluster-name", default="tests", help="the cluster that is started (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="only name them")
    asked = parser.parse_args()
    drills = collected()
    picked = chosen(drills, asked.story)
    if not picked:
        print(unknown(drills, asked.story), file=sys.stderr)
        return 2
    if asked.list:
        print("\n".join(drill.name for drill in picked))
        return 0
    return run(picked, asked.cluster_name)


if __name__ == "__main__":
    sys.exit(main())
