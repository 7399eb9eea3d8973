"""What a component is: declared once, run as a process or rendered as Kubernetes objects. Pure.

A component's file in `lightragctl.components` declares its values (what a profile may set), its probes, the settings
that its process is started with, and its process form. Its Kubernetes form is its folder in `templates/`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from lightragctl.core.errors import ProfileError
from lightragctl.core.profile import Profile, Runtime
from lightragctl.core.settings import Amounts, Port, SecretKey, SecretRef, ServiceSettings, Strict


class Resources(Strict):
    """What a container asks for, and what it may never exceed."""

    requests: Amounts
    limits: Amounts


class Values(Strict):
    """What every component's section of a profile may hold."""

    enabled: bool = True
    port: Port


class WorkloadValues(Values):
    """Values of a component that is a stateless Deployment on Kubernetes.

    `drain_s`: how long a pod that is told to stop takes requests of those who have not heard of it yet.
    """

    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    resources: Resources
    drain_s: Annotated[float, Field(ge=0, le=600)] = 5.0


@dataclass(frozen=True)
class Probes:
    """How to tell that a component works. A path is asked by HTTP on the component's port; None: the port is open.

    `ready_port` gives another port for `ready`, where a process of ours answers for somebody else's.

    `live` must not depend on anything behind the component, or one slow part restarts them all.
    """

    ready: str | None
    live: str | None
    start_timeout_s: int
    ready_port: Callable[["Plan"], int] | None = None


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
        """The component's values from the profile.

        Raises:
            ProfileError: the profile does not have or not enable the component, and another one needs it.
        """
        if name not in self.components:
            message = f"profile '{self.profile_name}' does not enable {name}, which another component needs"
            raise ProfileError(message, f"add it under components, or say components.{name}.enabled: true")
        values = self.profile.components[name]
        assert isinstance(values, Values)
        return values

    def port(self, name: str) -> int:
        """The port that the component listens on."""
        return self.values(name).port + self.port_offset

    @property
    def port_offset(self) -> int:
        """What is added to every port of the profile."""
        return self.profile.local.port_offset if self.profile.runtime is Runtime.LOCAL else 0

    def url(self, name: str) -> str:
        """The component's address as the other components see it."""
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
        unfit: why the plan's values cannot run on its runtime, and what to do; None when they can.
        secrets: environment variables of its pod that come from Kubernetes Secrets; None when there are none.
    """

    name: str
    summary: str
    requires: tuple[str, ...]
    values: type[Values]
    probes: Probes
    settings: Callable[[Plan], ServiceSettings] | None
    process: Callable[[Plan, Path], ProcessSpec] | None
    unfit: Callable[[Plan], tuple[str, str] | None] | None = None
    secrets: Callable[[Plan], Mapping[str, SecretKey]] | None = None


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
