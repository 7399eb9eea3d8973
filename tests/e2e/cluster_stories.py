"""What the stories on a cluster share: the command line pointed at it, and a look at the cluster past the tool."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from tests.cluster.fixture import ReadyCluster
from tests.conftest import Tool

QUICK_STOP = ("--set", "components.vector-engine.stop_grace_s=30")
"""A standalone Milvus with data ends some 11 s after SIGTERM; this bounds it where the machine is busy."""
READ_PATH = (*QUICK_STOP, "--set", "components.lightrag-server.enabled=false")
"""Without upstream's server, which takes half a minute to start and has stories of its own."""
SMALL = ("--set", "components.embedder.model=hashing", *READ_PATH)
"""The tests' embedder: starts in no time, and these stories ask nothing of meanings."""


@dataclass(frozen=True)
class ClusterRelease:
    """A release of profile `dev` under its own name and in its own namespace, driven by the command line."""

    tool: Tool
    cluster: ReadyCluster
    name: str
    options: tuple[str, ...] = ()

    def run(self, *arguments: str, stdin: str | None = None) -> CompletedProcess[str]:
        """Run a command on this release."""
        return self.tool.run(*self.words(*arguments), stdin=stdin)

    def words(self, *arguments: str) -> list[str]:
        """The command with the options that name this release before it; its own come last and win."""
        return ["--profile", "dev", "--name", self.name, "-n", self.name, *self.options, *arguments]

    def up(self, *more: str) -> CompletedProcess[str]:
        """Bring it up without asking."""
        return self.run("up", "--yes", *more)

    def objects(self, kinds: str) -> dict[str, dict[str, Any]]:
        """The objects in the release's namespace, by `kind/name`, as kubectl tells them."""
        text = self.cluster.kubectl("get", kinds, "-n", self.name, "-o", "json", "--ignore-not-found")
        items = json.loads(text or "{}").get("items", [])
        return {f"{one['kind']}/{one['metadata']['name']}": one for one in items}

    def components(self) -> dict[str, dict[str, Any]]:
        """The components as `status -o json` tells them, by name."""
        document = json.loads(self.run("status", "-o", "json").stdout)
        return {part["name"]: part for part in document["components"]}

    @contextmanager
    def at_work(self, *arguments: str, within_s: float) -> Iterator["subprocess.Popen[str]"]:
        """A command while it runs, its progress to be read; killed after `within_s`, and in the end in any case.

        Whoever reads of it what never comes is freed by that too.
        """
        process = self.tool.popen(*self.words(*arguments), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        deadline = threading.Timer(within_s, process.kill)
        deadline.start()
        with process:
            try:
                yield process
            finally:
                deadline.cancel()
                process.kill()


def has_said(process: "subprocess.Popen[str]", is_it: Callable[[str], bool]) -> bool:
    """Read the command's progress up to the line; False when it ended, or was killed, without it."""
    assert process.stderr is not None
    return any(is_it(line) for line in process.stderr)


def end_of(process: "subprocess.Popen[str]") -> CompletedProcess[str]:
    """How the command ended, with the progress that was not read yet."""
    assert process.stderr is not None
    rest = process.stderr.read()
    return CompletedProcess(process.args, process.wait(), "", rest)


@contextmanager
def release_on(cluster: ReadyCluster, base: Path, name: str, *options: str) -> Iterator[ClusterRelease]:
    """A release that is not up yet; whatever the test does with it is gone in the end."""
    base.mkdir(parents=True, exist_ok=True)
    (base / "home").mkdir(exist_ok=True)
    tool = Tool(base / "home", base, {"KUBECONFIG": str(cluster.kubeconfig)})
    release = ClusterRelease(tool, cluster, name, options)
    try:
        yield release
    finally:
        release.run("down", "--purge", "--yes")
        cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")
