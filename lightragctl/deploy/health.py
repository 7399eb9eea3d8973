"""What threatens a release or its data although its pods may run: read from the cluster for `status`."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from lightragctl.checks.claims import at_risk_claims, split_claims
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.runtime import Revision
from lightragctl.deploy.data_risk import find_missing_claims
from lightragctl.deploy.inventory import Inventory, ReleasePhase
from lightragctl.deploy.revision_store import known_components
from lightragctl.kube.calls import WORKERS
from lightragctl.kube.model import ForbiddenError
from lightragctl.kube.objects import deletion_time
from lightragctl.kube.scope import Scope
from lightragctl.observe.pod_config import config_references, missing_config, stale_config
from lightragctl.observe.snapshot import Snapshot


def read_warnings(scope: Scope, inventory: Inventory, last: Revision | None, snapshot: Snapshot) -> tuple[str, ...]:
    """What a person must look at, most dangerous first; what we may not read is left out.

    Args:
        scope: of the release.
        inventory: of the release.
        last: the revision that was applied last.
        snapshot: its workloads and pods.
    """
    own, _ = split_claims(scope, known_components(scope, inventory))
    found = [*_ending_namespace(scope), *map(str, at_risk_claims(scope, own))]
    found += [f"{one} is gone, and the data with it" for one in find_missing_claims(scope).claims]
    workloads = [thing for things in snapshot.workloads.values() for thing in things]
    wanted = set().union(*map(config_references, workloads)) | {ref(one) for one in _secrets(last)}
    there = _read(scope, wanted)
    if inventory.phase is ReleasePhase.APPLIED:
        found += missing_config(workloads, last.objects if last else (), there)
        found += stale_config(workloads, snapshot.pods, there)
    return tuple(dict.fromkeys(found))


def _secrets(last: Revision | None) -> list[KubernetesObject]:
    return [thing for thing in (last.objects if last else ()) if thing["kind"] == "Secret"]


def _ending_namespace(scope: Scope) -> list[str]:
    try:
        there = scope.cluster.get(ObjectRef("v1", "Namespace", "", scope.namespace)) or {}
    except ForbiddenError:
        return []
    since = deletion_time(there)
    return [f"Namespace/{scope.namespace} is being deleted since {since}, and all data in it"] if since else []


def _read(scope: Scope, wanted: Iterable[ObjectRef]) -> dict[ObjectRef, KubernetesObject | None]:
    """The objects that we may read; None is one that is gone."""

    def read(identity: ObjectRef) -> tuple[ObjectRef, KubernetesObject | None] | None:
        try:
            return identity, scope.cluster.get(identity)
        except ForbiddenError:
            return None

    with ThreadPoolExecutor(WORKERS) as pool:
        return dict(filter(None, pool.map(read, sorted(wanted))))
