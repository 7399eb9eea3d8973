"""What a component is: declared once, run as a process or rendered as Kubernetes objects. Pure.

A component's file in `lightragctl.components` declares its values (what a profile may set), its probes, the settings
that its process is started with, and its process form. Its Kubernetes form is its folder in `templates/`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from lightragctl.core.bounds import ImageTag, Name
from lightragctl.core.errors import ProfileError
from lightragctl.core.findings import Violation
from lightragctl.core.profile import Profile, Runtime, ServedModel
from lightragctl.core.settings import (
    OPEN_REQUESTS_S,
    Port,
    ResourceAmounts,
    SecretKey,
    SecretRef,
    ServiceSettings,
    StrictModel,
)
from lightragctl.core.versions import Hop

_SPARE_S = 15
"""Added to the longest expected stop time of a pod before it is killed."""
_LONGEST_S = 7 * 24 * 3600
"""Upper bound of timeouts, far above any real one; Kubernetes stores them as 32-bit seconds."""


class Resources(StrictModel):
    """Resource requests and limits of a container."""

    requests: ResourceAmounts
    limits: ResourceAmounts


class Autoscale(StrictModel):
    """Autoscaling bounds and the metrics that drive it.

    `cpu_percent`: target utilization of the requested CPU. `requests_per_second`: target per pod, an external metric
    of this name. The metric that needs more pods wins. Scale-down uses the highest recommendation of the last
    `shrink_after_s` seconds.
    """

    min: Annotated[int, Field(ge=1, le=1000)] = 2
    max: Annotated[int, Field(ge=1, le=1000)]
    cpu_percent: Annotated[int, Field(ge=1, le=1000)] | None = 70
    requests_per_second: Annotated[int, Field(ge=1)] | None = None
    shrink_after_s: Annotated[int, Field(ge=0, le=3600)] = 300


class DisruptionBudget(StrictModel):
    """A PodDisruptionBudget for node drains; exactly one of the two fields is set."""

    min_available: Annotated[int, Field(ge=0)] | None = None
    max_unavailable: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> "DisruptionBudget":
        if (self.min_available is None) == (self.max_unavailable is None):
            raise ValueError("set exactly one of min_available, max_unavailable")
        return self


class Workload(StrictModel):
    """Replicas, resources and placement of pods on Kubernetes.

    `replicas` defaults to one, or to the bounds of `autoscale`. Without `disruption_budget`, one of several pods may be
    unavailable at a time; a single pod gets none: a budget would only block node drains. `start_timeout_s` and
    `stop_grace_s`: how long a pod may take to start and to stop; they default to what the component declares.
    """

    replicas: Annotated[int, Field(ge=0, le=1000)] | None = None
    autoscale: Autoscale | None = None
    disruption_budget: DisruptionBudget | None = None
    resources: Resources
    pool: str | None = None
    priority: Name | None = None
    start_timeout_s: Annotated[int, Field(ge=1, le=_LONGEST_S)] | None = None
    stop_grace_s: Annotated[int, Field(ge=0, le=_LONGEST_S)] | None = None

    @property
    def least(self) -> int:
        """The minimum number of pods."""
        if self.autoscale:
            return self.autoscale.min
        return 1 if self.replicas is None else self.replicas

    @property
    def budget(self) -> DisruptionBudget | None:
        """The disruption budget; None for a single pod."""
        if self.disruption_budget:
            return self.disruption_budget
        return DisruptionBudget(max_unavailable=1) if self.least > 1 else None


class Values(StrictModel):
    """Values that every component's section of a profile has."""

    enabled: bool = True
    port: Port

    @property
    def address(self) -> str | None:
        """Its address when it is run externally; then it is not deployed."""
        return None


ValuesT = TypeVar("ValuesT", bound=Values)


class WorkloadValues(Values, Workload):
    """Values of a component that is a stateless Deployment on Kubernetes.

    `drain_s`: how long a terminating pod still accepts requests, until endpoints are updated everywhere.
    """

    drain_s: Annotated[float, Field(ge=0, le=600)] = 5.0


class ServiceValues(WorkloadValues):
    """Values of one of our services. `tag`: of its image, where it differs from the profile's `image.tag`."""

    tag: ImageTag | None = None


@dataclass(frozen=True)
class Part:
    """The pods of one role of a component; most components have one part, without a role.

    Attributes:
        component: its name.
        role: distinguishes it from the component's other parts, in names and labels.
        values: how it runs.
        kind: of its workload.
        apart: whether its pods must never share a node (required anti-affinity).
        command: of its container, if it depends on the role.
        start_timeout_s: how long a pod may take to start.
        stop_grace_s: how long a pod may take to stop.
        section: subsection of the component's values in a profile, such as `roles.proxy`; empty: none.
    """

    component: str
    role: str
    values: Workload
    kind: str = "Deployment"
    apart: bool = False
    command: tuple[str, ...] = ()
    start_timeout_s: int = 60
    stop_grace_s: int = 40
    section: str = ""

    @property
    def key(self) -> str:
        """The key of its values in a profile."""
        return f"components.{self.component}" + (f".{self.section}" if self.section else "")

    @property
    def suffix(self) -> str:
        """Appended to the component's name in names of the part's objects."""
        return f"-{self.role}" if self.role else ""


@dataclass(frozen=True)
class Probes:
    """Readiness and liveness probes: an HTTP path on the component's port; None: a TCP check of the port.

    `ready_port` is another port for `ready`, for a process of ours that answers for another one.

    `live` must not depend on anything behind the component, or one slow part restarts them all.

    `start_timeout_s` is the default start timeout of a pod, and `min_start_s` the shortest that a profile may set;
    None: the default.
    """

    ready: str | None
    live: str | None
    start_timeout_s: int
    ready_port: Callable[["Plan"], int] | None = None
    min_start_s: int | None = None

    @property
    def least_start_s(self) -> int:
        """The shortest acceptable start timeout, in seconds."""
        return self.min_start_s or self.start_timeout_s


@dataclass(frozen=True)
class ProcessSpec:
    """A component as a process on this machine.

    Attributes:
        module: the Python module to run with `-m`.
        arguments: what follows it.
        settings: written as JSON to a file whose path is added as `--settings PATH`; None if it has no settings.
        stop_grace_s: how long after SIGTERM before SIGKILL.
    """

    module: str
    arguments: tuple[str, ...]
    settings: ServiceSettings | None = None
    stop_grace_s: float = 10.0


@dataclass(frozen=True)
class Plan:
    """A profile under a release name, with every component that it enables."""

    release: str
    profile_name: str
    profile: Profile
    components: Mapping[str, "Component"]

    def values(self, name: str) -> Values:
        """The component's values, as the model that all components share.

        Raises:
            ProfileError: see `values_of`.
        """
        return self.values_of(name, Values)

    def values_of(self, name: str, model: type[ValuesT]) -> ValuesT:
        """The component's values, as the model that the component declares.

        Raises:
            ProfileError: the profile does not enable the component, and another one needs it.
        """
        if name not in self.components:
            raise self._not_run(name)
        values = self.profile.components[name]
        assert isinstance(values, model)
        return values

    def _not_run(self, name: str) -> ProfileError:
        section = self.profile.components.get(name)
        if isinstance(section, Values) and section.enabled:
            message = f"profile '{self.profile_name}' does not run {name}: it uses another server instead"
            return ProfileError(message, "remove the url or server of the model that it serves")
        message = f"profile '{self.profile_name}' does not enable {name}, which another component needs"
        return ProfileError(message, f"add it under components, or set components.{name}.enabled: true")

    def is_served_elsewhere(self, model: ServedModel, ours: str) -> bool:
        """Whether another server than our component `ours` serves the model, and no model's url leads to `ours`."""
        models, own = self.profile.models, urlsplit(self.url(ours))
        urls = [
            urlsplit(one.url.replace("//localhost", "//127.0.0.1"))
            for one in (models.embedding, models.chat)
            if one.url
        ]
        names = [url.hostname or "" for url in urls if url.port == own.port]
        leads_here = any(name == own.hostname or name.startswith(f"{own.hostname}.") for name in names)
        return bool(model.url or model.server) and not leads_here

    def port(self, name: str) -> int:
        """The port that the component listens on."""
        return self.values(name).port + self.port_offset

    @property
    def port_offset(self) -> int:
        """The offset added to every port of the profile."""
        return self.profile.local.port_offset if self.profile.runtime is Runtime.LOCAL else 0

    def url(self, name: str) -> str:
        """The component's address as the other components see it."""
        section = self.profile.components.get(name)
        if isinstance(section, Values) and section.enabled and section.address:
            return section.address
        host = "127.0.0.1" if self.profile.runtime is Runtime.LOCAL else f"{self.release}-{name}"
        return f"http://{host}:{self.port(name)}"

    def listen_host(self) -> str:
        """The address to listen on: this machine only, or every address of a pod."""
        return "127.0.0.1" if self.profile.runtime is Runtime.LOCAL else "0.0.0.0"

    def drain_s(self, name: str) -> float:
        """Drain time of the component in seconds; 0 on the local runtime."""
        values = self.values(name)
        if self.profile.runtime is Runtime.LOCAL or not isinstance(values, WorkloadValues):
            return 0.0
        return values.drain_s

    def priority_class(self, name: str) -> str:
        """The PriorityClass of a component's `priority`: the release's own of this name, else the cluster's.

        The name contains the value, because the value of a PriorityClass is immutable.
        """
        value = (self.profile.priorities or {}).get(name)
        return name if value is None else f"{self.profile.namespace}-{self.release}-{name}-{value}"

    def parts(self) -> list["Part"]:
        """The parts of every component, in the components' alphabetical order."""
        found: list[Part] = []
        for name, component in sorted(self.components.items()):
            values = self.values(name)
            if component.parts:
                found += component.parts(self)
            elif isinstance(values, Workload):
                found.append(self._only_part(name, values))
        return found

    def stop_grace_s(self, name: str, values: "Workload") -> int:
        """Termination grace period of the component's pods: as set, else drain time, stop time and a margin."""
        if values.stop_grace_s is not None:
            return values.stop_grace_s
        return int(self.drain_s(name) + self.components[name].stop_s) + _SPARE_S

    def _only_part(self, name: str, values: "Workload") -> "Part":
        return Part(
            name,
            "",
            values,
            start_timeout_s=values.start_timeout_s or self.components[name].probes.start_timeout_s,
            stop_grace_s=self.stop_grace_s(name, values),
        )

    def secret(self, name: str, reference: SecretRef | None) -> SecretRef | None:
        """The reference as a process sees it: a Kubernetes Secret arrives as the environment variable `name`."""
        return SecretRef(env=name) if reference and reference.secret else reference


@dataclass(frozen=True)
class Component:
    """A part that lightragctl deploys.

    Attributes:
        name: as in the profile, in labels and in the folder of templates.
        summary: one line for people.
        requires: components that must be ready before this one starts.
        values: the model of its section in a profile.
        probes: its readiness and liveness.
        settings: of its process; None when it is not a process of ours.
        process: its form on this machine, given the plan and a folder for its data; None when it has none.
        unsupported: a violation when the plan's values cannot run on its runtime; None when they can.
        secrets: environment variables of its pod that come from Kubernetes Secrets; None when there are none.
        generated_key: of a release, the Secret with the key that `up` makes once where the values say `api_key:
            generated`; None: it requires no key.
        parts: its parts on Kubernetes, when it is not one Deployment.
        environment: further environment variables of its pods; None when there are none.
        update_order: its roles, in the order in which a running release is updated; empty: all at once.
        calls: further components that it connects to; it can start without them.
        outside: addresses outside the release that it connects to.
        ports: that it listens on; None: its own port.
        metrics_ports: that serve its metrics; None: `ports`.
        peers: whether its pods connect to each other.
        entry: whether clients outside the release connect to it.
        redundant: whether it needs two pods or more in production, as it serves all requests.
        store: whether other components refer to its data, so that losing it leaves them inconsistent.
        stateful: whether it writes data in a version-specific format, wherever it is stored.
        upgrades: known version changes of its image between minors; within a minor all are supported.
        quorum: whether its pods need a majority.
        stop_s: how long its process may take to exit once it has drained.
        node_credentials: whether it gets cloud credentials from the node's metadata service; None: never.
        open_to_all: whether clients connect from any address, as to a NodePort; None: never.
        replaced: whether the profile uses another server instead, so that it is not run; None: never.
    """

    name: str
    summary: str
    requires: tuple[str, ...]
    values: type[Values]
    probes: Probes
    settings: Callable[[Plan], ServiceSettings] | None
    process: Callable[[Plan, Path], ProcessSpec] | None
    unsupported: Callable[[Plan], Violation | None] | None = None
    secrets: Callable[[Plan], Mapping[str, SecretKey]] | None = None
    generated_key: Callable[[str], SecretKey] | None = None
    parts: Callable[[Plan], Sequence[Part]] | None = None
    environment: Callable[[Plan], Mapping[str, str]] | None = None
    update_order: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    outside: Callable[[Plan], Sequence[str]] | None = None
    ports: Callable[[Plan], Sequence[int]] | None = None
    metrics_ports: Callable[[Plan], Sequence[int]] | None = None
    peers: bool = False
    entry: bool = False
    redundant: bool = False
    quorum: bool = False
    store: bool = False
    stateful: bool = False
    upgrades: tuple[Hop, ...] = ()
    stop_s: float = OPEN_REQUESTS_S
    node_credentials: Callable[[Plan], bool] | None = None
    open_to_all: Callable[[Plan], bool] | None = None
    replaced: Callable[[Plan], bool] | None = None


def start_order(components: Mapping[str, Component]) -> list[str]:
    """The components' names, each after those it requires; ties in alphabetical order.

    A required component that is not in `components` is ignored: the profile replaces it.
    """
    return order_of_need({name: component.requires for name, component in components.items()})


def order_of_need(requires: Mapping[str, Sequence[str]]) -> list[str]:
    """Topological order of the names; unknown requirements are ignored, ties are in alphabetical order."""
    placed: list[str] = []
    waiting = sorted(requires)
    while waiting:
        ready = [name for name in waiting if not set(requires[name]) & set(waiting)]
        if not ready:
            raise ValueError(f"components require each other (cycle): {', '.join(waiting)}")
        placed += ready
        waiting = [name for name in waiting if name not in ready]
    return placed
