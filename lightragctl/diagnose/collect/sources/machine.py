"""The processes of a local release, its folder and this machine. Reads /proc, files and ports of loopback."""

import json
import os
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from pydantic import ValidationError

from lightragctl.core.profile import Runtime
from lightragctl.core.settings import SecretRef
from lightragctl.diagnose.collect.source import Collector, Source
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import MACHINE, PROCESSES, SIGNS
from lightragctl.diagnose.model import Holder, Machine, Process
from lightragctl.diagnose.signatures import count_signs, since
from lightragctl.diagnose.text import redacted
from lightragctl.local.files import DesiredProcess, DesiredProcesses, ProcessRecord, ReleaseFiles, Running
from lightragctl.local.logs import read_logs
from lightragctl.local.processes import alive, boot_id, identify
from lightragctl.local.readiness import not_ready_reason

_TAIL_LINES = 30


def read_machine(source: Source, facts: Facts) -> None:
    """Put `MACHINE`."""
    files = source.files
    running = files.read_running()
    disk, memory = shutil.disk_usage(_there(files.folder)), psutil.virtual_memory()
    inodes = os.statvfs(_there(files.folder))
    holder = _lock_holder(files)
    wanted = files.read_desired()
    facts.put(
        MACHINE,
        Machine(
            running=running is not None,
            supervisor_alive=running is not None and alive(running.supervisor),
            same_boot=running is None or running.boot_id == boot_id(),
            disk_bytes=disk.total,
            disk_free_bytes=disk.free,
            inodes=inodes.f_files,
            inodes_free=inodes.f_ffree,
            memory_bytes=memory.total,
            memory_free_bytes=memory.available,
            cpus=os.cpu_count() or 1,
            load=os.getloadavg()[0],
            folder_mode=files.folder.stat().st_mode & 0o777 if files.folder.exists() else 0o700,
            writable=os.access(files.folder, os.W_OK) if files.folder.exists() else True,
            missing_secrets=[] if wanted is None else _missing_secrets(files, wanted),
            drafts=len(list(files.folder.glob(".*.json.*"))) if files.folder.exists() else 0,
            lock_holder=holder,
            lock_holder_alive=holder != 0 and identify(holder) is not None,
        ),
    )


def _missing_secrets(files: ReleaseFiles, wanted: DesiredProcesses) -> list[str]:
    """Secrets that settings of processes name and that are not there, as `component: where`."""
    handed = files.read_environments()
    found = []
    for process in wanted.processes:
        try:
            settings = json.loads(files.settings(process.name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        given = handed.processes.get(process.name, {}) if handed else {}
        for reference in _references(settings):
            if reference.env and not given.get(reference.env):
                found.append(f"{process.name}: environment variable {reference.env}")
            elif reference.file and not Path(reference.file).is_file():
                found.append(f"{process.name}: file {reference.file}")
    return found


def _references(settings: Any) -> Iterator[SecretRef]:
    """The secrets that settings name, at whatever depth."""
    if isinstance(settings, dict):
        try:
            yield SecretRef.model_validate(settings)
            return
        except ValidationError:
            settings = list(settings.values())
    for one in settings if isinstance(settings, list) else ():
        yield from _references(one)


def _there(folder: Path) -> Path:
    """The folder, or the nearest one above that is there."""
    return next(one for one in (folder, *folder.parents) if one.exists())


def _lock_holder(files: ReleaseFiles) -> int:
    try:
        text = (files.folder / "lock").read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return 0
    return int(text) if text.isdecimal() else 0


def read_processes(source: Source, facts: Facts) -> None:
    """Put `PROCESSES` and `SIGNS`."""
    files = source.files
    wanted, running = files.read_desired(), files.read_running()
    if wanted is None:
        facts.put(PROCESSES, [])
        facts.put(SIGNS, {})
        return
    listeners = _listeners()
    ours = _ours(running)
    found = [_process(one, running, files, listeners, ours, source.now) for one in wanted.processes]
    facts.put(PROCESSES, found)
    troubled = [one for one in found if not one.alive or one.not_ready]
    facts.put(SIGNS, {one.name: signs for one in troubled if (signs := count_signs(_tail(files, one)))})


def _ours(running: Running | None) -> frozenset[int]:
    """The process ids of the release, children included."""
    found: set[int] = set()
    for record in running.records.values() if running else ():
        if record.process is not None and alive(record.process):
            try:
                process = psutil.Process(record.process.pid)
                found |= {one.pid for one in (process, *process.children(recursive=True))}
            except psutil.Error:
                continue
    return frozenset(found)


def _listeners() -> dict[int, int]:
    """Ports of this machine that are listened on, with the process; 0 is one of another user."""
    return {
        int(one.laddr[1]): one.pid or 0
        for one in psutil.net_connections("tcp")
        if one.status == psutil.CONN_LISTEN and one.laddr
    }


def _process(  # noqa: PLR0913 - one record from its six sources
    wanted: DesiredProcess,
    running: Running | None,
    files: ReleaseFiles,
    listeners: dict[int, int],
    ours: frozenset[int],
    now: float,
) -> Process:
    record = (running.records.get(wanted.name) if running else None) or ProcessRecord(digest="")
    is_alive = alive(record.process)
    pid = record.process.pid if record.process is not None and is_alive else 0
    log = files.log(wanted.name)
    return Process(
        name=wanted.name,
        port=wanted.port,
        alive=is_alive,
        pid=pid,
        restarts=record.restarts,
        failures=record.failures,
        last_exit=record.last_exit,
        next_start_in_s=max(0.0, round(record.next_start_at - now, 1)) if record.next_start_at else 0.0,
        started_at=record.started_at,
        start_timeout_s=wanted.start_timeout_s,
        current=record.digest in ("", wanted.digest),
        not_ready=redacted(not_ready_reason(wanted.ready_port or wanted.port, wanted.ready_path) or "")
        if is_alive
        else "",
        holder=_holder(wanted.port, listeners, ours),
        rss_bytes=_rss(pid),
        stopped_state=_stopped(pid),
        program_there=Path(wanted.argv[0]).exists() if wanted.argv else True,
        log_bytes=log.stat().st_size if log.exists() else 0,
        open_files=_open_files(pid),
        open_files_limit=_open_files_limit(pid),
    )


def _holder(port: int, listeners: dict[int, int], ours: frozenset[int]) -> Holder | None:
    """Who listens on the port: the program's name alone, as arguments may hold secrets."""
    pid = listeners.get(port)
    if pid is None:
        return None
    try:
        program = psutil.Process(pid).name() if pid else ""
    except psutil.Error:
        program = ""
    return Holder(pid, program, pid in ours)


def _rss(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss) if pid else 0
    except psutil.Error:
        return 0


def _open_files(pid: int) -> int:
    try:
        return psutil.Process(pid).num_fds() if pid else 0
    except psutil.Error:
        return 0


def _open_files_limit(pid: int) -> int:
    """0 where it is unknown or unlimited."""
    try:
        limit = resource.prlimit(pid, resource.RLIMIT_NOFILE)[0] if pid else 0
    except OSError:
        return 0
    return 0 if limit == resource.RLIM_INFINITY else limit


def _stopped(pid: int) -> str:
    """`stopped` when a signal has stopped the process; empty otherwise."""
    try:
        return "stopped" if pid and psutil.Process(pid).status() == psutil.STATUS_STOPPED else ""
    except psutil.Error:
        return ""


def _tail(files: ReleaseFiles, process: Process) -> list[str]:
    """The last lines of the process's log since its last start: earlier errors may have been fixed."""
    begin = time.monotonic()
    lines = read_logs({process.name: files.log(process.name)}, False, _TAIL_LINES)
    tail = [line for _, line in lines if time.monotonic() - begin < 1.0]
    return since(tail, time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(process.started_at)))


COLLECTORS = (
    Collector("machine", (MACHINE,), read_machine, Runtime.LOCAL),
    Collector("processes", (PROCESSES, SIGNS), read_processes, Runtime.LOCAL, 15.0),
)
