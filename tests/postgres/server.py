"""A real PostgreSQL on a port of this machine: created in a folder of its own, run by a user who is not root."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from lightragctl.core.stores import Database
from tests.ports import free_ports
from tests.postgres.fixtures import PASSWORD

_START_S = 60.0


def programs() -> Path | None:
    """The folder of the newest PostgreSQL of this machine, as Debian installs it; None when there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    return found[-1].parent if found else None


@dataclass
class Postgres:
    """A server with one superuser, whose password is PASSWORD."""

    programs: Path
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="lightragctl-postgres-")))
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None

    def create(self) -> None:
        """Make the server's files."""
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        if os.geteuid() == 0:
            shutil.chown(self.folder, "nobody", "nogroup")
            shutil.chown(secret, "nobody", "nogroup")
        options = ("--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8")
        made = self._run("initdb", "-D", str(self._data), "-U", "postgres", *options)
        assert made.wait(_START_S) == 0, (self.folder / "log").read_text()
        (self.port,) = free_ports(1)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        quiet = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=200")
        settings = [word for one in quiet for word in ("-c", one)]
        self.process = self._run("postgres", "-D", str(self._data), "-p", str(self.port), *settings)
        deadline = time.monotonic() + _START_S
        while True:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            try:
                return self.run("postgres", "SELECT 1") and None
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.1)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT ends it at once in order, SIGQUIT without."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(_START_S)
            self.process = None

    def remove(self) -> None:
        """End it and delete its files."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def run(self, name: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement in a database."""
        with psycopg.connect(**self.parameters(name), autocommit=True) as connection:
            cursor = connection.execute(statement, values)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def parameters(self, name: str) -> dict[str, Any]:
        """How to log in to a database."""
        return {
            "host": "127.0.0.1", "port": self.port, "user": "postgres", "password": PASSWORD, "dbname": name,
        }  # fmt: skip

    def database(self, name: str) -> Database:
        """A database, as the code knows it."""
        return Database("127.0.0.1", self.port, name, "postgres", PASSWORD)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _run(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        rights: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
        with open(self.folder / "log", "ab") as log:
            return subprocess.Popen(
                [str(self.programs / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
                **rights,
            )
