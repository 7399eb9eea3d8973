"""Fixtures for every level, and the flag that forbids skipping."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from lightragctl.client.api import ApiClient
from tests.cluster.fixture import cluster, pytest_addoption
from tests.launcher import can_fork, launcher
from tests.milvus.fixtures import lite, milvus
from tests.ports import free_ports
from tests.postgres.fixtures import postgres
from tests.workers import pytest_collection_modifyitems, pytest_xdist_make_scheduler

__all__ = [
    "cluster",
    "free_ports",
    "lite",
    "milvus",
    "postgres",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_xdist_make_scheduler",
]

COMMAND_S = 240.0

hypothesis.settings.register_profile("suite", deadline=None)  # a time of a busy machine says nothing
hypothesis.settings.register_profile("drill", deadline=None, max_examples=2000)
hypothesis.settings.load_profile("suite")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell leaves it to what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else no process that a test starts hears of Ctrl-C


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """With REQUIRE_ALL=1 a skipped test has failed: the machine must have what it needs."""
    outcome: Any = yield
    report = outcome.get_result()
    if os.environ.get("REQUIRE_ALL") == "1" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped under REQUIRE_ALL=1: {report.longrepr}"


@dataclass(frozen=True)
class Tool:
    """The command line as a user types it, with a home of its own."""

    home: Path
    cwd: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        """The user's environment: nothing of the machine's but the path, and what the test adds."""
        return {"HOME": str(self.home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", **self.variables}

    def popen(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command and go on."""
        command = [sys.executable, "-m", "lightragctl", *arguments]
        return subprocess.Popen(command, env=self.environ, cwd=self.cwd, text=True, **options)

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        if can_fork(self.environ):
            return launcher().run(arguments, self.environ, self.cwd, stdin, COMMAND_S)
        command = [sys.executable, "-m", "lightragctl", *arguments]
        return subprocess.run(
            command, env=self.environ, cwd=self.cwd, text=True, capture_output=True, input=stdin, timeout=COMMAND_S
        )


@dataclass(frozen=True)
class Release:
    """A local release that is up."""

    tool: Tool
    name: str
    api: ApiClient

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command on this release."""
        return self.tool.run(*arguments, "--name", self.name, stdin=stdin)


COMPONENTS = ("vector-engine", "embedder", "mock-llm", "model-gateway", "lightrag-api")


def port_settings() -> tuple[list[str], int]:
    """`--set` options that give each component a free port, and the port of lightrag-api."""
    ports = free_ports(len(COMPONENTS))
    pairs = zip(COMPONENTS, ports, strict=True)
    return [word for name, port in pairs for word in ("--set", f"components.{name}.port={port}")], ports[-1]


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    """The command line in an empty home and an empty directory."""
    home, cwd = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    cwd.mkdir()
    return Tool(home, cwd)


@pytest.fixture(scope="session")
def local_release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """A local release with the real embedding model, shared by the stories that do not break it."""
    base = tmp_path_factory.mktemp("release")
    (base / "home").mkdir()
    tool = Tool(base / "home", base)
    settings, port = port_settings()
    try:
        done = tool.run("up", "--name", "shared", *settings)
        assert done.returncode == 0, done.stderr
        with ApiClient(f"http://127.0.0.1:{port}", timeout_s=120.0) as api:
            yield Release(tool, "shared", api)
    finally:
        gone = tool.run("down", "--purge", "--yes", "--name", "shared")
    assert gone.returncode == 0, gone.stderr
