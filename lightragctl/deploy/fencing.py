"""Fences a release against a former lock holder that may still run. I/O through the cluster.

Such a holder may have a write in flight that is based on the current objects. Writing the new fence to every object
changes its resourceVersion, so the API server rejects that write, even if the new holder changes nothing else.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from lightragctl.checks.claims import split_claims
from lightragctl.core.objects import KubernetesObject, ObjectRef
from lightragctl.deploy.apply import read_ours
from lightragctl.deploy.inventory import Inventory, inventory_ref
from lightragctl.deploy.revision_store import known_components
from lightragctl.deploy.rollout_plan import owns_namespace
from lightragctl.kube.calls import WORKERS
from lightragctl.kube.labels import FENCE
from lightragctl.kube.lease import ReleaseLock
from lightragctl.kube.model import ChangedMeanwhileError, ForbiddenError, InvalidObjectError
from lightragctl.kube.scope import Scope

_MANAGER = "lightragctl-fence"


def take_lock(scope: Scope, lock: ReleaseLock, inventory: Inventory | None) -> None:
    """Acquire the release's lock, and fence the release if the previous holder did not release it.

    Raises:
        LockedError: another process holds it and may be alive.
    """
    lock.take(inventory.fence if inventory else 0)
    if lock.was_abandoned:
        fence_objects(scope, inventory, lock.fence)
        lock.fenced()


def fence_objects(scope: Scope, inventory: Inventory | None, fence: int) -> None:
    """Write the fence to the release's objects, inventory, volume claims and own namespace.

    Objects that we may not write are skipped.
    """
    recorded = inventory.objects if inventory else ()
    namespace = [ObjectRef("v1", "Namespace", "", scope.namespace)] if owns_namespace(scope) else []
    kept = map(scope.cluster.get, [inventory_ref(scope.release, scope.namespace), *namespace])
    own, _ = split_claims(scope, known_components(scope, inventory))
    ours = [one for one in read_ours(scope, recorded) if one["kind"] != "Namespace"]
    things = [*ours, *own, *filter(None, kept)]

    def mark(thing: KubernetesObject) -> None:
        kept = {key: thing["metadata"][key] for key in ("name", "namespace", "uid") if key in thing["metadata"]}
        metadata = {**kept, "annotations": {FENCE: str(fence)}}
        with suppress(ForbiddenError, ChangedMeanwhileError, InvalidObjectError):  # deleted or recreated meanwhile
            head = {key: thing[key] for key in ("apiVersion", "kind")}
            scope.cluster.apply({**head, "metadata": metadata}, manager=_MANAGER)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(mark, things))
