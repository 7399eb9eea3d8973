"""Changes that lose data: those that end a pod whose volume is deleted with it. Pure."""

from collections.abc import Iterable

from lightragctl.core.runtime import Action
from lightragctl.deploy.changeset import Change
from lightragctl.kube.objects import WORKLOAD_KINDS
from lightragctl.observe.volumes import EndangeredClaim, uses

SWITCH = "--allow-data-loss"
KEEP_HINT = (
    'keep the volume: kubectl patch pv VOLUME -p \'{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}\', '
    "and back up its data"
)
SAVE_HINT = f"{KEEP_HINT}; to continue and lose the data: {SWITCH}"


def ends_pods(change: Change) -> bool:
    """Whether the change ends pods of a workload: a new template, fewer replicas, its deletion."""
    if change.identity.kind not in WORKLOAD_KINDS or change.before is None or change.action is Action.UNCHANGED:
        return False
    if change.after is None:
        return True
    before, after = change.before["spec"], change.after["spec"]
    return bool(before["template"] != after["template"] or before.get("replicas", 1) > after.get("replicas", 1))


def data_losses(changes: Iterable[Change], at_risk_claims: Iterable[EndangeredClaim]) -> list[str]:
    """The data that the changes would lose, one line each."""
    at_risk_claims = list(at_risk_claims)
    return [
        f"{change.identity} ends a pod that uses {one}"
        for change in changes
        if ends_pods(change)
        for one in at_risk_claims
        if uses(change.before or {}, one.claim)
    ]
