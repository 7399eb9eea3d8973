"""Renders a plan and rolls it out."""

from lightragctl.core import assets
from lightragctl.core.component import Plan
from lightragctl.core.result import Notify
from lightragctl.core.runtime import Approve, Differences, UpOptions
from lightragctl.deploy.desired_state import DesiredState, desired_of_plan
from lightragctl.deploy.rollout import roll_out
from lightragctl.deploy.rollout_plan import check_cluster, differences, plan_rollout
from lightragctl.kube.scope import Scope


def wanted(plan: Plan) -> DesiredState:
    """The desired state of the plan, rendered from the packaged templates.

    Raises:
        LightragctlError: it cannot be rendered.
    """
    return desired_of_plan(plan, assets.root() / "templates")


def bring_up(scope: Scope, plan: Plan, options: UpOptions, approve: Approve, notify: Notify) -> tuple[str, ...]:
    """Roll the plan out; returns the changes as `Kind/name action`. Errors are those of `roll_out`."""
    return roll_out(scope, wanted(plan), options, approve, notify)


def preview(scope: Scope, desired: DesiredState, options: UpOptions) -> Differences:
    """The changes that a rollout would make; writes nothing and acquires no lock.

    Raises:
        LightragctlError: a prerequisite is missing, or an object would be rejected.
    """
    return differences(scope, plan_rollout(scope, desired, options, check_cluster(scope, desired)))
