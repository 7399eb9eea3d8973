"""What a release is to become: of a plan, or of an earlier revision. Reads the templates only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
    """What a release is to become.

    Attributes:
        profile_name: the profile.
        profile: its values; never a secret, as profiles hold only config_references.
        objects: every object of the release.
        requires: by component, what must be ready before it.
        command: what the user said: `up` or `rollback`.
        description: what it is, in words; empty for what the changes themselves say.
        plan: what it was rendered of; None for an earlier revision, of which only its objects are judged anew.
    """

    profile_name: str
    profile: Mapping[str, Any]
    objects: tuple[KubernetesObject, ...]
    requires: Mapping[str, tuple[str, ...]]
    command: str = "up"
    description: str = ""
    plan: Plan | None = None

    @property
    def components(self) -> list[str]:
        """The components in the order of start."""
        return order_of_need(self.requires)

    @property
    def ignore(self) -> list[IgnoreRule]:
        """Fields that others may change."""
        return ignore_rules(self.profile)

    @property
    def autoscaled_nodes(self) -> list[dict[str, str]]:
        """Labels of nodes that are made when pods ask for them."""
        return autoscaled_nodes(self.profile)


def ignore_rules(profile: Mapping[str, Any]) -> list[IgnoreRule]:
    """The rules of a profile's values; an older profile has none."""
    return [IgnoreRule.model_validate(one) for one in (profile.get("drift") or {}).get("ignore") or ()]


def autoscaled_nodes(profile: Mapping[str, Any]) -> list[dict[str, str]]:
    """Labels of the nodes of a profile's autoscaled pools; an older profile has none."""
    pools = [NodePool.model_validate(one) for one in (profile.get("pools") or {}).values()]
    return [pool.node_selector for pool in pools if pool.autoscaled]


def desired_of_plan(plan: Plan, templates: Path) -> DesiredState:
    """What the plan wants.

    Raises:
        LightragctlError: it cannot be rendered.
    """
    requires = {name: component.requires for name, component in plan.components.items()}
    values = plan.profile.model_dump(mode="json")
    return DesiredState(plan.profile_name, values, tuple(render_plan(plan, templates)), requires, plan=plan)


def desired_of_revision(revision: Revision, objects: Iterable[KubernetesObject]) -> DesiredState:
    """What the release was in a revision, whose objects have their secrets back."""
    return DesiredState(
        profile_name=revision.profile_name,
        profile=revision.values,
        objects=tuple(objects),
        requires=revision.requires,
        command="rollback",
        description=f"rollback to {revision.number}",
    )
