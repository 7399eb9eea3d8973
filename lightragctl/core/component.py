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

from lightragctl.core.bounds import Name
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
"""Between the longest that a pod should need to stop and its being killed."""
_LONGEST_S = 7 * 24 * 3600
"""Longer than any start or stop takes; Kubernetes counts seconds of a deadline in 32 bits."""


class Resources(StrictModel):
    """What a container asks for, and what it may never exceed."""

    requests: ResourceAmounts
    limits: ResourceAmounts


class Autoscale(StrictModel):
    """Between how many pods the cluster chooses, and by what.

    `cpu_percent` of what the pods request; `requests_per_second` that one pod shall get, an external metric of this
    name; the one that wants more pods wins. Fewer than the most of the last `shrink_after_s` seconds are never taken.
    """

    min: Annotated[int, Field(ge=1, le=1000)] = 2
    max: Annotated[int, Field(ge=1, le=1000)]
    cpu_percent: Annotated[int, Field(ge=1, le=1000)] | None = 70
    requests_per_second: Annotated[int, Field(ge=1)] | None = None
    shrink_after_s: Annotated[int, Field(ge=0, le=3600)] = 300


class DisruptionBudget(StrictModel):
    """How many pods must stay, or may be away, while nodes are emptied; exactly one of the two."""

    min_available: Annotated[int, Field(ge=0)] | None = None
    max_unavailable: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> "DisruptionBudget":
        if (self.min_available is None) == (self.max_unavailable is None):
            raise ValueError("a budget names exactly one of min_available, max_unavailable")
        return self


class Workload(StrictModel):
    """How pods of one kind run on Kubernetes: how many, how large, where.

    Without `replicas` it is one, or as many as `autoscale` says. Without `disruption_budget` several pods may miss one
    at a time, and one pod has no budget, which could only stand in the way. `start_timeout_s` and `stop_grace_s`: how
    long a pod may take to start and to stop; without them what the component is known to need.
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
        """How many pods there are at least."""
        if self.autoscale:
            return self.autoscale.min
        return 1 if self.replicas is None else self.replicas

    @property
    def budget(self) -> DisruptionBudget | None:
        """The budget that the pods get; one pod gets none."""
        if self.disruption_budget:
            return self.disruption_budget
        return DisruptionBudget(max_unavailable=1) if self.least > 1 else None


class Values(StrictModel):
    """What every component's section of a profile may hold."""

    enabled: bool = True
    port: Port

    @property
    def address(self) -> str | None:
        """Where it is when others run it; then nothing of it is deployed."""
        return None


ValuesT = TypeVar("ValuesT", bound=Values)


class WorkloadValues(Values, Workload):
    """Values of a component that is a stateless Deployment on Kubernetes.

    `drain_s`: how long a pod that is told to stop takes requests of those who have not heard of it yet.
    """

    drain_s: Annotated[float, Field(ge=0, le=600)] = 5.0


@dataclass(frozen=True)
class Part:
    """Pods of one kind of a component; most components have one part, without a role.

    Attributes:
        component: its name.
        role: what tells it from the component's other parts, in the name and the labels of its objects.
        values: how it runs.
        kind: of its workload.
        apart: whether its pods must never share a node, as they vote or stand in for each other.
        command: what its container runs, where that depends on the role.
        start_timeout_s: how long a pod may take to start.
        stop_grace_s: how long a pod may take to stop.
        section: where in the component's section of a profile its values stand, such as `roles.proxy`; empty: there.
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
        """What follows the component's name in the names of the part's objects."""
        return f"-{self.role}" if self.role else ""


@dataclass(frozen=True)
class Probes:
    """How to tell that a component works. A path is asked by HTTP on the component's port; None: the port is open.

    `ready_port` gives another port for `ready`, where a process of ours answers for somebody else's.

    `live` must not depend on anything behind the component, or one slow part restarts them all.

    `start_timeout_s` is the default of how long a pod may take to start, and `min_start_s` the least that a profile may
    set in its place; None: no less than the default.
    """

    ready: str | None
    live: str | None
    start_timeout_s: int
    ready_port: Callable[["Plan"], int] | None = None
    min_start_s: int | None = None

    @property
    def least_start_s(self) -> int:
        """Less than this is too short for a start."""
        return self.min_start_s or self.start_timeout_s


@dataclass(frozen=True)
class ProcessSpec:
    """A component as a process on this machine.

    Attributes:
        module: the Python module to run with `-m`.
        arguments: what follows it.
        settings: written as JSON to a file whose path is added as `--settings PATH`; None when it takes none.
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
        """The component's values from the profile, for those who need no more than every component has.

        Raises:
            ProfileError: see `values_of`.
        """
        return self.values_of(name, Values)

    def values_of(self, name: str, model: type[ValuesT]) -> ValuesT:
        """The component's values from the profile, as the model that the component declares.

        Raises:
            ProfileError: the profile does not have or not enable the component, and another one needs it.
        """
        if name not in self.components:
            raise self._not_run(name)
        values = self.profile.components[name]
        assert isinstance(values, model)
        return values

    def _not_run(self, name: str) -> ProfileError:
        section = self.profile.components.get(name)
        if isinstance(section, Values) and section.enabled:
            message = f"profile '{self.profile_name}' does not run {name}: it names another server in its place"
            return ProfileError(message, "leave out the url or server of the model that it would serve")
        message = f"profile '{self.profile_name}' does not enable {name}, which another component needs"
        return ProfileError(message, f"add it under components, or say components.{name}.enabled: true")

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
        """What is added to every port of the profile."""
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
        """How long the component goes on when it is told to stop; on one machine nobody needs that."""
        values = self.values(name)
        if self.profile.runtime is Runtime.LOCAL or not isinstance(values, WorkloadValues):
            return 0.0
        return values.drain_s

    def priority_class(self, name: str) -> str:
        """The PriorityClass that a component's `priority` means: the release's own of this name, else the cluster's.

        Its value stands in its name, because it cannot change.
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
        """How long the component's pod may take to stop: what its values say, else to drain, to end and to spare."""
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
        probes: how to tell that it works.
        settings: what its process is told; None when it is not a process of ours.
        process: its form on this machine, given the plan and a folder for its data; None when it has none.
        unsupported: which of the plan's values cannot run on its runtime, and what to do; None when all can.
        secrets: environment variables of its pod that come from Kubernetes Secrets; None when there are none.
        generated_key: of a release, the Secret with the key that `up` makes once where the values say `api_key:
            generated`; None: it asks its clients for none.
        parts: its parts on Kubernetes, when it is not one Deployment.
        environment: further environment variables of its pods; None when there are none.
        calls: components that it reaches beside those it requires: it can start without them.
        outside: addresses that it reaches outside the release.
        ports: on which it is reached; None: on its own port.
        metrics_ports: on which it tells its metrics; None: on `ports`.
        peers: whether its pods reach each other.
        entry: whether clients outside the release reach it.
        redundant: whether in production it has two pods or more, as nobody is answered while it has none.
        store: whether it holds what others believe to be stored, so that they are wrong once its data are gone.
        stateful: whether it writes data in a format of its version, wherever these lie.
        upgrades: changes of its image's version between minors that are known; within a minor all are.
        quorum: whether its pods vote, so that the majority of them must be there.
        stop_s: how long its process may take to end once it has drained.
        node_credentials: whether it asks the node's metadata service for its cloud credentials; None: it never does.
        open_to_all: whether clients come from any address, such as to a port of every node; None: they never do.
        replaced: whether the profile names another server in its place, so that it is not run; None: it never does.
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
    """The components' names, each after those it requires; equals in alphabetical order.

    A required component that is not in `components` is left out: the profile has put something else in its place.
    """
    return order_of_need({name: component.requires for name, component in components.items()})


def order_of_need(requires: Mapping[str, Sequence[str]]) -> list[str]:
    """The names, each after those it requires, as far as these are there; equals in alphabetical order."""
    placed: list[str] = []
    waiting = sorted(requires)
    while waiting:
        ready = [name for name in waiting if not set(requires[name]) & set(waiting)]
        if not ready:
            raise ValueError(f"components require each other in a circle: {', '.join(waiting)}")
        placed += ready
        waiting = [name for name in waiting if name not in ready]
    return placed
