"""The files of a local release: desired processes, their state, logs and data. Only this module knows the layout.

$XDG_DATA_HOME/lightragctl/RELEASE/      (~/.local/share if the variable is not set)
    wanted.json       written by `up`: the desired processes, and their profile
    running.json      written by the supervisor: the state of the processes
    held.json         written by an operation: processes that are kept stopped, and why
    environment.json  written by `up`: environment variables of the processes, including secrets; removed by `down`
    settings/NAME.json, logs/NAME.log, data/
    operations/ID.json    the record of an operation
    lock              held by a command that changes the release; has its process ID
    supervisor.lock   held by the supervisor while it runs
"""

import errno
import fcntl
import json
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
from lightragctl.core.hint import Command, Hint
from lightragctl.core.operation import open_operation
from lightragctl.core.settings import StrictModel


class StorageError(LightragctlError):
    """A file or folder of the release cannot be read, written or deleted: full disk, missing permissions."""

    code = "storage"


class DesiredProcess(StrictModel):
    """A desired process. `digest` changes with its arguments, settings and secrets.

    `ready_path` is requested on `ready_port`, by default on `port`.
    """

    name: str
    argv: tuple[str, ...]
    digest: str
    port: int
    ready_port: int | None = None
    ready_path: str | None
    start_timeout_s: float
    stop_grace_s: float


class DesiredProcesses(StrictModel):
    """The desired processes in start order, and their profile.

    `request` is unique for each `up`: after a new one, failed processes are restarted without back-off.
    """

    request: str = ""
    release: str
    profile_name: str
    profile: dict[str, Any]
    processes: tuple[DesiredProcess, ...]


class ProcessId(StrictModel):
    """A process; `ticks`, its start in clock ticks since boot, distinguishes it from later ones with the same PID."""

    pid: int
    ticks: int


class ProcessRecord(StrictModel):
    """The state of one process. Times are Unix seconds.

    `process` is None between an exit and the next start; `failures` counts consecutive exits since the `up` of this
    `request` and determines the back-off.
    """

    digest: str
    request: str = ""
    process: ProcessId | None = None
    started_at: float = 0.0
    restarts: int = 0
    failures: int = 0
    next_start_at: float = 0.0
    last_exit: str = ""


class Running(StrictModel):
    """The state of the supervisor and its processes; `boot_id` shows whether it is from before a reboot."""

    boot_id: str
    supervisor: ProcessId
    records: dict[str, ProcessRecord] = Field(default_factory=dict)


class Held(StrictModel):
    """Processes that are kept stopped although they are desired, with what holds each."""

    reasons: dict[str, str] = Field(default_factory=dict)


class Environments(StrictModel):
    """The environment variables of each process; `salt` is the key of their fingerprints."""

    salt: str
    processes: dict[str, dict[str, str]] = Field(default_factory=dict)


Model = TypeVar("Model", bound=StrictModel)


def _why(error: ValueError) -> str:
    """The reason alone: the full message of pydantic repeats content of the file, which may be secret."""
    if not isinstance(error, ValidationError):
        return "not UTF-8"
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))


_FULL = (errno.ENOSPC, errno.EDQUOT)


def data_home(environ: Mapping[str, str]) -> Path:
    """The folder of all local releases of this user.

    Raises:
        UsageError: the environment has no absolute path in UTF-8.
    """
    name = "XDG_DATA_HOME" if environ.get("XDG_DATA_HOME") else "HOME"
    given = environ.get(name) or _home_of_user()
    if not Path(given).is_absolute():
        problem = f"{name}={given} is not an absolute path" if given else "neither XDG_DATA_HOME nor HOME is set"
        raise UsageError(f"{problem}; local releases are stored below it", f"set {name} to an absolute path")
    try:
        given.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(f"{name}={given} is not UTF-8", "set XDG_DATA_HOME to a path that is") from error
    return (Path(given) if name == "XDG_DATA_HOME" else Path(given) / ".local" / "share") / "lightragctl"


def _home_of_user() -> str:
    """The user's home in the user database; empty for a UID without an entry, as in containers."""
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
        """The data folder of the vector engine."""
        return self.folder / "data"

    @property
    def operations(self) -> Path:
        """Where the records of operations are kept."""
        return self.folder / "operations"

    def refuse_open_operation(self, step_of: str = "") -> None:
        """Stop while an operation of the release is open.

        Args:
            step_of: the operation that this is a step of.

        Raises:
            LockedError: names it.
        """
        for path in sorted(self.operations.glob("*.json")):
            if path.stem == step_of:
                continue
            with storage_errors("read", path):
                text = path.read_text(encoding="utf-8")
            if _is_open(text):
                raise open_operation(path.stem)

    def settings(self, name: str) -> Path:
        """The settings file of a component."""
        return self.folder / "settings" / f"{name}.json"

    def log(self, name: str) -> Path:
        """The log file of a component."""
        return self.folder / "logs" / f"{name}.log"

    def prepare(self) -> None:
        """Create the folders, readable only by this user."""
        for folder in (self.folder, self.data, self.folder / "settings", self.folder / "logs"):
            with storage_errors("create", folder):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read_desired(self) -> DesiredProcesses | None:
        """The desired processes of the last `up`, or None."""
        return self._read("wanted.json", DesiredProcesses)

    def write_desired(self, wanted: DesiredProcesses) -> None:
        """Replace the desired processes."""
        self._write(self.folder / "wanted.json", wanted)

    def read_running(self) -> Running | None:
        """The state that the supervisor wrote last, or None."""
        return self._read("running.json", Running)

    def write_running(self, running: Running) -> None:
        """Replace the state of the processes."""
        self._write(self.folder / "running.json", running)

    def remove_running(self) -> None:
        """Remove the state of the processes: they are stopped."""
        (self.folder / "running.json").unlink(missing_ok=True)

    def read_held(self) -> Mapping[str, str]:
        """What holds each process that is kept stopped, by the process's name."""
        held = self._read("held.json", Held)
        return held.reasons if held else {}

    def write_held(self, reasons: Mapping[str, str]) -> None:
        """Replace what is kept stopped."""
        self._write(self.folder / "held.json", Held(reasons=dict(reasons)))

    def read_environments(self) -> Environments | None:
        """The environments that the last `up` passed, or None."""
        return self._read("environment.json", Environments)

    def write_environments(self, environments: Environments) -> None:
        """Replace the environments of the processes."""
        self._write(self.folder / "environment.json", environments)

    def write_settings(self, name: str, settings: BaseModel) -> None:
        """Replace the settings file of a component."""
        self._write(self.settings(name), settings)

    def remove_environments(self) -> None:
        """Remove the environments with their secrets: no process needs them any more."""
        (self.folder / "environment.json").unlink(missing_ok=True)

    def delete(self) -> None:
        """Delete the folder. It is renamed first, so that a release of this name can be created meanwhile."""
        with storage_errors("delete", self.folder):
            self.folder.rename(self.folder.with_name(f".{self.folder.name}.{os.getpid()}.deleted"))
            for doomed in self.folder.parent.glob(f".{self.folder.name}.*.deleted"):  # also of a killed command
                shutil.rmtree(doomed)

    def _write(self, path: Path, content: BaseModel) -> None:
        with storage_errors("write", path):
            write_atomically(path, content.model_dump_json(indent=1))

    def _read(self, name: str, model: type[Model]) -> Model | None:
        path = self.folder / name
        try:
            with storage_errors("read", path):
                try:
                    return model.model_validate_json(path.read_text(encoding="utf-8"))
                except FileNotFoundError:
                    return None
        except (ValidationError, UnicodeDecodeError) as error:
            hint = Hint(f"remove {path}, then: ", Command("up"), "; documents and vectors are kept")
            raise LightragctlError(f"{path} is damaged: {_why(error)}", hint) from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the release against other commands.

        Raises:
            LockedError: another command is changing the release.
        """
        with ExitStack() as held:
            with storage_errors("lock", self.folder):
                holder = held.enter_context(file_lock(self.folder / "lock"))
            if holder is not None:
                who = f"process {holder}" if holder else "another process"
                raise LockedError(
                    f"{who} is changing release '{self.folder.name}'", "wait until it has ended, then retry"
                )
            yield


def _is_open(record: str) -> bool:
    """Whether the record of an operation is open; one that cannot be read is not known to be closed."""
    try:
        document = json.loads(record)
    except ValueError:
        return True
    return not isinstance(document, dict) or document.get("open") is not False


@contextmanager
def storage_errors(action: str, path: Path) -> Iterator[None]:
    """Convert file-system errors to `StorageError`."""
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL
        hint = "free some space and retry" if full else "check its owner and permissions"
        raise StorageError(f"cannot {action} {path}: {error.strerror}", hint) from error


@contextmanager
def file_lock(path: Path) -> Iterator[str | None]:
    """Lock `path` during the block; yields None if locked, else the holder's process ID, empty if unknown."""
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
        with suppress(OSError):  # the holder is only for messages, and `down` must work on a full disk
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
        yield None
    finally:
        os.close(descriptor)


def _same_file(descriptor: int, path: Path) -> None:
    """Raises BlockingIOError if the locked file is no longer at `path`: its release was deleted meanwhile."""
    try:
        same = os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        same = False
    if not same:
        raise BlockingIOError


def write_atomically(path: Path, text: str) -> None:
    """Replace a file atomically, readable only by its owner; a failed temporary file is removed."""
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
