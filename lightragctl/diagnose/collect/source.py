"""What collectors read from: the release, its addresses, one HTTP client; requests are counted. Does network I/O."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import httpx

from lightragctl.core.errors import LightragctlError
from lightragctl.core.profile import Runtime
from lightragctl.deploy.inventory import Inventory
from lightragctl.deploy.rollout_plan import read_inventory
from lightragctl.deploy.runtime import KubernetesRuntime
from lightragctl.diagnose.deployed import deployed
from lightragctl.diagnose.facts import Fact, Facts
from lightragctl.diagnose.model import Deployed
from lightragctl.kube.client import ClusterClient
from lightragctl.kube.remembered import RememberedCluster
from lightragctl.kube.scope import Scope
from lightragctl.local.files import ReleaseFiles, data_home
from lightragctl.release.release import Release

ANSWER_S = 5.0
"""Deadline of one HTTP request of a collector."""


@dataclass
class Source:
    """A release to collect from.

    Attributes:
        release: opened; `now` in unix seconds.
        symptom_only: facts to collect, by name; empty: all.
    """

    release: Release
    now: float
    requests: int = 0
    _bytes_read: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _addresses: dict[str, Mapping[str, str] | LightragctlError] = field(default_factory=dict)

    @cached_property
    def http(self) -> httpx.Client:
        """A client without proxies: all addresses are on loopback."""
        return httpx.Client(timeout=ANSWER_S, trust_env=False, event_hooks={"response": [self._count]})

    def _count(self, response: httpx.Response) -> None:
        size = len(response.read())
        with self._lock:
            self.requests += 1
            self._bytes_read += size

    @property
    def is_local(self) -> bool:
        """Whether the release runs as processes of this machine."""
        return self.release.loaded.profile.runtime is Runtime.LOCAL

    @cached_property
    def files(self) -> ReleaseFiles:
        """The folder of a local release."""
        return ReleaseFiles(data_home(self.release.environ) / self.release.name)

    @cached_property
    def scope(self) -> Scope:
        """A release on a cluster, of which each object is read once."""
        scope = self.runtime.scope
        return replace(scope, cluster=RememberedCluster.of(scope.cluster))

    @property
    def runtime(self) -> KubernetesRuntime:
        """The runtime of a release on a cluster."""
        runtime = self.release.runtime
        assert isinstance(runtime, KubernetesRuntime)
        return runtime

    @cached_property
    def record(self) -> Inventory | None:
        """The record of a release on a cluster."""
        return read_inventory(self.scope)

    @cached_property
    def deployed(self) -> Deployed:
        """The release by its record; by the profile where there is none that can be read."""
        loaded, name = self.release.loaded, self.release.name
        if self.is_local:
            wanted = self.files.read_desired()
            if wanted is not None:
                names: Sequence[str] = [one.name for one in wanted.processes]
                return deployed(name, wanted.profile_name, wanted.profile, names, self.now)
        elif record := self._read_record():
            return deployed(name, record.profile_name, record.profile, record.components, self.now)
        return deployed(
            name, loaded.name, loaded.profile.model_dump(mode="json"), list(self.release.plan.components), self.now
        )

    def _read_record(self) -> Inventory | None:
        try:
            with self._lock:
                return self.record
        except LightragctlError:
            return None

    def addresses(self, component: str) -> Mapping[str, str]:
        """Addresses of the component's ready replicas, by name.

        Raises:
            LightragctlError: none can be reached, or we may not.
        """
        with self._lock:
            if component not in self._addresses:
                try:
                    self._addresses[component] = self.release.runtime.endpoints(component)
                except LightragctlError as error:
                    self._addresses[component] = error
            found = self._addresses[component]
        if isinstance(found, LightragctlError):
            raise found
        return found

    def address(self, component: str) -> str:
        """The address of one replica; raises as `addresses`."""
        return next(iter(self.addresses(component).values()))

    def bytes_read(self) -> int:
        """Size of all responses so far, of services and of the API server."""
        cluster = None if self.is_local else self.runtime.client
        return self._bytes_read + (cluster.bytes_read if isinstance(cluster, ClusterClient) else 0)

    def api_requests(self) -> int:
        """Requests to the API server so far; 0 of a local release."""
        cluster = None if self.is_local else self.runtime.client
        return cluster.requests if isinstance(cluster, ClusterClient) else 0


Read = Callable[[Source, Facts], None]


@dataclass(frozen=True)
class Collector:
    """Reads some facts from one source.

    Attributes:
        name: for progress and messages.
        provides: the facts that it puts.
        read: puts them; what it raises is the reason of those that it did not put.
        runtime: the one where it works; None: both.
        deadline_s: what is not there by then is missing.
        component: the component that must be deployed; empty: none.
    """

    name: str
    provides: tuple[Fact[Any], ...]
    read: Read
    runtime: Runtime | None = None
    deadline_s: float = 10.0
    component: str = ""
