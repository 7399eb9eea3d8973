"""Checks of a local release: its supervisor, its processes, their ports, the machine. Pure."""

from collections.abc import Iterator
from functools import partial

from lightragctl.core.findings import Severity
from lightragctl.core.hint import Command, Hint
from lightragctl.diagnose.check import OOM, SLOW, UNAVAILABLE, Category, Check, Trouble
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import DEPLOYED, MACHINE, PROCESSES, THRESHOLDS
from lightragctl.diagnose.model import Process

_OFTEN = 2
_NEARLY = 0.95
_SKEW_S = 60.0


def _stopped(facts: Facts) -> Iterator[Trouble]:
    if not facts[PROCESSES]:
        yield Trouble("release", "there is no such release on this machine", Hint("start it: ", Command("up")))
    elif not facts[MACHINE].running:
        yield Trouble("release", "it is stopped", Hint("start it: ", Command("up")))


def _supervisor(facts: Facts) -> Iterator[Trouble]:
    machine = facts[MACHINE]
    if machine.running and machine.same_boot and not machine.supervisor_alive:
        message = "its supervisor is not running, so processes that exit are not restarted"
        yield Trouble(
            "supervisor", message, Hint("start it again: ", Command("up")), evidence=("its process does not exist",)
        )


def _rebooted(facts: Facts) -> Iterator[Trouble]:
    if facts[MACHINE].running and not facts[MACHINE].same_boot:
        yield Trouble(
            "release", "the machine was restarted since the release was started", Hint("start it: ", Command("up"))
        )


def _down(facts: Facts) -> Iterator[Trouble]:
    if not facts[MACHINE].running or not facts[MACHINE].same_boot:
        return
    for one in facts[PROCESSES]:
        if not one.alive:
            why = one.last_exit or "it is not running"
            again = f"; next start in {one.next_start_in_s:.0f} s" if one.next_start_in_s and _supervised(facts) else ""
            message = f"its process is down: {why}{again}"
            hint = Hint("see why: ", Command("logs", one.name), "; start it: ", Command("up"))
            evidence = (f"{one.failures} failures in a row, {one.restarts} restarts",)
            yield Trouble(one.name, message, hint, evidence=evidence, component=one.name)


def _supervised(facts: Facts) -> bool:
    return facts[MACHINE].supervisor_alive


def _port(facts: Facts) -> Iterator[Trouble]:
    """A port that another process listens on, while ours is down or does not listen."""
    for one in facts[PROCESSES]:
        if one.holder is None or one.holder.ours or not facts[MACHINE].running:
            continue
        who = f"process {one.holder.pid} ({one.holder.program})" if one.holder.pid else "a process of another user"
        message = f"its port {one.port} is taken by {who}"
        hint = Hint(
            f"stop that process, or choose another port: components.{one.name}.port; then: ",
            Command("up"),
        )
        yield Trouble(one.name, message, hint, evidence=(f"port {one.port} listens",), component=one.name)


def _outdated(facts: Facts) -> Iterator[Trouble]:
    for one in facts[PROCESSES]:
        if one.alive and not one.current:
            message = "it runs with outdated settings: the last up could not restart it"
            yield Trouble(one.name, message, Hint("complete the change: ", Command("up")), component=one.name)


def _not_ready(facts: Facts) -> Iterator[Trouble]:
    for one in facts[PROCESSES]:
        if one.alive and one.not_ready and not _starts(one, facts[DEPLOYED].at):
            hint = Hint("see its log: ", Command("logs", one.name))
            message = f"it runs and is not ready: {one.not_ready}"
            yield Trouble(one.name, message, hint, evidence=(f"pid {one.pid}, port {one.port}",), component=one.name)


def _starting(facts: Facts) -> Iterator[Trouble]:
    for one in facts[PROCESSES]:
        if one.alive and one.not_ready and _starts(one, facts[DEPLOYED].at):
            since_s = facts[DEPLOYED].at - one.started_at
            message = f"it has been starting for {since_s:.0f} s: {one.not_ready}"
            hint = Hint("wait, or see its log: ", Command("logs", one.name))
            evidence = (f"may take {one.start_timeout_s:g} s",)
            yield Trouble(one.name, message, hint, evidence=evidence, component=one.name)


def _starts(one: Process, now: float) -> bool:
    return 0 <= now - one.started_at < one.start_timeout_s


def _program(facts: Facts) -> Iterator[Trouble]:
    for one in facts[PROCESSES]:
        if not one.program_there:
            message = "its Python interpreter does not exist: the virtual environment was deleted or moved"
            hint = Hint("install lightragctl again, then: ", Command("up"))
            yield Trouble(one.name, message, hint, component="" if one.alive else one.name)


def _folder(facts: Facts) -> Iterator[Trouble]:
    if not facts[MACHINE].writable:
        message = "the folder of the release cannot be written"
        yield Trouble("folder", message, Hint("check its owner and its permissions: ls -ld, chown"))


def _frozen(facts: Facts) -> Iterator[Trouble]:
    for one in facts[PROCESSES]:
        if one.stopped_state:
            message = f"its process {one.pid} is stopped by a signal (SIGSTOP): it does not respond"
            hint = Hint(f"continue it: kill -CONT {one.pid}")
            yield Trouble(one.name, message, hint, evidence=("state T in /proc",), component=one.name)


def _secrets(facts: Facts) -> Iterator[Trouble]:
    if not facts[MACHINE].running:
        return
    for text in facts[MACHINE].missing_secrets:
        component, _, where = text.partition(": ")
        message = f"a secret that it needs is missing:  {where}"
        hint = Hint("set it, then: ", Command("up"))
        yield Trouble(component, message, hint, component=component)


def _restarted(facts: Facts) -> Iterator[Trouble]:
    now, recent_s = facts[DEPLOYED].at, facts[THRESHOLDS].restarts_recent_s
    for one in facts[PROCESSES]:
        if one.alive and one.restarts and one.last_exit and now - one.started_at < recent_s:
            message = f"it was restarted {(now - one.started_at) / 60:.0f} minutes ago: {one.last_exit}"
            hint = Hint("see why: ", Command("logs", one.name))
            evidence = (f"{one.restarts} restarts",)
            yield Trouble(one.name, message, hint, evidence=evidence, component=one.name)


def _lock(facts: Facts) -> Iterator[Trouble]:
    if facts[MACHINE].drafts:
        message = f"{facts[MACHINE].drafts} partly written files are left over from a killed command"
        yield Trouble("folder", message, Hint("run the command again: ", Command("up")))


def _load(facts: Facts) -> Iterator[Trouble]:
    machine = facts[MACHINE]
    if machine.load > _BUSY * machine.cpus:
        message = f"the machine is overloaded: {machine.load:.0f} processes are runnable on {machine.cpus} processors"
        yield Trouble(
            "machine", message, Hint("see the running processes: top"), evidence=(f"load average {machine.load:.1f}",)
        )


_BUSY = 16
_ERROR, _WARNING = Severity.ERROR, Severity.WARNING
_ANSWERS = ("LR200", "LR201", "LR219", "LR221", "LR301", "LR302", "LR304", "LR305", "LR310", "LR700")


def _unsteady(facts: Facts) -> Iterator[Trouble]:
    for one in facts[PROCESSES]:
        if one.alive and one.failures >= _OFTEN:
            message = f"it ended {one.failures} times in a row: {one.last_exit}"
            hint = Hint("see why: ", Command("logs", one.name))
            yield Trouble(one.name, message, hint, component=one.name)


def _clock(facts: Facts) -> Iterator[Trouble]:
    ahead_s = max((one.started_at - facts[DEPLOYED].at for one in facts[PROCESSES] if one.alive), default=0.0)
    if ahead_s > _SKEW_S:
        message = f"the clock was set back: processes were started {ahead_s:.0f} s in the future"
        hint = Hint("synchronize the clock: timedatectl; then restart: ", Command("down"), ", ", Command("up"))
        yield Trouble("machine", message, hint)


def _files(facts: Facts) -> Iterator[Trouble]:
    for one in facts[PROCESSES]:
        if one.open_files_limit and one.open_files >= _NEARLY * one.open_files_limit:
            message = f"it has {one.open_files} of {one.open_files_limit} files open: it accepts no connections"
            hint = Hint("raise the limit (ulimit -n) in the shell that runs up, then: ", Command("up"))
            yield Trouble(one.name, message, hint, evidence=(f"/proc/{one.pid}/fd",), component=one.name)


_check = partial(
    Check,
    category=Category.DEPLOYMENT,
    fix=Hint("bring it up again: ", Command("up")),
)
_NEEDS = (MACHINE, PROCESSES, DEPLOYED)

CHECKS = (
    _check(
        code="LR170",
        fix=Hint("start it again, which takes over the processes that run: ", Command("up")),
        title="the supervisor runs",
        severity=_ERROR,
        needs=_NEEDS,
        symptoms=(UNAVAILABLE,),
        judge=_supervisor,
        explains=("LR171",),
    ),
    _check(
        code="LR171",
        fix=Hint("see why it exited: ", Command("logs"), "; start it again: ", Command("up")),
        title="every process runs",
        severity=_ERROR,
        needs=_NEEDS,
        symptoms=(UNAVAILABLE,),
        judge=_down,
        stops=True,
    ),
    _check(
        code="LR172",
        fix=Hint(
            "stop the other process, or move the ports: local.port_offset or components.NAME.port, then: ",
            Command("up"),
        ),
        title="no other process uses the release's ports",
        severity=_ERROR,
        needs=_NEEDS,
        symptoms=(UNAVAILABLE,),
        judge=_port,
        stops=True,
        explains=("LR171", "LR176", "LR180"),
    ),
    _check(
        code="LR173",
        fix=Hint("start it again; its data is kept: ", Command("up")),
        title="the machine was not restarted",
        severity=_ERROR,
        needs=_NEEDS,
        symptoms=(UNAVAILABLE,),
        judge=_rebooted,
        explains=("LR170", "LR171", "LR172", "LR176", *_ANSWERS),
    ),
    _check(
        code="LR174",
        fix=Hint("complete the change: ", Command("up")),
        title="processes run with the settings of the last up",
        needs=_NEEDS,
        symptoms=(UNAVAILABLE,),
        judge=_outdated,
        severity=_WARNING,
    ),
    _check(
        code="LR175",
        fix=Hint("run the command that was killed again; it is safe to repeat: ", Command("up")),
        title="no killed command left partly written files",
        needs=_NEEDS,
        symptoms=(UNAVAILABLE,),
        judge=_lock,
        severity=_WARNING,
    ),
    _check(
        code="LR176",
        fix=Hint("see what it waits for: ", Command("logs")),
        title="every process is ready",
        severity=_ERROR,
        needs=_NEEDS,
        judge=_not_ready,
        stops=True,
        follows=True,
        symptoms=(UNAVAILABLE, SLOW),
    ),
    _check(
        code="LR177",
        fix=Hint("install lightragctl where it was, then: ", Command("up")),
        title="the programs of the processes exist",
        severity=_ERROR,
        needs=_NEEDS,
        symptoms=(UNAVAILABLE,),
        judge=_program,
        stops=True,
        explains=("LR171",),
    ),
    _check(
        code="LR178",
        fix=Hint("change the owner to the user who runs the release (chown), or remount a read-only file system"),
        title="the folder of the release can be written",
        severity=_ERROR,
        needs=_NEEDS,
        symptoms=(UNAVAILABLE,),
        judge=_folder,
        explains=("LR171", "LR174", "LR180"),
    ),
    _check(
        code="LR179",
        title="the release is up",
        severity=_ERROR,
        needs=_NEEDS,
        symptoms=(UNAVAILABLE,),
        judge=_stopped,
        explains=("LR170", "LR171", "LR172", "LR174", "LR182", *_ANSWERS),
    ),
    _check(
        code="LR181",
        fix=Hint("continue it: kill -CONT PID; if a debugger or a shell stopped it, end that"),
        title="no process is stopped by a signal",
        severity=_ERROR,
        needs=_NEEDS,
        judge=_frozen,
        stops=True,
        symptoms=(UNAVAILABLE, SLOW),
        explains=("LR176", "LR180"),
    ),
    _check(
        code="LR182",
        fix=Hint("export the variable or write the file that the profile names, then: ", Command("up")),
        title="the secrets of the processes exist",
        severity=_ERROR,
        needs=_NEEDS,
        symptoms=(UNAVAILABLE,),
        judge=_secrets,
        stops=True,
        explains=("LR171",),
    ),
    _check(
        code="LR183",
        fix=Hint("see why it exited: ", Command("logs"), "; SIGKILL without a sender is often the kernel: dmesg"),
        title="processes were not restarted recently",
        judge=_restarted,
        severity=_WARNING,
        needs=(PROCESSES, DEPLOYED, THRESHOLDS),
        symptoms=(UNAVAILABLE, SLOW),
    ),
    _check(
        code="LR184",
        fix=Hint("wait for it; when it takes longer than its deadline, see ", Command("logs")),
        title="processes have started",
        needs=_NEEDS,
        symptoms=(UNAVAILABLE,),
        judge=_starting,
        severity=_WARNING,
        stops=True,
        follows=True,
    ),
    _check(
        code="LR185",
        fix=Hint("stop other programs, or give the release more processors: top"),
        title="the machine is not overloaded",
        needs=_NEEDS,
        judge=_load,
        severity=_WARNING,
        symptoms=(SLOW,),
        explains=("LR202", "LR309"),
    ),
    _check(
        code="LR186",
        fix=Hint("read the last log lines before each exit: ", Command("logs")),
        title="processes do not crash repeatedly",
        severity=_ERROR,
        needs=_NEEDS,
        stops=True,
        explains=("LR183", "LR184"),
        judge=_unsteady,
        symptoms=(UNAVAILABLE, OOM),
    ),
    _check(
        code="LR189",
        fix=Hint("raise the limit (ulimit -n) in the shell that runs up, then: ", Command("up")),
        title="no process is at its limit of open files",
        severity=_ERROR,
        needs=_NEEDS,
        stops=True,
        explains=("LR176", "LR180", "LR183", "LR184", "LR409"),
        judge=_files,
        symptoms=(UNAVAILABLE, SLOW),
    ),
    _check(
        code="LR188",
        fix=Hint("synchronize the clock of the machine: timedatectl"),
        title="the clock was not set back",
        severity=_WARNING,
        needs=(PROCESSES, DEPLOYED),
        judge=_clock,
        symptoms=(UNAVAILABLE,),
    ),
)
