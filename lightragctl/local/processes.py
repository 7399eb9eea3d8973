"""Processes of this machine: identity, liveness, termination, and listening ports. Linux."""

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
    """The kernel's ID of the current boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def identify(pid: int) -> ProcessId | None:
    """The process with this PID; None if it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(")")[2].split()
    # proc(5): starttime is field 22 of the line; `fields` begins with the fourth.
    return None if state in "ZX" else ProcessId(pid=pid, ticks=int(fields[18]))


def alive(process: ProcessId | None) -> bool:
    """Whether the process is alive, and not another one with its PID."""
    return process is not None and identify(process.pid) == process


def describe_exit(status: int | None) -> str:
    """How a process ended, from its `returncode`: None if unknown, negative for a signal."""
    if status is None:
        return "ended"
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:  # real-time signals have no name
        return f"killed by signal {-status}"


def stop(process: ProcessId, grace_s: float) -> None:
    """Stop the process with SIGTERM, then with SIGKILL if it is alive after `grace_s`."""
    if not _signal(process, signal.SIGTERM):
        return
    if not wait_gone([process], grace_s):
        _signal(process, signal.SIGKILL)
        wait_gone([process], 5.0)


def _signal(process: ProcessId, number: signal.Signals) -> bool:
    """Send the signal to the process; False if it is gone."""
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
    """Wait until the processes are gone; False if one is alive after `timeout_s`."""
    waiting, deadline = list(processes), time.monotonic() + timeout_s
    while True:
        _reap(waiting)
        waiting = [process for process in waiting if alive(process)]
        if not waiting or time.monotonic() > deadline:
            return not waiting
        time.sleep(_POLL_S)


def _reap(processes: Iterable[ProcessId]) -> None:
    """Reap those that are children of this process."""
    for process in processes:
        try:
            os.waitpid(process.pid, os.WNOHANG)
        except ChildProcessError:
            continue


@dataclass(frozen=True)
class PortHolder:
    """The listener on a port; `pids`: the process and its ancestors, empty for another user's process."""

    pids: frozenset[int]
    words: str


def port_holder(port: int) -> PortHolder | None:
    """The listener on the TCP port of this machine; None if the port is free."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:2] == (port,):
            return PortHolder(_with_ancestors(connection.pid), _describe(connection.pid))
    return None


def _with_ancestors(pid: int | None) -> frozenset[int]:
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
