"""Whether bringing a release to its target would lose data: read from the cluster, refused without a switch."""

from collections.abc import Sequence
from dataclasses import dataclass

from lightragctl.checks.claims import at_risk_claims, split_claims
from lightragctl.checks.versions import version_changes
from lightragctl.components import all_components
from lightragctl.core.errors import RefusedError
from lightragctl.core.objects import ObjectRef, ref
from lightragctl.core.runtime import Revision, RevisionOutcome
from lightragctl.deploy.changeset import Change
from lightragctl.deploy.data_loss import SAVE_HINT, SWITCH, data_losses
from lightragctl.deploy.inventory import Inventory
from lightragctl.deploy.revision_store import known_components, read_revision, read_revisions
from lightragctl.kube.labels import component_of
from lightragctl.kube.scope import Scope
from lightragctl.observe.volumes import EndangeredClaim, expected_claims

_GONE_HINT = (
    "restore the volume; or start over, so that no store refers to documents that are gone: lightragctl down "
    f"--purge, then up and ingest; or continue with an empty store: {SWITCH}"
)


@dataclass(frozen=True)
class DataRisk:
    """What threatens a release's data.

    Attributes:
        endangered: claims whose data will not last.
        warnings: what to know, but not refused.
        refusals: what would lose data, and is refused without the switch.
        hint: what to do about the refusals.
    """

    endangered: tuple[EndangeredClaim, ...] = ()
    warnings: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    hint: str = ""


def find_data_risk(scope: Scope, inventory: Inventory | None, changes: Sequence[Change], command: str) -> DataRisk:
    """What the changes would do to data that the release has.

    Args:
        scope: of the release.
        inventory: of the release; without one it has no data.
        changes: what would happen to each object.
        command: `up` or `rollback`.
    """
    if inventory is None:
        return DataRisk()
    own, _ = split_claims(scope, known_components(scope, inventory))
    found = at_risk_claims(scope, own)
    lost = data_losses(changes, found)
    if command == "rollback" and not lost:
        lost = [f"a rollback keeps data as they are, and these will not last: {one}" for one in found]
    lacking = find_missing_claims(scope)
    gone = [f"{one} is gone, and was there when the release was last applied" for one in lacking.claims]
    warnings, downgrades = version_changes(changes)
    if not lacking.orphans_data:
        warnings, gone = [*gone, *warnings], []
    hint = SAVE_HINT if lost else _GONE_HINT if gone else f"keep the version; or go on all the same: {SWITCH}"
    told = [*map(str, found), *warnings]
    return DataRisk(found, tuple(told), (*lost, *gone, *downgrades), hint)


@dataclass(frozen=True)
class MissingClaims:
    """Volume claims that StatefulSets had when the release was last applied, and that are gone.

    Attributes:
        claims: those that are gone.
        orphans_data: whether one of them held the vectors, and others are left that know what was in it.
    """

    claims: tuple[ObjectRef, ...] = ()
    orphans_data: bool = False


def find_missing_claims(scope: Scope) -> MissingClaims:
    """Which of the release's volume claims are gone."""
    applied = _last_applied(scope)
    made = [thing for thing in (applied.objects if applied else ()) if thing["kind"] == "StatefulSet"]
    wanted = {claim: component_of(thing) for thing in made for claim in expected_claims(thing)}
    if not wanted:
        return MissingClaims()
    there = {ref(claim) for claim in scope.cluster.select("v1", "PersistentVolumeClaim", scope.namespace, scope.pods)}
    gone = tuple(claim for claim in wanted if claim not in there)
    stores = {one.name for one in all_components() if one.store}
    return MissingClaims(gone, len(gone) < len(wanted) and any(wanted[claim] in stores for claim in gone))


def _last_applied(scope: Scope) -> Revision | None:
    numbers = [one.number for one in read_revisions(scope) if one.outcome is RevisionOutcome.APPLIED]
    return read_revision(scope, max(numbers)) if numbers else None


def refuse_loss(risk: DataRisk, allowed: bool) -> None:
    """Stop before data are lost, unless that is allowed.

    Raises:
        RefusedError: names what would be lost.
    """
    if risk.refusals and not allowed:
        lines = "\n".join(f"    {one}" for one in risk.refusals)
        raise RefusedError(f"data would be lost:\n{lines}", risk.hint)
