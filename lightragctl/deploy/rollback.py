"""Rolls a release back to one of its revisions, with the rollout of `up`."""

from dataclasses import replace

from lightragctl.core.errors import NotRunningError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import ref
from lightragctl.core.runtime import Revision
from lightragctl.deploy.desired_state import DesiredState, desired_of_revision
from lightragctl.deploy.replacement import with_live_volumes
from lightragctl.deploy.revision import rollback_revision, with_current_outcomes, with_secrets
from lightragctl.deploy.revision_store import read_revision, read_revisions
from lightragctl.deploy.rollout_plan import read_inventory
from lightragctl.kube.lease import LeaseRecord, LockState, lease_ref, lock_state, read_lease
from lightragctl.kube.model import ForbiddenError
from lightragctl.kube.scope import Scope

_KEPT = ("Secret", "StatefulSet", "PersistentVolumeClaim")
"""Kinds of which a rollback keeps live data: secret values and volume sizes."""


def read_history(scope: Scope) -> list[Revision]:
    """The revisions of the release, newest first, with their current outcomes.

    Raises:
        NotRunningError: the release does not exist, or has no revisions.
    """
    revisions = read_revisions(scope)
    if not revisions:
        message = f"release '{scope.release}' has no revisions in namespace {scope.namespace} of {scope.cluster.name}"
        raise NotRunningError(message, Hint("create the first one: ", Command("up")))
    inventory, held = read_inventory(scope), read_holder(scope)
    state = lock_state(held, scope.holder) if held else LockState.FREE
    is_held = state not in (LockState.FREE, LockState.DEAD)
    return with_current_outcomes(revisions, inventory.revision if inventory and is_held else None)


def read_holder(scope: Scope) -> LeaseRecord | None:
    """The lease record of the lock; None if there is none, or without permission to read it."""
    try:
        lease = scope.cluster.get(lease_ref(scope.release, scope.namespace))
    except ForbiddenError:
        return None
    return read_lease(lease) if lease else None


def read_history_entry(scope: Scope, number: int) -> Revision:
    """One revision with its objects and its current outcome.

    Raises:
        NotRunningError: the release or the revision does not exist.
    """
    entries = {one.number: one for one in read_history(scope)}
    whole = read_revision(scope, number)
    if whole is None or number not in entries:
        message = f"revision {number} of release '{scope.release}' does not exist"
        raise NotRunningError(message, Hint("see the revisions: ", Command("history")))
    return replace(whole, outcome=entries[number].outcome)


def rollback_target(scope: Scope, number: int | None) -> DesiredState:
    """The desired state of the revision, with current secret values and volume sizes.

    Without a number, the newest applied revision before the present one.

    Raises:
        RefusedError: there is no such revision, or a Secret that it needs is gone.
        NotRunningError: there are no revisions.
    """
    read_history(scope)
    chosen = rollback_revision(read_revisions(scope), number)
    whole = read_revision(scope, chosen.number) or chosen
    kept = [ref(thing) for thing in whole.objects if thing["kind"] in _KEPT]
    live = {identity: there for identity in kept if (there := scope.cluster.get(identity))}
    objects = [with_live_volumes(with_secrets(thing, live), live.get(ref(thing))) for thing in whole.objects]
    return desired_of_revision(whole, objects)
