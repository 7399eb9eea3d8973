"""The supervisor of a local release: a process of its own that keeps the wanted processes running.

Level-triggered: each round it reads what is wanted and looks at what lives, so a round after a crash is like any
other. Processes outlive it; a new supervisor takes over those that it finds.
Run with `python -m lightragctl.local.supervisor FOLDER`.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from lightragctl.local.decide import Start, Stop, after_death, decide
from lightragctl.local.files import Record, ReleaseFiles, Running, Wanted, WantedProcess, hold
from lightragctl.local.processes import alive, boot_id, identify, stop

_ROUND_S = 0.25
_LOG_MOST_BYTES = 20_000_000


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
        before = files.read_running()
        self._records = dict(before.records) if before and before.boot_id == self._boot_id else {}

    def run(self) -> None:
        """Keep what is wanted running until told to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._save()
        while not self._stopping.is_set():
            wanted = self._files.read_wanted()
            if wanted is not None:
                self._round(wanted)
            self._stopping.wait(_ROUND_S)
        self._stop_all()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping.set()

    def _round(self, wanted: Wanted) -> None:
        before = dict(self._records)
        now = time.time()
        for name, record in before.items():
            if record.process is not None and not self._lives(name, record):
                self._records[name] = after_death(record, self._exit_words(name), now)
        living = frozenset(name for name, record in self._records.items() if record.process is not None)
        for action in decide(wanted.processes, self._records, living, now):
            match action:
                case Stop(name, grace_s):
                    self._stop(name, grace_s)
                case Start(process):
                    self._start(process, now)
        if self._records != before:
            self._save()
        self._bound_logs()

    def _lives(self, name: str, record: Record) -> bool:
        child = self._children.get(name)
        if child is not None:
            return child.poll() is None
        return alive(record.process)

    def _exit_words(self, name: str) -> str:
        child = self._children.pop(name, None)
        if child is None or child.returncode is None:
            return "ended"
        if child.returncode < 0:
            return f"killed by {signal.Signals(-child.returncode).name}"
        return f"exited with status {child.returncode}"

    def _start(self, process: WantedProcess, now: float) -> None:
        before = self._records.get(process.name)
        again = before is not None and before.digest == process.digest
        with open(self._files.log(process.name), "ab") as log:
            child = subprocess.Popen(
                process.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._files.folder,
                start_new_session=True,
            )
        self._children[process.name] = child
        record = before if before is not None and again else Record(digest=process.digest)
        restarts = record.restarts + (1 if again else 0)
        identity = identify(child.pid)
        record = record.model_copy(update={"process": identity, "started_at": now, "restarts": restarts})
        if identity is None:
            child.wait()
            record = after_death(record, self._exit_words(process.name), now)
        self._records[process.name] = record
        # Saved at once: a supervisor killed right here must find the process that it has started.
        self._save()

    def _stop(self, name: str, grace_s: float) -> None:
        record = self._records.pop(name)
        if record.process is not None:
            stop(record.process, grace_s)
        self._children.pop(name, None)

    def _stop_all(self) -> None:
        wanted = self._files.read_wanted()
        grace_s = {process.name: process.stop_grace_s for process in wanted.processes} if wanted else {}
        for name in reversed(list(self._records)):
            self._stop(name, grace_s.get(name, 10.0))
        self._files.forget_running()

    def _save(self) -> None:
        self._files.write_running(
            Running(boot_id=self._boot_id, supervisor=self._supervisor, records=dict(self._records))
        )

    def _bound_logs(self) -> None:
        """Keep a log that has grown too long as NAME.log.1 and begin anew; writers append, so they go on."""
        for name in self._records:
            log = self._files.log(name)
            if log.exists() and log.stat().st_size > _LOG_MOST_BYTES:
                log.with_name(f"{log.name}.1").write_bytes(log.read_bytes())
                os.truncate(log, 0)


def main() -> int:
    """Supervise the release whose folder is the only argument; a second supervisor ends at once."""
    files = ReleaseFiles(Path(sys.argv[1]))
    with hold(files.folder / "supervisor.lock") as holder:
        if holder is None:
            Supervisor(files).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
