"""The local runtime: a release as supervised processes."""

import hashlib
import secrets
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from lightragctl.core.component import Plan, ProcessSpec, start_order
from lightragctl.core.errors import LightragctlError, NotRunningError, RefusedError, WaitExpired
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import Event, Notify
from lightragctl.core.runtime import (
    Action,
    AppliedRelease,
    Approve,
    ComponentStatus,
    Difference,
    Differences,
    ReleaseStatus,
    State,
    UpOptions,
    UpOutcome,
    missing_release_hint,
)
from lightragctl.core.settings import SecretKey
from lightragctl.local.applied import read_applied
from lightragctl.local.environment import collect_environments, fingerprint, require_secrets, secret_files
from lightragctl.local.files import DesiredProcess, DesiredProcesses, Environments, ProcessRecord, ReleaseFiles, Running
from lightragctl.local.logs import read_logs
from lightragctl.local.processes import alive, boot_id, port_holder, stop, wait_gone
from lightragctl.local.readiness import not_ready_reason

_POLL_S = 0.2
_SUPERVISOR_START_S = 10.0
_SETTLE_S = 1.0
"""A process that the supervisor was just starting is recorded by then."""
_CRASH_LOOP_FAILURES = 4
"""Consecutive exits after which `up` stops waiting."""


@dataclass(frozen=True)
class LocalRuntime:
    """A release under its own folder; implements `core.runtime.ReleaseRuntime`. `environ` is the user's environment."""

    release: str
    files: ReleaseFiles
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def data(self) -> str:
        """The release's folder."""
        return str(self.files.folder)

    def diff(self, plan: Plan, options: UpOptions) -> Differences:
        """The changes that `up` would make to each process; changes nothing."""
        wanted, running = self.desired_processes(plan, self.collect_environments(plan)), self._running()
        there = running.records if running else {}
        changes = [Difference(one.name, _action(one, running)) for one in wanted.processes]
        names = {one.name for one in wanted.processes}
        changes += [Difference(name, Action.DELETED) for name in there if name not in names]
        return Differences(self.release, "this machine", tuple(changes))

    def up(self, plan: Plan, options: UpOptions, approve: Approve, notify: Notify) -> UpOutcome:
        """Reconcile the release with the plan, without approval: a restart loses no data.

        Raises:
            LockedError: another command is changing the release, or an operation of it is open.
            RefusedError: a port is in use, or a secret is missing in the environment.
            StorageError: a file of the release cannot be written.
            WaitExpired: something is not ready after `timeout_s`.
            LightragctlError: a process keeps crashing.
        """
        require_secrets(_settings_of_processes(plan), self.collect_environments(plan))
        self.files.prepare()
        with self.files.lock():
            self.files.refuse_open_operation(options.operation)
            environments = self.collect_environments(plan)
            wanted = self.desired_processes(plan, environments)
            running = self._running()
            changed = tuple(process.name for process in wanted.processes if not _runs(process, running))
            _refuse_taken_ports([process for process in wanted.processes if process.name in changed], running)
            self._write_settings(plan, wanted)
            self.files.write_environments(environments)
            self.files.write_desired(wanted)
            self._ensure_supervisor(running, notify)
            if options.wait:
                self._wait_ready(wanted, options.timeout_s, notify)
            return UpOutcome(changed, self.status())

    def down(self, purge: bool, timeout_s: float, notify: Notify, allow_data_loss: bool = False) -> bool:
        """Stop the release; with `purge` delete its folder with all data. False if there was nothing to do.

        Raises:
            LockedError: another command is changing the release, or an operation of it is open.
            WaitExpired: the supervisor did not stop within `timeout_s`.
        """
        if not self.files.folder.exists():
            return False
        with self.files.lock():
            self.files.refuse_open_operation()
            stopped = self._stop(timeout_s, notify)
            if purge:
                notify(Event("deleting data", str(self.files.folder)))
                self.files.delete()
        if purge and not any(self.files.folder.parent.iterdir()):
            self.files.folder.parent.rmdir()
        return stopped or purge

    def status(self) -> ReleaseStatus:
        """The status of the release.

        Raises:
            NotRunningError: the release does not exist on this machine.
        """
        wanted, running = self._wanted(), self._running()
        held = self.files.read_held()
        parts = tuple(_component_status(process, running, held) for process in wanted.processes)
        return ReleaseStatus(
            release=self.release,
            profile=wanted.profile_name,
            runtime="local",
            components=parts,
            data=self.data,
            message=self._message(running),
        )

    def applied(self, include_secrets: bool = False) -> AppliedRelease:
        """See `read_applied`.

        Raises:
            NotRunningError: there is no release of this name on this machine.
        """
        return read_applied(self.files, self._wanted(), include_secrets)

    def replicas(self, component: str) -> int:
        """One, where the release has the component.

        Raises:
            NotRunningError: it has not.
        """
        self._process(component)
        return 1

    def hold(self, component: str, reason: str, timeout_s: float, notify: Notify) -> None:
        """Have the supervisor stop the component's process and keep it stopped, also over `down` and `up`.

        Raises:
            NotRunningError: there is no such release or component.
            WaitExpired: it still runs after `timeout_s`.
        """
        self._process(component)
        self.files.write_held({**self.files.read_held(), component: reason})
        running = self._running()
        if running is not None:
            self._ensure_supervisor(running, notify)
        deadline, gone_s = time.monotonic() + timeout_s, 0.0
        while running is not None and gone_s < _SETTLE_S:
            gone_s = 0.0 if _lives(component, self._running()) else gone_s + _POLL_S
            if time.monotonic() > deadline:
                raise WaitExpired(f"{component} still runs after {timeout_s:g} s", Hint("see: ", Command("status")))
            notify(Event("stopping", component, passing=True))
            time.sleep(_POLL_S)

    def resume(self, component: str, replicas: int, timeout_s: float, notify: Notify) -> None:
        """Let the supervisor start the component's process, and wait until it is ready; not in a release that is down.

        Raises:
            NotRunningError: there is no such release or component.
            WaitExpired: it is not ready after `timeout_s`.
        """
        process = self._process(component)
        self.files.write_held({name: why for name, why in self.files.read_held().items() if name != component})
        if self._running() is not None:
            wanted = self._wanted()
            self._wait_ready(wanted.model_copy(update={"processes": (process,)}), timeout_s, notify)

    def close(self) -> None:
        """Nothing to close: processes are reached directly."""

    def endpoint(self, component: str) -> str:
        """The component's address on loopback.

        Raises:
            NotRunningError: the release is stopped, or has no such component.
        """
        process = self._process(component)
        if self._running() is None:
            raise NotRunningError(f"release '{self.release}' is stopped", Hint("start it: ", Command("up")))
        return f"http://127.0.0.1:{process.port}"

    def endpoints(self, component: str) -> Mapping[str, str]:
        """The address of the component's single process."""
        return {component: self.endpoint(component)}

    def spread(self, component: str) -> str:
        """As `endpoint`: there is one process."""
        return self.endpoint(component)

    def logs(self, component: str | None, follow: bool, tail_lines: int) -> Iterator[tuple[str, str]]:
        """Lines of the logs as (component, line), the last `tail_lines` of each first.

        Raises:
            NotRunningError: there is no such release or component.
        """
        processes = self._wanted().processes if component is None else (self._process(component),)
        chosen = [process.name for process in processes]
        return read_logs({name: self.files.log(name) for name in chosen}, follow, tail_lines)

    def components(self) -> tuple[str, ...]:
        """The names of the release's processes.

        Raises:
            NotRunningError: there is no such release.
        """
        return tuple(process.name for process in self._wanted().processes)

    def api_key(self, component: str = "lightrag-api") -> str | None:
        """None: on loopback no component requires an API key."""
        return None

    def secret(self, key: SecretKey) -> str | None:
        """None: there are no Kubernetes Secrets here."""
        return None

    def exec(self, component: str, command: Sequence[str]) -> int:
        """Run a command like a component's process: same machine and user, in the release's folder.

        Raises:
            NotRunningError: there is no such release or component.
            LightragctlError: the command cannot be started.
        """
        self._process(component)
        try:
            return subprocess.run(command, cwd=self.files.folder, check=False).returncode
        except OSError as error:
            raise LightragctlError(f"cannot run {command[0]}: {error.strerror}", "check the command") from error

    def forward(self, component: str, port: int, notify: Notify) -> None:
        """Report the component's address.

        Raises:
            NotRunningError: there is no such release or component, or it is stopped.
        """
        notify(Event(f"already listening on this machine: {self.endpoint(component)}", component))

    def _process(self, component: str) -> DesiredProcess:
        processes = {process.name: process for process in self._wanted().processes}
        if component not in processes:
            raise NotRunningError(f"release '{self.release}' has no {component}", f"it has: {', '.join(processes)}")
        return processes[component]

    def _wanted(self) -> DesiredProcesses:
        wanted = self.files.read_desired()
        if wanted is None:
            there = sorted(path.parent.name for path in self.files.folder.parent.glob("*/wanted.json"))
            raise NotRunningError(
                f"there is no release '{self.release}' on this machine", missing_release_hint(self.release, there)
            )
        return wanted

    def _running(self) -> Running | None:
        """The state of the processes; None if it is from before a reboot."""
        running = self.files.read_running()
        return running if running is not None and running.boot_id == boot_id() else None

    def _message(self, running: Running | None) -> str:
        if running is None:
            left = self.files.read_running()
            why = "the machine was restarted" if left is not None else "stopped"
            return Hint(f"{why}; start it: ", Command("up"))
        if not alive(running.supervisor):
            return Hint("its supervisor is gone: failed processes are not restarted; start it: ", Command("up"))
        return ""

    def collect_environments(self, plan: Plan) -> Environments:
        """The environments that `up` would pass to the processes now."""
        before = self.files.read_environments() or Environments(salt=secrets.token_hex(16))
        return collect_environments(plan, _settings_of_processes(plan), self.environ, before)

    def desired_processes(self, plan: Plan, environments: Environments) -> DesiredProcesses:
        """The processes of a plan; each digest covers arguments, settings and secrets."""
        processes = []
        for name in start_order(plan.components):
            component = plan.components[name]
            if component.process is None:
                continue
            spec = component.process(plan, self.files.data)
            argv = self._argv(name, spec)
            settings = spec.settings.model_dump_json() if spec.settings else ""
            secret = fingerprint(
                {**environments.processes.get(name, {}), **_contents(spec.settings)}, environments.salt
            )
            processes.append(
                DesiredProcess(
                    name=name,
                    argv=argv,
                    digest=hashlib.sha256("\0".join([*argv, settings, secret]).encode()).hexdigest(),
                    port=plan.port(name),
                    ready_port=component.probes.ready_port(plan) if component.probes.ready_port else None,
                    ready_path=component.probes.ready,
                    start_timeout_s=component.probes.start_timeout_s,
                    stop_grace_s=spec.stop_grace_s,
                )
            )
        profile = plan.profile.model_dump(mode="json")
        return DesiredProcesses(
            request=secrets.token_hex(8),
            release=self.release,
            profile_name=plan.profile_name,
            profile=profile,
            processes=tuple(processes),
        )

    def _argv(self, name: str, spec: ProcessSpec) -> tuple[str, ...]:
        settings = () if spec.settings is None else ("--settings", str(self.files.settings(name)))
        # -P: the working directory must not shadow installed packages.
        return (sys.executable, "-P", "-m", spec.module, *spec.arguments, *settings)

    def _write_settings(self, plan: Plan, wanted: DesiredProcesses) -> None:
        for process in wanted.processes:
            component = plan.components[process.name]
            if component.settings is not None:
                self.files.write_settings(process.name, component.settings(plan))

    def _ensure_supervisor(self, running: Running | None, notify: Notify) -> None:
        if running is not None and alive(running.supervisor):
            return
        notify(Event("starting the supervisor"))
        with open(self.files.log("supervisor"), "ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "lightragctl.local.supervisor", str(self.files.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.files.folder,
                start_new_session=True,
            )
        deadline = time.monotonic() + _SUPERVISOR_START_S
        while (now := self._running()) is None or now.supervisor.pid != child.pid:
            if child.poll() is not None or time.monotonic() > deadline:
                raise LightragctlError("the supervisor did not start", f"read {self.files.log('supervisor')}")
            time.sleep(_POLL_S)

    def _wait_ready(self, wanted: DesiredProcesses, timeout_s: float, notify: Notify) -> None:
        begin = time.monotonic()
        waiting = {process.name: process for process in self._free(wanted, notify)}
        while waiting:
            running = self._running()
            if running is None or not alive(running.supervisor):  # an older version may fail to read `wanted.json`
                self._ensure_supervisor(running, notify)
            for process in list(waiting.values()):
                status = _component_status(process, running)
                if status.state is State.READY:
                    del waiting[process.name]
                    notify(Event(f"ready after {time.monotonic() - begin:.1f} s", process.name))
                elif _failures(process, wanted.request, running) >= _CRASH_LOOP_FAILURES:
                    raise self._crash_loop(process, status)
            if waiting and time.monotonic() - begin > timeout_s:
                raise self._expired(list(waiting.values()), running, timeout_s)
            if waiting:
                notify(Event(reasons(waiting.values(), running), "waiting", passing=True))
                time.sleep(_POLL_S)

    def _free(self, wanted: DesiredProcesses, notify: Notify) -> list[DesiredProcess]:
        """The processes that nothing holds; the others are named."""
        held = self.files.read_held()
        for process in wanted.processes:
            if process.name in held:
                notify(Event(f"not started: held by {held[process.name]}", process.name))
        return [process for process in wanted.processes if process.name not in held]

    def _crash_loop(self, process: DesiredProcess, status: ComponentStatus) -> LightragctlError:
        lines = [line for _, line in read_logs({process.name: self.files.log(process.name)}, False, 5)]
        tail = "\n".join(f"    {line}" for line in lines)
        return LightragctlError(
            f"{process.name} keeps crashing: {status.message}; last log lines:\n{tail}",
            Hint("see more: ", Command("logs", process.name)),
        )

    def _expired(self, waiting: list[DesiredProcess], running: Running | None, timeout_s: float) -> WaitExpired:
        message = f"not ready after {timeout_s:g} s: {reasons(waiting, running)}"
        return WaitExpired(message, Hint("see: ", Command("logs"), "; wait longer with --timeout SECONDS"))

    def _stop(self, timeout_s: float, notify: Notify) -> bool:
        running = self._running()
        self.files.remove_environments()
        if running is None:
            self.files.remove_running()
            return False
        if alive(running.supervisor):
            notify(Event("stopping", self.release))
            stop(running.supervisor, timeout_s)
            if not wait_gone([running.supervisor], 0.0):
                raise WaitExpired(f"the supervisor still runs after {timeout_s:g} s", Hint("see: ", Command("status")))
        for name, record in reversed(self._left_over().items()):
            notify(Event("stopping", name))
            if record.process is not None:
                stop(record.process, 10.0)
        self.files.remove_running()
        return True

    def _left_over(self) -> dict[str, ProcessRecord]:
        """Processes that survived their supervisor."""
        running = self._running()
        return dict(running.records) if running else {}


def reasons(waiting: Iterable[DesiredProcess], running: Running | None) -> str:
    """Why each process is not ready, as in `status`."""
    found = [(one.name, _component_status(one, running).message) for one in waiting]
    return "; ".join(f"{name}: {message}" if message else name for name, message in found)


def _settings_of_processes(plan: Plan) -> dict[str, object]:
    """The settings of each component that runs as a process here."""
    running = {name: one for name, one in plan.components.items() if one.process is not None and one.settings}
    return {name: component.settings(plan) for name, component in running.items() if component.settings}


def _contents(settings: object) -> dict[str, str]:
    """Contents of the secret files that the settings name; the process itself reports one that cannot be read."""
    found = {}
    for path in secret_files(settings):
        try:
            found[f"file {path}"] = Path(path).read_bytes().hex()
        except OSError:
            continue
    return found


def _lives(name: str, running: Running | None) -> bool:
    """Whether a process of this name is left, of whatever digest."""
    record = running.records.get(name) if running else None
    return record is not None and alive(record.process)


def _action(process: DesiredProcess, running: Running | None) -> Action:
    if _runs(process, running):
        return Action.UNCHANGED
    there = running is not None and process.name in running.records
    return Action.CONFIGURED if there else Action.CREATED


def _runs(process: DesiredProcess, running: Running | None) -> bool:
    record = running.records.get(process.name) if running else None
    return record is not None and record.digest == process.digest and alive(record.process)


def _refuse_taken_ports(processes: list[DesiredProcess], running: Running | None) -> None:
    """Refuse if another process listens on a port; processes of the release may."""
    ours = {record.process.pid for record in running.records.values() if record.process} if running else set()
    for process, port, key in [(one, port, key) for one in processes for port, key in _ports(one)]:
        holder = port_holder(port)
        if holder is not None and not holder.pids & ours:
            raise RefusedError(
                f"port {port} for {process.name} is in use by {holder.words}",
                f"use another one: --set components.{process.name}.{key}=N, or --set local.port_offset=100",
            )


def _ports(process: DesiredProcess) -> list[tuple[int, str]]:
    """The ports of the process, with their profile keys."""
    ready = [(process.ready_port, "ready_port")] if process.ready_port else []
    return [(process.port, "port"), *ready]


def _failures(process: DesiredProcess, request: str, running: Running | None) -> int:
    """Consecutive exits since the `up` of this request."""
    record = running.records.get(process.name) if running else None
    ours = record is not None and record.digest == process.digest and record.request == request
    return record.failures if record is not None and ours else 0


def _component_status(
    process: DesiredProcess, running: Running | None, held: Mapping[str, str] = MappingProxyType({})
) -> ComponentStatus:
    """The component's status, from the supervisor's records and its readiness endpoint."""
    endpoint = f"http://127.0.0.1:{process.port}"
    if process.name in held and not _lives(process.name, running):
        return ComponentStatus(process.name, State.STOPPED, endpoint, message=f"held by {held[process.name]}")
    record = running.records.get(process.name) if running else None
    if record is None or record.digest != process.digest:
        return ComponentStatus(
            process.name, State.STARTING if running else State.STOPPED, endpoint, message="not started"
        )
    if not alive(record.process):
        words = f"{record.last_exit or 'exited'}; next start in {max(0.0, record.next_start_at - time.time()):.1f} s"
        return ComponentStatus(process.name, State.BACKING_OFF, endpoint, record.restarts, message=words)
    reason = not_ready_reason(process.ready_port or process.port, process.ready_path)
    uptime_s = time.time() - record.started_at
    state = State.READY if reason is None else State.STARTING if uptime_s < process.start_timeout_s else State.NOT_READY
    last = f"restarted: {record.last_exit}" if record.restarts else ""
    pid = record.process.pid if record.process else None
    return ComponentStatus(process.name, state, endpoint, record.restarts, pid, uptime_s, reason or last)
