"""Processes of this machine: who they are, whether they live, how they are stopped, who holds a port. Linux."""

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from lightragctl.local.files import ProcessId

_POLL_S = 0.05


def boot_id() -> str:
    """The kernel's name for the time since the last boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def identify(pid: int) -> ProcessId | None:
    """The process with this number as it is now; None when it is gone or only waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(")")[2].split()
    # proc(5): starttime is field 22 of the line; three fields stand before `fields`.
    return None if state in "ZX" else ProcessId(pid=pid, ticks=int(fields[18]))


def alive(process: ProcessId | None) -> bool:
    """Whether this very process lives; a later one with its number does not count."""
    return process is not None and identify(process.pid) == process


def describe_exit(status: int | None) -> str:
    """How a process ended, by its `returncode`: None where that is not known, negative for a signal."""
    if status is None:
        return "ended"
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal has no name of its own
        return f"killed by signal {-status}"


def stop(process: ProcessId, grace_s: float) -> None:
    """End the process: SIGTERM, and SIGKILL when it still lives after `grace_s`."""
    if not _signal(process, signal.SIGTERM):
        return
    if not wait_gone([process], grace_s):
        _signal(process, signal.SIGKILL)
        wait_gone([process], 5.0)


def _signal(process: ProcessId, number: signal.Signals) -> bool:
    """Send the signal to this very process; False when it is gone."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if not alive(process):
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)


def wait_gone(processes: Iterable[ProcessId], timeout_s: float) -> bool:
    """Wait until none of the processes lives; False when one still does after `timeout_s`."""
    waiting, deadline = list(processes), time.monotonic() + timeout_s
    while True:
        _reap(waiting)
        waiting = [process for process in waiting if alive(process)]
        if not waiting or time.monotonic() > deadline:
            return not waiting
        time.sleep(_POLL_S)


def _reap(processes: Iterable[ProcessId]) -> None:
    """Take the exit statuses of those that are children of this process; others are not ours to reap."""
    for process in processes:
        try:
            os.waitpid(process.pid, os.WNOHANG)
        except ChildProcessError:
            continue


@dataclass(frozen=True)
class PortHolder:
    """Who listens on a port; `pids` are the process and those that it descends from, none when it is another user's."""

    pids: frozenset[int]
    words: str


def port_holder(port: int) -> PortHolder | None:
    """Who listens on the TCP port of this machine; None when nobody does."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:2] == (port,):
            return PortHolder(_family(connection.pid), _describe(connection.pid))
    return None


def _family(pid: int | None) -> frozenset[int]:
    try:
        process = psutil.Process(pid) if pid is not None else None
        return frozenset(one.pid for one in (process, *process.parents())) if process else frozenset()
    except psutil.Error:
        return frozenset()


def _describe(pid: int | None) -> str:
    if pid is None:
        return "a process of another user"
    try:
        command = " ".join(psutil.Process(pid).cmdline())[:80]
    except psutil.Error:
        command = "?"
    return f"process {pid} ({command})"
