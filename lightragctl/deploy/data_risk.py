"""Finds data that a rollout would lose and refuses it without `--allow-data-loss`. Reads the cluster."""

from collections.abc import Sequence
from dataclasses import dataclass

from lightragctl.checks.claims import at_risk_claims, split_claims
from lightragctl.checks.versions import version_changes
from lightragctl.components import all_components
from lightragctl.core.errors import RefusedError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import ObjectRef, ref
from lightragctl.core.runtime import Revision, RevisionOutcome
from lightragctl.deploy.changeset import Change
from lightragctl.deploy.data_loss import SAVE_HINT, SWITCH, data_losses
from lightragctl.deploy.inventory import Inventory
from lightragctl.deploy.revision_store import known_components, read_revision, read_revisions
from lightragctl.kube.labels import component_of
from lightragctl.kube.scope import Scope
from lightragctl.observe.volumes import EndangeredClaim, expected_claims

_GONE_HINT = Hint(
    "restore the volume; or start over, so that no store refers to documents that are gone: ",
    Command("down", "--purge"),
    ", then ",
    Command("up"),
    " and ",
    Command("ingest"),
    f"; or continue with an empty store: {SWITCH}",
)
_VERSION_HINT = Hint(
    "keep the version; see which changes are known: ",
    Command("upgrade matrix"),
    "; and what one would do: ",
    Command("upgrade", "--plan"),
    f"; or continue anyway: {SWITCH}",
)


@dataclass(frozen=True)
class DataRisk:
    """Risks for a release's data.

    Attributes:
        endangered: claims whose data is at risk.
        warnings: risks that are not refused.
        refusals: changes that lose data; refused without `--allow-data-loss`.
        hint: how to proceed after the refusals.
    """

    endangered: tuple[EndangeredClaim, ...] = ()
    warnings: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    hint: str = ""


def find_data_risk(scope: Scope, inventory: Inventory | None, changes: Sequence[Change], command: str) -> DataRisk:
    """The risks of the changes for the release's data.

    Args:
        scope: of the release.
        inventory: of the release; without one it has no data.
        changes: of the release's objects.
        command: `up` or `rollback`.
    """
    if inventory is None:
        return DataRisk()
    own, _ = split_claims(scope, known_components(scope, inventory))
    found = at_risk_claims(scope, own)
    lost = data_losses(changes, found)
    if command == "rollback" and not lost:
        lost = [f"a rollback does not restore data, and this will be lost: {one}" for one in found]
    lacking = find_missing_claims(scope)
    gone = [f"{one} is gone; it existed when the release was last applied" for one in lacking.claims]
    warnings, downgrades = version_changes(changes)
    if not lacking.orphans_data:
        warnings, gone = [*gone, *warnings], []
    hint = SAVE_HINT if lost else _GONE_HINT if gone else _VERSION_HINT
    return DataRisk(found, (*map(str, found), *warnings), (*lost, *gone, *downgrades), hint)


@dataclass(frozen=True)
class MissingClaims:
    """Volume claims that existed when the release was last applied and are gone.

    Attributes:
        claims: those that are gone.
        orphans_data: whether one held the vectors, while other claims with references to them remain.
    """

    claims: tuple[ObjectRef, ...] = ()
    orphans_data: bool = False


def find_missing_claims(scope: Scope) -> MissingClaims:
    """The release's volume claims that are gone."""
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
    """Stop before data is lost, unless allowed.

    Raises:
        RefusedError: lists the data that would be lost.
    """
    if risk.refusals and not allowed:
        lines = "\n".join(f"    {one}" for one in risk.refusals)
        raise RefusedError(f"data would be lost:\n{lines}", risk.hint)
