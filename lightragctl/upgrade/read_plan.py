"""The plan of an upgrade, from what is deployed and what the profile says. Reads the cluster; writes nothing."""

from collections.abc import Callable, Iterable

from lightragctl.components import all_components
from lightragctl.core.errors import NotRunningError
from lightragctl.core.gates import UpgradeSettings
from lightragctl.core.hint import Command, Hint
from lightragctl.core.runtime import UpOptions
from lightragctl.deploy.desired_state import DesiredState
from lightragctl.deploy.inventory import Inventory
from lightragctl.deploy.kept_upgrade import refuse_undone
from lightragctl.deploy.rollout_plan import check_cluster, plan_rollout, read_inventory
from lightragctl.kube.labels import component_of
from lightragctl.upgrade.gate import gates_of
from lightragctl.upgrade.gates import LOOK_S
from lightragctl.upgrade.plan import Traffic, UpgradePlan, plan_upgrade
from lightragctl.upgrade.samples import Flow, interval
from lightragctl.upgrade.site import Site, read_samples

Pause = Callable[[float], object]


def deployed(site: Site) -> Inventory:
    """The inventory of the release.

    Raises:
        NotRunningError: it does not exist.
    """
    inventory = read_inventory(site.scope)
    if inventory is None:
        raise NotRunningError(f"there is no release '{site.scope.release}'", Hint("start it: ", Command("up")))
    return inventory


def read_plan(site: Site, desired: DesiredState, watch: tuple[float, bool], pause: Pause) -> UpgradePlan:
    """What an upgrade to the desired state would do.

    Args:
        site: of the release.
        desired: its state after the upgrade.
        watch: how long canaries are watched in seconds, and whether there are any.
        pause: waits some seconds, to measure the traffic.

    Raises:
        RefusedError: it would undo an earlier upgrade unnoticed.
        LightragctlError: a prerequisite is missing, or an object would be rejected.
    """
    planned = plan_rollout(site.scope, desired, UpOptions(0), check_cluster(site.scope, desired))
    refuse_undone(planned.undone)
    differing = planned.changes.differing
    ours = {one.name for one in all_components() if one.settings and not one.stateful}
    names = {component_of(one.after or one.before or {}) for one in differing}
    gates = gates_of(UpgradeSettings.model_validate(desired.profile.get("upgrade", {})))
    return plan_upgrade(differing, traffic(site, sorted(names & ours), pause), *watch, gates)


def traffic(site: Site, components: Iterable[str], pause: Pause) -> dict[str, Traffic]:
    """What each component serves, measured between two looks."""
    names = list(components)
    before = {name: read_samples(site, name, 0.0) for name in names}
    if names:
        pause(LOOK_S)
    return {name: _rate(interval(before[name], read_samples(site, name, LOOK_S)).stable) for name in names}


def _rate(flow: Flow) -> Traffic:
    if not flow.pods:
        return Traffic()
    return Traffic(flow.requests / LOOK_S, flow.errors / flow.requests if flow.requests else 0.0)
