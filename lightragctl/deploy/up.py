"""Brings a release up: what a plan wants is rendered and rolled out."""

from lightragctl.core import assets
from lightragctl.core.component import Plan
from lightragctl.core.result import Notify
from lightragctl.core.runtime import Approve, Differences, UpOptions
from lightragctl.deploy.prepare import check, differences, prepare
from lightragctl.deploy.rollout import roll_out
from lightragctl.deploy.target import Target, target_of_plan
from lightragctl.kube.scope import Scope


def wanted(plan: Plan) -> Target:
    """What the plan wants of a cluster.

    Raises:
        LightragctlError: it cannot be rendered.
    """
    return target_of_plan(plan, assets.root() / "templates")


def bring_up(scope: Scope, plan: Plan, options: UpOptions, approve: Approve, notify: Notify) -> tuple[str, ...]:
    """Make the release what the plan says; what was changed, as `Kind/name action`. Errors are those of `roll_out`."""
    return roll_out(scope, wanted(plan), options, approve, notify)


def foresee(scope: Scope, target: Target, options: UpOptions) -> Differences:
    """What rolling the target out would do; changes nothing, and takes no lock.

    Raises:
        LightragctlError: something that the release needs is missing, or an object would be refused.
    """
    return differences(scope, prepare(scope, target, options, check(scope, target)))
