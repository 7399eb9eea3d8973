"""The desired state of a release, from a plan or an earlier revision. Reads the templates only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightragctl.core.component import Plan, order_of_need
from lightragctl.core.objects import KubernetesObject
from lightragctl.core.placement import NodePool
from lightragctl.core.profile import IgnoreRule
from lightragctl.core.runtime import Revision
from lightragctl.deploy.render import render_plan


@dataclass(frozen=True)
class DesiredState:
    """The desired state of a release.

    Attributes:
        profile_name: of the profile.
        profile: its values; secrets are only references.
        objects: every object of the release.
        requires: by component, those that must be ready before it.
        command: of the user: `up` or `rollback`.
        description: for the history; empty: a summary of the changes.
        plan: the source of the objects; None for an earlier revision.
        overrides: by profile key that an upgrade sets beside the profile: the value before.
    """

    profile_name: str
    profile: Mapping[str, Any]
    objects: tuple[KubernetesObject, ...]
    requires: Mapping[str, tuple[str, ...]]
    command: str = "up"
    description: str = ""
    plan: Plan | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def components(self) -> list[str]:
        """The components in start order."""
        return order_of_need(self.requires)

    @property
    def ignore(self) -> list[IgnoreRule]:
        """Rules for fields that others may change."""
        return ignore_rules(self.profile)

    @property
    def autoscaled_nodes(self) -> list[dict[str, str]]:
        """Labels of the nodes that a cluster autoscaler adds."""
        return autoscaled_nodes(self.profile)


def ignore_rules(profile: Mapping[str, Any]) -> list[IgnoreRule]:
    """The `drift.ignore` rules of a profile's values; older profiles have none."""
    return [IgnoreRule.model_validate(one) for one in (profile.get("drift") or {}).get("ignore") or ()]


def autoscaled_nodes(profile: Mapping[str, Any]) -> list[dict[str, str]]:
    """Labels of the nodes of a profile's autoscaled pools; older profiles have none."""
    pools = [NodePool.model_validate(one) for one in (profile.get("pools") or {}).values()]
    return [pool.node_selector for pool in pools if pool.autoscaled]


def desired_of_plan(plan: Plan, templates: Path) -> DesiredState:
    """The desired state of a plan.

    Raises:
        LightragctlError: it cannot be rendered.
    """
    requires = {name: component.requires for name, component in plan.components.items()}
    values = plan.profile.model_dump(mode="json")
    return DesiredState(plan.profile_name, values, tuple(render_plan(plan, templates)), requires, plan=plan)


def desired_of_revision(revision: Revision, objects: Iterable[KubernetesObject]) -> DesiredState:
    """The desired state of a revision, with the secrets filled in."""
    return DesiredState(
        profile_name=revision.profile_name,
        profile=revision.values,
        objects=tuple(objects),
        requires=revision.requires,
        command="rollback",
        description=f"rollback to {revision.number}",
    )
