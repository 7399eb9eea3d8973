"""Reads and writes the revisions of a release. I/O through the cluster."""

from collections.abc import Iterable

from lightragctl.core.errors import LightragctlError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject, ref
from lightragctl.core.runtime import Revision
from lightragctl.deploy.apply import delete_objects
from lightragctl.deploy.inventory import Inventory
from lightragctl.deploy.revision import (
    chunk_count,
    expired_revisions,
    from_config_maps,
    revision_ref,
    to_config_maps,
)
from lightragctl.kube.labels import CHUNK_OF, REVISION_OF, component_of
from lightragctl.kube.objects import WORKLOAD_KINDS
from lightragctl.kube.scope import Scope


def read_revisions(scope: Scope) -> list[Revision]:
    """The revisions of the release as they were written, in any order; objects in chunks are omitted.

    Raises:
        LightragctlError: one is damaged.
    """
    found = scope.cluster.select("v1", "ConfigMap", scope.namespace, f"{REVISION_OF}={scope.release}")
    return [from_config_maps(one) for one in found]


def read_revision(scope: Scope, number: int) -> Revision | None:
    """A revision with its objects; None if it does not exist.

    Raises:
        LightragctlError: it is damaged.
    """
    index = scope.cluster.get(revision_ref(scope.release, scope.namespace, number))
    if index is None:
        return None
    chunks, wanted = _chunks(scope, number, index), chunk_count(index)
    if len(chunks) < wanted:
        message = f"revision {number} lacks {wanted - len(chunks)} of its {wanted} parts"
        raise LightragctlError(message, Hint("use another one; see: ", Command("history")))
    return from_config_maps(index, chunks)


def _chunks(scope: Scope, number: int, index: KubernetesObject) -> list[KubernetesObject]:
    """The existing chunks of an index, in order."""
    names = [revision_ref(scope.release, scope.namespace, number, chunk) for chunk in range(chunk_count(index))]
    return [one for one in map(scope.cluster.get, names) if one is not None]


def write_revision(scope: Scope, revision: Revision) -> None:
    """Write a revision, chunks first; one with the same number is overwritten."""
    for thing in to_config_maps(revision, scope.release, scope.namespace):
        _write(scope, thing)


def write_outcome(scope: Scope, revision: Revision) -> None:
    """Write the outcome of a revision; its objects stay."""
    _write(scope, to_config_maps(revision, scope.release, scope.namespace)[-1])


def _write(scope: Scope, thing: KubernetesObject) -> None:
    there = scope.cluster.get(ref(thing))
    if there is None:
        scope.cluster.create(thing)
        return
    version = there["metadata"]["resourceVersion"]
    scope.cluster.replace({**thing, "metadata": {**thing["metadata"], "resourceVersion": version}})


def drop_old_revisions(scope: Scope) -> None:
    """Delete the revisions beyond the limit."""
    revisions = read_revisions(scope)
    _delete(scope, expired_revisions(revisions))


def drop_all_revisions(scope: Scope) -> None:
    """Delete every revision, and chunks of a killed run without an index."""
    for label in (REVISION_OF, CHUNK_OF):
        found = scope.cluster.select("v1", "ConfigMap", scope.namespace, f"{label}={scope.release}")
        delete_objects(scope, found)


def _delete(scope: Scope, numbers: Iterable[int]) -> None:
    """Delete revisions, each index before its chunks, so that no index lacks chunks."""
    for number in numbers:
        index = scope.cluster.get(revision_ref(scope.release, scope.namespace, number))
        if index is not None:
            delete_objects(scope, [index, *_chunks(scope, number, index)])


def known_components(scope: Scope, inventory: Inventory | None) -> frozenset[str]:
    """The present and former components of the release, by its inventory, its revisions and its workloads."""
    recorded = inventory.components if inventory else ()
    earlier = [name for revision in read_revisions(scope) for name in revision.requires]
    running = [component_of(thing) for kind in WORKLOAD_KINDS for thing in scope.select("apps/v1", kind)]
    return frozenset((*recorded, *earlier, *running))
