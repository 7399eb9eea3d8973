"""The files of a local release: what is wanted, what runs, logs and data. The only module that knows the layout.

$XDG_DATA_HOME/lightragctl/RELEASE/      (~/.local/share when the variable is not set)
    wanted.json       written by `up`: the processes that should run, and the profile they come from
    running.json      written by the supervisor: the processes that it started
    held.json         written by an operation: processes that are kept stopped, and why
    environment.json  written by `up`: environment variables of the processes, secrets among them; `down` removes it
    settings/NAME.json, logs/NAME.log, data/
    lock              held by a command that changes the release; names its process
    supervisor.lock   held by the supervisor for as long as it lives
"""

import errno
import fcntl
import os
import pwd
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from lightragctl.core.errors import LightragctlError, LockedError, UsageError
from lightragctl.core.settings import Strict


class StorageError(LightragctlError):
    """A file or folder of the release cannot be read, written or deleted: a full disk, missing rights."""

    code = "storage"


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
    """What `up` wants: processes in the order in which they start, and the profile that they come from.

    `request` is another one for each `up`: what failed before it is tried again at once.
    """

    request: str = ""
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

    `process` is None between a death and the next start; `failures` counts deaths in a row since the `up` of this
    `request` and sets the back-off.
    """

    digest: str
    request: str = ""
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


class Held(Strict):
    """Processes that are kept stopped although they are wanted, with what holds each."""

    reasons: dict[str, str] = Field(default_factory=dict)


class HandedOver(Strict):
    """The environment variables that `up` hands to each process; `salt` is the key of their fingerprints."""

    salt: str
    processes: dict[str, dict[str, str]] = Field(default_factory=dict)


Model = TypeVar("Model", bound=Strict)


_FULL = (errno.ENOSPC, errno.EDQUOT)


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
            with _explained("make", folder):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read_wanted(self) -> Wanted | None:
        """What `up` last wanted, or None."""
        return self._read("wanted.json", Wanted)

    def write_wanted(self, wanted: Wanted) -> None:
        """Replace what is wanted."""
        self._write(self.folder / "wanted.json", wanted)

    def read_running(self) -> Running | None:
        """What the supervisor last wrote, or None."""
        return self._read("running.json", Running)

    def write_running(self, running: Running) -> None:
        """Replace what is known of the processes."""
        self._write(self.folder / "running.json", running)

    def forget_running(self) -> None:
        """Remove what is known of the processes: they are stopped."""
        (self.folder / "running.json").unlink(missing_ok=True)

    def read_held(self) -> Mapping[str, str]:
        """What holds each process that is kept stopped, by the process's name."""
        held = self._read("held.json", Held)
        return held.reasons if held else {}

    def write_held(self, reasons: Mapping[str, str]) -> None:
        """Replace what is kept stopped."""
        self._write(self.folder / "held.json", Held(reasons=dict(reasons)))

    def read_handed(self) -> HandedOver | None:
        """The environment that the last `up` handed over, or None."""
        return self._read("environment.json", HandedOver)

    def write_handed(self, handed: HandedOver) -> None:
        """Replace the environment that is handed to the processes."""
        self._write(self.folder / "environment.json", handed)

    def write_settings(self, name: str, settings: BaseModel) -> None:
        """Replace the settings file of a component."""
        self._write(self.settings(name), settings)

    def forget_handed(self) -> None:
        """Remove the secrets that were handed over: nothing needs them any more."""
        (self.folder / "environment.json").unlink(missing_ok=True)

    def delete(self) -> None:
        """Delete the folder. It is renamed first: whoever makes a release of this name meanwhile makes a new one."""
        with _explained("delete", self.folder):
            self.folder.rename(self.folder.with_name(f".{self.folder.name}.{os.getpid()}.deleted"))
            for doomed in self.folder.parent.glob(f".{self.folder.name}.*.deleted"):  # and what a killed one left
                shutil.rmtree(doomed)

    def _write(self, path: Path, content: BaseModel) -> None:
        with _explained("write", path):
            write_whole(path, content.model_dump_json(indent=1))

    def _read(self, name: str, model: type[Model]) -> Model | None:
        path = self.folder / name
        try:
            with _explained("read", path):
                try:
                    return model.model_validate_json(path.read_text(encoding="utf-8"))
                except FileNotFoundError:
                    return None
        except (ValidationError, UnicodeDecodeError) as error:
            hint = f"stop the release's processes and remove {self.folder}, or restore the file"
            raise LightragctlError(f"cannot read {path}: {error}", hint) from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the release against other commands.

        Raises:
            LockedError: another command is changing the release.
        """
        with ExitStack() as held:
            with _explained("lock", self.folder):
                holder = held.enter_context(hold(self.folder / "lock"))
            if holder is not None:
                who = f"process {holder}" if holder else "another process"
                raise LockedError(
                    f"{who} is changing release '{self.folder.name}'", "wait until it has ended and run again"
                )
            yield


@contextmanager
def _explained(action: str, path: Path) -> Iterator[None]:
    """Turn an error of the file system into one that says what it means for the release."""
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL
        hint = "free some space and run it again" if full else "check who owns it, and its permissions"
        raise StorageError(f"cannot {action} {path}: {error.strerror}", hint) from error


@contextmanager
def hold(path: Path) -> Iterator[str | None]:
    """Lock `path` while the block runs; gives None when locked, else the process id text of the holder, if known."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:  # its folder has just been deleted, with the lock held
        yield ""
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _same_file(descriptor, path)
        except BlockingIOError:
            yield os.read(descriptor, 32).decode(errors="replace").strip()
            return
        with suppress(OSError):  # who holds it is for messages alone, and a full disk must not keep `down` from working
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
        yield None
    finally:
        os.close(descriptor)


def _same_file(descriptor: int, path: Path) -> None:
    """Raises BlockingIOError when the locked file is no longer the one at `path`: its release was deleted meanwhile."""
    try:
        same = os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        same = False
    if not same:
        raise BlockingIOError


def write_whole(path: Path, text: str) -> None:
    """Replace a file in one step, so that a reader and a crash see the old text or the new, never a part.

    Only its owner can read it. A draft that could not be written, as on a full disk, is removed.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except (OSError, ValueError):
        draft.unlink(missing_ok=True)
        raise
