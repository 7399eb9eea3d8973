"""Profiles a process of a pod: through exec, an ephemeral container, or its pprof endpoint. Changes the pod."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from lightragctl.components.vector_engine import METRICS_PORT
from lightragctl.core.errors import LightragctlError, NotRunningError, UnavailableError, WaitExpired
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject, ObjectRef
from lightragctl.core.result import Event, Notify
from lightragctl.deploy.reachability import refuse_stream
from lightragctl.diagnose.profiler import ephemeral, probe, scripts
from lightragctl.diagnose.profiler.model import (
    Access,
    Artifact,
    Language,
    Plan,
    Profile,
    Request,
    Surroundings,
    Target,
    Tool,
)
from lightragctl.diagnose.profiler.outcome import checked, dump_marker, dump_signal
from lightragctl.diagnose.profiler.plan import direct_obstacle, needs_capability
from lightragctl.kube.client import ClusterClient
from lightragctl.kube.model import ChangedMeanwhileError
from lightragctl.kube.objects import name_of, spec_of, status_of
from lightragctl.kube.scope import Scope
from lightragctl.kube.streams import Output, Tunnel, capture_in_pod

_SHORT_S = 30.0
_ARTHAS_S = 90.0
"""Deadline of unpacking Arthas, and of attaching it; a loaded machine took 4 s."""
_START_S = 120.0
"""Deadline of the ephemeral container's start; its image may have to be pulled."""
_POLL_S = 0.5
_TAIL_LINES = 2000
_TRIES = 5


@dataclass(frozen=True)
class PodProfiler:
    """Profiles the main process of a pod's first container.

    Attributes:
        client: the cluster.
        scope: the release.
        pod: the pod.
        image: of an ephemeral container.
        arthas: the archive of Arthas; None: not at hand.
    """

    client: ClusterClient
    scope: Scope
    pod: KubernetesObject
    image: str
    arthas: Path | None = None

    @property
    def name(self) -> str:
        """The pod's name."""
        return name_of(self.pod)

    @property
    def container(self) -> str:
        """The container whose process is profiled."""
        return str(spec_of(self.pod)["containers"][0]["name"])

    def target(self) -> Target:
        """What there is to profile; reads only.

        Raises:
            NotRunningError: the pod does not run.
            ForbiddenError: we may not run commands in it.
        """
        if status_of(self.pod).get("phase") != "Running":
            phase = status_of(self.pod).get("phase", "unknown")
            raise NotRunningError(f"Pod/{self.name} is not running: {phase}", Hint("see why: ", Command("status")))
        if self._pprof_port():
            refuse_stream(self.scope, "portforward", self.pod)
            return Target(
                f"Pod/{self.name}", probe.NO_PROCESS, Language.GO, Surroundings(0, ""), pprof_port=self._pprof_port()
            )
        refuse_stream(self.scope, "exec", self.pod)
        found = self._run(scripts.shell(probe.SCRIPT), _SHORT_S)
        around = probe.parse(found.stdout.decode(errors="replace"))
        process = probe.main_process(around.processes)
        if process is None:
            return Target(f"Pod/{self.name}", probe.NO_PROCESS, Language.UNKNOWN, around)
        language = probe.language(process.executable)
        target = Target(f"Pod/{self.name}", process, language, around)
        if language is Language.JVM and self.arthas is not None:
            return replace(target, attachable=self._has_attach_module())
        if language is Language.PYTHON and direct_obstacle(around, process.uid):
            return replace(target, ephemeral_refusal=self._ephemeral_refusal(target))
        return target

    def profile(self, plan: Plan, target: Target, request: Request, notify: Notify) -> Profile:
        """The profile as planned.

        Raises:
            LightragctlError: it failed; the message says why.
        """
        match plan.tool:
            case Tool.PPROF:
                return Profile(self._pprof(request, target))
            case Tool.ARTHAS:
                return Profile(self._with_arthas(target, request, notify))
            case Tool.PY_SPY:
                return self._py_spy(plan, target, request, notify)
        return Profile(self._signalled(plan, target))

    def _run(self, command: Sequence[str], within_s: float, feed: bytes = b"", container: str = "") -> Output:
        place = (self.scope.namespace, self.name, container or self.container)
        return capture_in_pod(self.client, place, command, within_s, feed)

    def _pprof_port(self) -> int:
        """The port of Milvus's metrics, which serves /debug/pprof too; 0 where the pod has none."""
        ports = [one.get("containerPort") for one in spec_of(self.pod)["containers"][0].get("ports") or ()]
        return METRICS_PORT if METRICS_PORT in ports else 0

    def _has_attach_module(self) -> bool:
        found = self._run(["java", "--list-modules"], _SHORT_S)
        return b"jdk.attach" in found.stdout

    def _ephemeral_refusal(self, target: Target) -> str:
        """Why the cluster would reject the container, by a server-side dry run; empty if it would not."""
        try:
            self._add(self._container("lightragctl-profiler", target), 60, dry_run=True)
        except LightragctlError as error:
            return error.message
        return ""

    def _container(self, name: str, target: Target) -> dict[str, object]:
        needs = needs_capability(target.around)
        return ephemeral.container_of(name, self.image, self.container, target.process.uid, needs)

    def _add(self, container: dict[str, object], lives_s: int, dry_run: bool) -> None:
        for left in reversed(range(_TRIES)):
            pod = ephemeral.with_container(self._read(), container, lives_s)
            try:
                self.client.replace_part(pod, "ephemeralcontainers", dry_run=dry_run)
                return
            except ChangedMeanwhileError:
                if not left:
                    raise

    def _read(self) -> KubernetesObject:
        found = self.client.get(ObjectRef("v1", "Pod", self.scope.namespace, self.name))
        if found is None or found["metadata"]["uid"] != self.pod["metadata"]["uid"]:
            raise NotRunningError(f"Pod/{self.name} is gone", Hint("see the release: ", Command("status")))
        return found

    def _py_spy(self, plan: Plan, target: Target, request: Request, notify: Notify) -> Profile:
        if plan.access is Access.EPHEMERAL_CONTAINER:
            container = self._start_beside(target, request, notify)
            program, scratch = "py-spy", "/tmp"
        else:
            container, program, scratch = "", target.around.py_spy, target.around.scratch
        pid = target.process.pid
        if request.artifact is Artifact.DUMP:
            command = scripts.py_spy_dump(program, pid)
        else:
            notify(Event(f"sampling for {request.duration_s} s", target.name))
            command = scripts.py_spy_record(program, scratch, pid, request.duration_s)
        found = self._run(command, request.duration_s + _SHORT_S, container=container)
        return Profile(checked(found, target, request), container)

    def _start_beside(self, target: Target, request: Request, notify: Notify) -> str:
        """The name of an ephemeral container that runs.

        Raises:
            WaitExpired: it has not started in time.
        """
        there = [one["name"] for one in spec_of(self._read()).get("ephemeralContainers") or ()]
        name = f"lightragctl-profiler-{len(there) + 1}"
        notify(Event(f"adding ephemeral container {name}", target.name))
        self._add(self._container(name, target), request.duration_s + ephemeral.SPARE_S, dry_run=False)
        until_s = time.monotonic() + _START_S
        reason = ""
        while time.monotonic() < until_s:
            pod = self._read()
            if ephemeral.is_running(pod, name):
                return name
            reason = ephemeral.obstacle(pod, name) or reason
            notify(Event(f"waiting for ephemeral container {name}: {reason or 'starting'}", target.name, passing=True))
            time.sleep(_POLL_S)
        message = f"ephemeral container {name} of Pod/{self.name} has not started in {_START_S:g} s: {reason}"
        raise WaitExpired(message, f"kubectl describe pod -n {self.scope.namespace} {self.name}")

    def _with_arthas(self, target: Target, request: Request, notify: Notify) -> bytes:
        assert self.arthas is not None
        packed = scripts.pack_arthas(self.arthas.read_bytes())
        folder = f"{target.around.scratch}/{scripts.FOLDER}"
        notify(Event(f"copying Arthas to {folder} ({len(packed) // 1_000_000} MB)", target.name))
        try:
            checked(self._run(scripts.unpack_arthas(folder, len(packed)), _ARTHAS_S, packed), target, request)
            self._sample(folder, target, request, notify)
            return checked(self._run(scripts.read_graph(folder), _ARTHAS_S), target, request)
        finally:
            self._run(scripts.remove(folder), _SHORT_S)

    def _sample(self, folder: str, target: Target, request: Request, notify: Notify) -> None:
        """Sample with Arthas; its agent is stopped in any case.

        Raises:
            UnavailableError: it did not start.
        """
        pid = target.process.pid
        try:
            started = self._run(scripts.arthas_commands(folder, pid, scripts.START), _ARTHAS_S)
            if b"Profiling started" not in started.stdout:
                message = f"Arthas did not start in {target.name}: {_last_line(started)}"
                raise UnavailableError(message, "use --format dump")
            notify(Event(f"sampling for {request.duration_s} s", target.name))
            time.sleep(request.duration_s)
        finally:
            self._run(scripts.arthas_commands(folder, pid, scripts.stop(folder)), _ARTHAS_S)

    def _signalled(self, plan: Plan, target: Target) -> bytes:
        """The dump that the process writes to its log when it gets a signal."""
        before = self._log()
        self._run(scripts.send_signal(dump_signal(plan.tool), target.process.pid), _SHORT_S)
        dump, last = "", None
        until_s = time.monotonic() + _SHORT_S
        while time.monotonic() < until_s and (not dump or dump != last):
            time.sleep(_POLL_S)
            last, dump = dump, scripts.new_dump(before, self._log(), dump_marker(plan.tool))
        if not dump:
            raise UnavailableError(
                f"{target.name} wrote no stack dump in {_SHORT_S:g} s", Hint("see: ", Command("logs"))
            )
        return dump.encode()

    def _log(self) -> list[str]:
        lines = self.client.log(self.scope.namespace, self.name, tail_lines=_TAIL_LINES, follow=False, previous=False)
        return list(lines)

    def _pprof(self, request: Request, target: Target) -> bytes:
        """Raises UnavailableError: the endpoint does not respond."""
        sampled = request.artifact is Artifact.FLAMEGRAPH
        query = f"profile?seconds={request.duration_s}" if sampled else "goroutine?debug=2"
        failures: list[str] = []
        tunnel = Tunnel(self.client, lambda: (self.scope.namespace, self.name, target.pprof_port), 0, failures.append)
        try:
            url = f"http://127.0.0.1:{tunnel.port}/debug/pprof/{query}"
            answer = httpx.get(url, timeout=request.duration_s + _SHORT_S, trust_env=False).raise_for_status()
        except httpx.HTTPError as error:
            reason = failures[0] if failures else str(error) or type(error).__name__
            message = f"/debug/pprof of {target.name} does not respond: {reason}"
            raise UnavailableError(message, Hint("see the pod: ", Command("status"))) from error
        finally:
            tunnel.close()
        return answer.content


def _last_line(found: Output) -> str:
    lines = (found.stderr or found.stdout).decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit status {found.status}"
