"""Checks of a release before it is upgraded: health, drift, room for the canary. Reads only."""

from collections import Counter
from collections.abc import Mapping, Sequence

from lightragctl.checks.preflight import check_quota
from lightragctl.checks.quota import object_counts, requested
from lightragctl.core.errors import NotRunningError, RefusedError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import ObjectRef
from lightragctl.deploy.apply import read_live
from lightragctl.deploy.desired_state import DesiredState
from lightragctl.deploy.inventory import Inventory, ReleasePhase
from lightragctl.deploy.revision_store import read_revision
from lightragctl.deploy.rollout_plan import drift_since, read_inventory
from lightragctl.kube.scope import Scope
from lightragctl.observe.kstatus import Status
from lightragctl.observe.snapshot import read_snapshot, resource_status
from lightragctl.upgrade.canary import canary_objects
from lightragctl.upgrade.plan import canary_stages
from lightragctl.vectors.inspect import CollectionState


def check_release(scope: Scope, operation_id: str, desired: DesiredState, canaries: Sequence[str]) -> Inventory:
    """The inventory of a release that may be upgraded.

    Args:
        scope: of the release.
        operation_id: of the upgrade.
        desired: what it leads to.
        canaries: components that get a canary.

    Raises:
        RefusedError: it is not ready, its last change is unfinished, or others have changed it.
        QuotaError: a quota has no room for a canary.
    """
    inventory = read_inventory(scope)
    if inventory is None:
        raise NotRunningError(f"there is no release '{scope.release}'", Hint("start it: ", Command("up")))
    if inventory.phase is not ReleasePhase.APPLIED:
        raise RefusedError(f"release '{scope.release}' is {inventory.phase}", Hint("finish it: ", Command("up")))
    _refuse_unready(scope, inventory)
    _refuse_drift(scope, inventory)
    _refuse_full(scope, operation_id, desired, canaries)
    return inventory


def store_obstacle(before: Mapping[str, int] | None, now: Mapping[str, CollectionState]) -> str:
    """Why an upgrade has to wait for the vector store: rows without their index; empty: it does not.

    Args:
        before: by collection: rows without their index at the look before; None at the first.
        now: the collections.

    Raises:
        RefusedError: a collection is being loaded, or an index is not built any further.
    """
    loading = [name for name, one in now.items() if one.state == "Loading"]
    if loading:
        message = f"collections are not loaded yet: {', '.join(sorted(loading))}"
        raise RefusedError(message, Hint("see why: ", Command("diagnose")))
    pending = pending_rows(now)
    stuck = [name for name, rows in pending.items() if before is not None and rows >= before.get(name, rows + 1)]
    if stuck:
        message = f"the index is not built any further: {', '.join(sorted(stuck))}"
        raise RefusedError(message, Hint("see why: ", Command("diagnose")))
    return f"index builds: {', '.join(f'{name} {rows} rows' for name, rows in pending.items())}" if pending else ""


def pending_rows(now: Mapping[str, CollectionState]) -> dict[str, int]:
    """By loaded collection: rows without their index, where there are any."""
    return {name: one.pending_rows for name, one in now.items() if one.state == "Loaded" and one.pending_rows}


def stable_pods(scope: Scope, component: str) -> int:
    """The number of pods that the component's Deployment has."""
    name = f"{scope.release}-{component}"
    there = scope.cluster.get(ObjectRef("apps/v1", "Deployment", scope.namespace, name))
    if there is None:
        raise NotRunningError(f"Deployment/{name} does not exist", Hint("see: ", Command("status")))
    return int(there["spec"].get("replicas", 1))


def _refuse_unready(scope: Scope, inventory: Inventory) -> None:
    snapshot = read_snapshot(scope)
    waiting = [
        f"{name}: {found.message or found.status}"
        for name in inventory.components
        if (found := resource_status(snapshot, name)).status is not Status.CURRENT
    ]
    if waiting:
        message = f"an upgrade starts from a release that is ready; not ready: {'; '.join(waiting)}"
        raise RefusedError(message, Hint("see why: ", Command("status")))


def _refuse_drift(scope: Scope, inventory: Inventory) -> None:
    last = read_revision(scope, inventory.revision) if inventory.revision else None
    if last is None:
        return
    inside = [one for one in last.objects if one["metadata"].get("namespace") and one["kind"] != "Secret"]
    found = drift_since(inventory, last, read_live(scope, inside))
    if found:
        lines = "\n".join(f"    {one}" for one in found)
        hint = Hint("take it over: ", Command("up", "--force-conflicts"), "; or set drift.ignore in the profile")
        raise RefusedError(f"the release has drifted, its fields were changed since it was applied:\n{lines}", hint)


def _refuse_full(scope: Scope, operation_id: str, desired: DesiredState, canaries: Sequence[str]) -> None:
    """Refuse canaries at their largest and one more pod each, which the promotion starts before it stops another."""
    quotas = scope.cluster.select("v1", "ResourceQuota", scope.namespace)
    made = [
        one
        for name in canaries
        for one in canary_objects(desired.objects, name, canary_stages(stable_pods(scope, name))[-1] + 1, operation_id)
    ]
    if quotas and made:
        check_quota(quotas, requested(made) + object_counts(made), Counter())
