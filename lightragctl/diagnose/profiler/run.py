"""Profiles a pod, or a component of a local release: finds the target, plans, profiles. Opens the release."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lightragctl.core.errors import NotRunningError, UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject, ObjectRef
from lightragctl.core.result import Notify
from lightragctl.deploy.own_image import own_image
from lightragctl.deploy.runtime import KubernetesRuntime
from lightragctl.diagnose.profiler import local
from lightragctl.diagnose.profiler.model import Plan, Profile, Request, Target
from lightragctl.diagnose.profiler.plan import make_plan
from lightragctl.diagnose.profiler.pod import PodProfiler
from lightragctl.kube.client import ClusterClient
from lightragctl.kube.objects import is_ready, name_of
from lightragctl.local.runtime import LocalRuntime
from lightragctl.observe.snapshot import read_snapshot
from lightragctl.release.release import Release


@dataclass(frozen=True)
class Profiling:
    """A process to profile and how.

    Attributes:
        release: opened.
        name: of a pod or a component; on this machine of a component.
        request: what the user wants.
        arthas: the archive of Arthas; None: not at hand.
    """

    release: Release
    name: str
    request: Request
    arthas: Path | None = None

    @cached_property
    def target(self) -> Target:
        """What is profiled; reads only. Errors as of `PodProfiler.target` and `local.find_target`."""
        runtime = self.release.runtime
        if isinstance(runtime, LocalRuntime):
            return local.find_target(runtime, self.name)
        return self._pod.target()

    @cached_property
    def plan(self) -> Plan:
        """How; errors as of `make_plan`."""
        return make_plan(self.request, self.target)

    def profile(self, notify: Notify) -> Profile:
        """The profile; errors as of the profilers."""
        runtime = self.release.runtime
        if isinstance(runtime, LocalRuntime):
            return local.profile(runtime.files, self.plan, self.target, self.request, notify)
        return self._pod.profile(self.plan, self.target, self.request, notify)

    @cached_property
    def _pod(self) -> PodProfiler:
        runtime = self.release.runtime
        assert isinstance(runtime, KubernetesRuntime)
        client = runtime.client
        assert isinstance(client, ClusterClient)
        image = own_image(runtime.scope, self.release.loaded.profile.image)
        return PodProfiler(client, runtime.scope, self._find_pod(runtime), image, self.arthas)

    def _find_pod(self, runtime: KubernetesRuntime) -> KubernetesObject:
        """The pod of this name in the namespace, else a pod of this component, a ready one if there is one.

        Raises:
            NotRunningError: there is none.
        """
        name = self.name.removeprefix("Pod/").removeprefix("pod/")
        found = runtime.client.get(ObjectRef("v1", "Pod", runtime.namespace, name))
        if found is not None:
            return found
        snapshot = read_snapshot(runtime.scope)
        pods = sorted(snapshot.pods_of(name), key=lambda one: (not is_ready(one), name_of(one)))
        if not pods:
            message = f"there is no pod and no component '{name}' with pods in namespace {runtime.namespace}"
            raise NotRunningError(
                message, Hint("list them: ", Command("status"), f"; kubectl get pods -n {runtime.namespace}")
            )
        return pods[0]


def check_archive(arthas: Path | None) -> None:
    """Refuse a missing archive before anything is changed.

    Raises:
        UsageError: it is no file.
    """
    if arthas is not None and not arthas.is_file():
        raise UsageError(f"there is no file {arthas}", "pass the archive arthas-packaging-*-bin.zip")
