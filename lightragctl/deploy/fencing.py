"""Seals a release against a holder of its lock that may live on and not know that it lost it. I/O through the cluster.

Such a holder may have a write on its way that was decided on the objects as they are. Marking each with the new fence
moves its version, and the API server refuses that write, also where the new holder has nothing to change.
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
    """Take the release's lock, and seal the release when the holder before did not give it back.

    Raises:
        LockedError: somebody else holds it, and may be alive.
    """
    lock.take(inventory.fence if inventory else 0)
    if lock.was_abandoned:
        fence_objects(scope, inventory, lock.fence)
        lock.fenced()


def fence_objects(scope: Scope, inventory: Inventory | None, fence: int) -> None:
    """Bump the resource version of the release's objects, inventory, volume claims and of the namespace made for it.

    What we may not write is left alone.
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
        with suppress(ForbiddenError, ChangedMeanwhileError, InvalidObjectError):  # gone, or made anew by now
            head = {key: thing[key] for key in ("apiVersion", "kind")}
            scope.cluster.apply({**head, "metadata": metadata}, manager=_MANAGER)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(mark, things))
