"""The supervisor of a local release: a separate process that keeps the desired processes running.

Level-triggered: each round reads the desired and the actual state, so no state is lost in a crash. Processes survive
the supervisor, and a new one takes them over.
Run with `python -m lightragctl.local.supervisor FOLDER`.
"""

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from lightragctl.core.errors import LightragctlError
from lightragctl.local.environment import process_environment
from lightragctl.local.files import (
    DesiredProcess,
    DesiredProcesses,
    ProcessRecord,
    ReleaseFiles,
    Running,
    StorageError,
    file_lock,
)
from lightragctl.local.processes import alive, boot_id, describe_exit, identify, stop
from lightragctl.local.reconcile import Start, Stop, after_exit, obsolete, reconcile, with_backoff_reset

log = logging.getLogger(__name__)

_ROUND_S = 0.25
_RETRY_S = 2.0
"""Pause after a failed round, such as on a full disk; processes keep running meanwhile."""
_LOG_MAX_BYTES = 20_000_000


class Supervisor:
    """One release's supervisor; `run` returns after SIGTERM or SIGINT, with every process stopped."""

    def __init__(self, files: ReleaseFiles) -> None:
        self._files = files
        self._stopping = threading.Event()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        me = identify(os.getpid())
        assert me is not None
        self._boot_id = boot_id()
        self._supervisor = me
        self._saved: Running | None = None
        self._problem = ""
        before = files.read_running()
        self._records = dict(before.records) if before and before.boot_id == self._boot_id else {}

    def run(self) -> None:
        """Reconcile until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        while not self._stopping.is_set():
            self._stopping.wait(_ROUND_S if self.try_round() else _RETRY_S)
        self.stop_all()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping.set()

    def try_round(self) -> bool:
        """One round; False if it failed temporarily, which is logged once."""
        try:
            wanted = self._files.read_desired()
            if wanted is None:
                self._save()
            else:
                self._round(wanted)
            self._rotate_logs()
        except (StorageError, OSError) as error:
            if str(error) != self._problem:
                log.warning("%s; retrying every %g s", error, _RETRY_S)
            self._problem = str(error)
            return False
        self._problem = ""
        return True

    def _round(self, wanted: DesiredProcesses) -> None:
        now = time.time()
        self._records = {name: with_backoff_reset(record, wanted.request) for name, record in self._records.items()}
        for name, record in self._records.items():
            if record.process is not None and not self._lives(name, record):
                self._records[name] = after_exit(record, self._describe_exit(name), now)
        living = frozenset(name for name, record in self._records.items() if record.process is not None)
        for name in obsolete(wanted.processes, self._records, living):
            del self._records[name]
        for action in reconcile(wanted.processes, self._records, living, now, self._files.read_held()):
            match action:
                case Stop(name, grace_s):
                    self._stop(name, grace_s)
                case Start(process) if process.name not in self._files.read_held():  # a stop before it took a while
                    self._start(process, wanted.request, now)
        self._save()

    def _lives(self, name: str, record: ProcessRecord) -> bool:
        child = self._children.get(name)
        if child is not None:
            return child.poll() is None
        return alive(record.process)

    def _describe_exit(self, name: str) -> str:
        child = self._children.pop(name, None)
        return describe_exit(child.returncode if child else None)

    def _start(self, process: DesiredProcess, request: str, now: float) -> None:
        before = self._records.get(process.name)
        again = before is not None and before.digest == process.digest
        record = before if before is not None and again else ProcessRecord(digest=process.digest, request=request)
        self._save()  # if this fails, as on a full disk, a new process could not be recorded
        try:
            child = self._spawn(process)
        except OSError as error:
            self._records[process.name] = after_exit(record, f"cannot be started: {error}", now)
            return
        identity = identify(child.pid)
        restarts = record.restarts + (1 if again else 0)
        record = record.model_copy(update={"process": identity, "started_at": now, "restarts": restarts})
        self._children[process.name] = child
        if identity is None:
            child.wait()
            record = after_exit(record, self._describe_exit(process.name), now)
        self._records[process.name] = record
        try:
            # Saved at once, so that a new supervisor finds this process if we are killed here.
            self._save()
        except StorageError:
            self._stop(process.name, process.stop_grace_s)
            raise

    def _spawn(self, process: DesiredProcess) -> "subprocess.Popen[bytes]":
        environments = self._files.read_environments()
        variables = environments.processes.get(process.name, {}) if environments else {}
        with open(self._files.log(process.name), "ab") as output:
            return subprocess.Popen(
                process.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._files.folder,
                env=process_environment(os.environ, variables),
                start_new_session=True,
            )

    def _stop(self, name: str, grace_s: float) -> None:
        record = self._records.pop(name)
        if record.process is not None:
            stop(record.process, grace_s)
        self._children.pop(name, None)

    def stop_all(self) -> None:
        grace_s = {process.name: process.stop_grace_s for process in self._last_wanted()}
        for name in reversed(list(self._records)):
            self._stop(name, grace_s.get(name, 10.0))
        self._files.remove_running()

    def _last_wanted(self) -> tuple[DesiredProcess, ...]:
        """The desired processes; none if they cannot be read, as the processes are stopped anyway."""
        try:
            wanted = self._files.read_desired()
        except LightragctlError as error:
            log.warning("%s", error)
            return ()
        return wanted.processes if wanted else ()

    def _save(self) -> None:
        """Write the state if it has changed."""
        running = Running(boot_id=self._boot_id, supervisor=self._supervisor, records=dict(self._records))
        if running != self._saved:
            self._files.write_running(running)
            self._saved = running

    def _rotate_logs(self) -> None:
        """Rotate logs above the limit to NAME.log.1 by copy and truncate; writers append."""
        for name in self._records:
            path = self._files.log(name)
            if path.exists() and path.stat().st_size > _LOG_MAX_BYTES:
                older = path.with_name(f"{path.name}.1")
                older.unlink(missing_ok=True)  # first, to save space on a full disk
                shutil.copyfile(path, older)
                os.truncate(path, 0)


def main() -> int:
    """Supervise the release in the folder argv[1]; exits if another supervisor runs."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    files = ReleaseFiles(Path(sys.argv[1]))
    with file_lock(files.folder / "supervisor.lock") as holder:
        if holder is None:
            Supervisor(files).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
