"""Finds risks for a release or its data that readiness does not show. Reads the cluster, for `status`."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from lightragctl.checks.claims import at_risk_claims, split_claims
from lightragctl.core.findings import Finding, Severity
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.runtime import Revision
from lightragctl.deploy.data_loss import KEEP_HINT
from lightragctl.deploy.data_risk import find_missing_claims
from lightragctl.deploy.inventory import Inventory, ReleasePhase
from lightragctl.deploy.revision_store import known_components
from lightragctl.kube.calls import WORKERS
from lightragctl.kube.model import ForbiddenError
from lightragctl.kube.objects import deletion_time
from lightragctl.kube.scope import Scope
from lightragctl.observe.pod_config import config_references, missing_config, stale_config
from lightragctl.observe.snapshot import Snapshot


def find_risks(scope: Scope, inventory: Inventory, last: Revision | None, snapshot: Snapshot) -> tuple[Finding, ...]:
    """The risks, most severe first; objects that we may not read are skipped.

    Args:
        scope: of the release.
        inventory: of the release.
        last: the revision that was applied last.
        snapshot: the release's workloads and pods.
    """
    found = [*_terminating_namespace(scope), *_volume_risks(scope, inventory)]
    workloads = [thing for things in snapshot.workloads.values() for thing in things]
    wanted = set().union(*map(config_references, workloads)) | {ref(one) for one in _secrets(last)}
    there = _read(scope, wanted)
    if inventory.phase is ReleasePhase.APPLIED:
        found += missing_config(workloads, last.objects if last else (), there)
        found += stale_config(workloads, snapshot.pods, there)
    return tuple(dict.fromkeys(found))


def _secrets(last: Revision | None) -> list[KubernetesObject]:
    return [thing for thing in (last.objects if last else ()) if thing["kind"] == "Secret"]


def _terminating_namespace(scope: Scope) -> Iterator[Finding]:
    try:
        there = scope.cluster.get(ObjectRef("v1", "Namespace", "", scope.namespace)) or {}
    except ForbiddenError:
        return
    if since := deletion_time(there):
        message = f"terminating since {since}: all its data is deleted"
        yield _warning("namespace-terminating", f"Namespace/{scope.namespace}", message, KEEP_HINT)


def _volume_risks(scope: Scope, inventory: Inventory) -> Iterator[Finding]:
    own, _ = split_claims(scope, known_components(scope, inventory))
    for one in at_risk_claims(scope, own):
        yield _warning("volume-at-risk", str(one.claim), one.reason, KEEP_HINT)
    hint = Hint("restore the volume; or start over: ", Command("down", "--purge"), ", then ", Command("up"))
    for claim in find_missing_claims(scope).claims:
        yield _warning("volume-missing", str(claim), "gone, with its data", hint)


def _warning(code: str, subject: str, message: str, hint: str) -> Finding:
    return Finding(code, subject, message, hint, severity=Severity.WARNING)


def _read(scope: Scope, wanted: Iterable[ObjectRef]) -> dict[ObjectRef, KubernetesObject | None]:
    """The objects that we may read; None: deleted."""

    def read(identity: ObjectRef) -> tuple[ObjectRef, KubernetesObject | None] | None:
        try:
            return identity, scope.cluster.get(identity)
        except ForbiddenError:
            return None

    with ThreadPoolExecutor(WORKERS) as pool:
        return dict(filter(None, pool.map(read, sorted(wanted))))
