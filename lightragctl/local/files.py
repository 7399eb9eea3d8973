"""The files of a local release: what is wanted, what runs, logs and data. The only module that knows the layout.

$XDG_DATA_HOME/lightragctl/RELEASE/      (~/.local/share when the variable is not set)
    wanted.json       written by `up`: the processes that should run, and the profile they come from
    running.json      written by the supervisor: the processes that it started
    settings/NAME.json, logs/NAME.log, data/
    lock              held by a command that changes the release; names its process
    supervisor.lock   held by the supervisor for as long as it lives
"""

import fcntl
import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from lightragctl.core.errors import LightragctlError, LockedError, UsageError
from lightragctl.core.settings import Strict


class WantedProcess(Strict):
    """A process that should run. `digest` changes with anything that it is started with.

    `ready_path` is asked on `ready_port`, on `port` where there is none.
    """

    name: str
    argv: tuple[str, ...]
    digest: str
    port: int
    ready_port: int | None = None
    ready_path: str | None
    start_timeout_s: float
    stop_grace_s: float


class Wanted(Strict):
    """What `up` wants: processes in the order in which they start, and the profile that they come from."""

    release: str
    profile_name: str
    profile: dict[str, Any]
    processes: tuple[WantedProcess, ...]


class ProcessId(Strict):
    """A process, told from a later one with the same number: `ticks` is its start in clock ticks since boot."""

    pid: int
    ticks: int


class Record(Strict):
    """What the supervisor knows of one process. Times are Unix seconds.

    `process` is None between a death and the next start; `failures` counts deaths in a row and sets the back-off.
    """

    digest: str
    process: ProcessId | None = None
    started_at: float = 0.0
    restarts: int = 0
    failures: int = 0
    next_start_at: float = 0.0
    last_exit: str = ""


class Running(Strict):
    """What the supervisor runs. `boot_id` tells a state left from before a reboot."""

    boot_id: str
    supervisor: ProcessId
    records: dict[str, Record] = Field(default_factory=dict)


Model = TypeVar("Model", bound=Strict)


def data_home(environ: Mapping[str, str]) -> Path:
    """The folder that holds every local release of this user.

    Raises:
        UsageError: the environment gives no absolute path in UTF-8.
    """
    name = "XDG_DATA_HOME" if environ.get("XDG_DATA_HOME") else "HOME"
    given = environ.get(name) or _home_of_user()
    if not Path(given).is_absolute():
        problem = f"{name}={given} is no absolute path" if given else "neither XDG_DATA_HOME nor HOME is set"
        raise UsageError(f"{problem}, and local releases are kept below it", f"set {name} to an absolute path")
    try:
        given.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(f"{name}={given} is not UTF-8", "set XDG_DATA_HOME to a path that is") from error
    return (Path(given) if name == "XDG_DATA_HOME" else Path(given) / ".local" / "share") / "lightragctl"


def _home_of_user() -> str:
    """The user's home by the machine's list of users; empty where a container's user is a number alone."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


@dataclass(frozen=True)
class ReleaseFiles:
    """The files of one release below `folder`."""

    folder: Path

    @property
    def data(self) -> Path:
        """Where the vector engine keeps its data."""
        return self.folder / "data"

    def settings(self, name: str) -> Path:
        """The settings file of a component."""
        return self.folder / "settings" / f"{name}.json"

    def log(self, name: str) -> Path:
        """The log file of a component."""
        return self.folder / "logs" / f"{name}.log"

    def prepare(self) -> None:
        """Make the folders, readable by this user alone."""
        for folder in (self.folder, self.data, self.folder / "settings", self.folder / "logs"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read_wanted(self) -> Wanted | None:
        """What `up` last wanted, or None."""
        return self._read("wanted.json", Wanted)

    def write_wanted(self, wanted: Wanted) -> None:
        """Replace what is wanted."""
        write_whole(self.folder / "wanted.json", wanted.model_dump_json(indent=1))

    def read_running(self) -> Running | None:
        """What the supervisor last wrote, or None."""
        return self._read("running.json", Running)

    def write_running(self, running: Running) -> None:
        """Replace what is known of the processes."""
        write_whole(self.folder / "running.json", running.model_dump_json(indent=1))

    def forget_running(self) -> None:
        """Remove what is known of the processes: they are stopped."""
        (self.folder / "running.json").unlink(missing_ok=True)

    def _read(self, name: str, model: type[Model]) -> Model | None:
        path = self.folder / name
        try:
            return model.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValidationError, UnicodeDecodeError) as error:
            hint = f"stop the release's processes and remove {self.folder}, or restore the file"
            raise LightragctlError(f"cannot read {path}: {error}", hint) from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the release against other commands.

        Raises:
            LockedError: another command is changing the release.
        """
        with hold(self.folder / "lock") as holder:
            if holder is not None:
                who = f"process {holder}" if holder else "another process"
                raise LockedError(
                    f"{who} is changing release '{self.folder.name}'", "wait until it has ended and run again"
                )
            yield


@contextmanager
def hold(path: Path) -> Iterator[str | None]:
    """Lock `path` while the block runs; gives None when locked, else the process id text of the holder."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield os.read(descriptor, 32).decode(errors="replace").strip()
            return
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield None
    finally:
        os.close(descriptor)


def write_whole(path: Path, text: str) -> None:
    """Replace a file in one step, so that a reader and a crash see the old text or the new, never a part."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(draft, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
