"""Profiles a process of a local release. Starts py-spy, or sends a signal and reads the log."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lightragctl.core.errors import LightragctlError, NotRunningError, UnavailableError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import Event, Notify
from lightragctl.diagnose.profiler.model import (
    Artifact,
    Language,
    Plan,
    Process,
    Profile,
    Request,
    Surroundings,
    Target,
    Tool,
)
from lightragctl.diagnose.profiler.outcome import checked, dump_marker, dump_signal
from lightragctl.diagnose.profiler.scripts import new_dump, py_spy_dump, py_spy_record
from lightragctl.kube.streams import Output
from lightragctl.local.files import ReleaseFiles
from lightragctl.local.processes import alive
from lightragctl.local.runtime import LocalRuntime

_SHORT_S = 30.0
_DUMP_S = 10.0
_POLL_S = 0.1
_PROC = Path("/proc")


def find_target(runtime: LocalRuntime, component: str) -> Target:
    """The process of a component.

    Raises:
        NotRunningError: there is no such release or component, or its process does not run.
    """
    if component not in runtime.components():
        names = ", ".join(runtime.components())
        raise NotRunningError(f"release '{runtime.release}' has no {component}", f"it has: {names}")
    running = runtime.files.read_running()
    record = running.records.get(component) if running else None
    if record is None or record.process is None or not alive(record.process):
        raise NotRunningError(f"the process of {component} does not run", Hint("start it: ", Command("up")))
    process = _process(record.process.pid)
    around = Surroundings(os.geteuid(), platform.machine(), _ptrace_scope(), _py_spy())
    return Target(component, process, Language.PYTHON, around, is_local=True)


def profile(files: ReleaseFiles, plan: Plan, target: Target, request: Request, notify: Notify) -> Profile:
    """The profile as planned.

    Raises:
        LightragctlError: it failed; the message says why.
    """
    if plan.tool is Tool.FAULTHANDLER:
        return Profile(_signalled(files, plan, target))
    if plan.artifact is Artifact.DUMP:
        found = _run(py_spy_dump(target.around.py_spy, target.process.pid), _SHORT_S)
        return Profile(checked(found, target, request))
    notify(Event(f"sampling for {request.duration_s} s", target.name))
    with tempfile.TemporaryDirectory() as folder:
        command = py_spy_record(target.around.py_spy, folder, target.process.pid, request.duration_s)
        return Profile(checked(_run(command, request.duration_s + _SHORT_S), target, request))


def _process(pid: int) -> Process:
    """Raises NotRunningError: it has ended."""
    try:
        lines = (_PROC / str(pid) / "status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError as error:
        raise NotRunningError(f"process {pid} has ended", Hint("see: ", Command("status"))) from error
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return Process(pid, int(fields["Uid"].split()[1]), sys.executable, int(fields["SigCgt"].strip(), 16))


def _ptrace_scope() -> int:
    try:
        return int((_PROC / "sys/kernel/yama/ptrace_scope").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _py_spy() -> str:
    """The program, beside this Python or on PATH; empty if there is none."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("py-spy") or ""


def _run(command: list[str], within_s: float) -> Output:
    """Run a program; it is killed when this process is interrupted.

    Raises:
        LightragctlError: it cannot be started, or has not ended in time.
    """
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=within_s, check=False)
    except OSError as error:
        raise LightragctlError(
            f"cannot run {command[0]}: {error.strerror}", "check the installation of py-spy"
        ) from error
    except subprocess.TimeoutExpired as error:
        message = f"{command[0]} has not ended within {within_s:g} s"
        raise UnavailableError(message, Hint("see the process: ", Command("status"))) from error
    return Output(done.returncode, done.stdout, done.stderr)


def _signalled(files: ReleaseFiles, plan: Plan, target: Target) -> bytes:
    """The dump that the process writes to its log when it gets a signal."""
    log = files.log(target.name)
    start = log.stat().st_size if log.exists() else 0
    os.kill(target.process.pid, dump_signal(plan.tool))
    dump, last = "", None
    until_s = time.monotonic() + _DUMP_S
    while time.monotonic() < until_s and (not dump or dump != last):
        time.sleep(_POLL_S)
        last, dump = dump, new_dump([], _lines(log, start), dump_marker(plan.tool))
    if not dump:
        message = f"{target.name} wrote no stack dump in {_DUMP_S:g} s"
        raise UnavailableError(message, Hint("it may be stopped; see: ", Command("status")))
    return dump.encode()


def _lines(log: Path, start: int) -> list[str]:
    with log.open("rb") as file:
        file.seek(start)
        return file.read().decode(errors="replace").splitlines()
