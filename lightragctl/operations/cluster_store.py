"""The records of a release's operations as ConfigMaps in its namespace, written by compare-and-swap."""

from lightragctl.core.errors import LightragctlError, LockedError
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.kube.labels import MANAGED_BY, MANAGER, OPERATION_OF, OPERATION_OPEN
from lightragctl.kube.model import ChangedMeanwhileError, Cluster
from lightragctl.operations.model import Operation, from_text, to_text
from lightragctl.operations.store import Change, newest_first, unknown

_KEY = "operation.json"
_TRIES = 20
"""Conflicts in a row; only a request of a user and the driver write the same record."""


def object_name(release: str, operation_id: str) -> str:
    """The name of the record and of everything that belongs to the operation."""
    return f"{release}-op-{operation_id}"


class ConfigMapStore:
    """An `OperationStore` on a cluster.

    Args:
        cluster: where the release is.
        namespace: of the release.
        release: its name.
    """

    def __init__(self, cluster: Cluster, namespace: str, release: str) -> None:
        self._cluster, self._namespace, self._release = cluster, namespace, release

    def create(self, record: Operation) -> None:
        """See `OperationStore`."""
        try:
            self._cluster.create(self._object(record))
        except ChangedMeanwhileError as error:
            raise LockedError(f"operation {record.id} already exists", "run the command again") from error

    def read(self, operation_id: str) -> Operation:
        """See `OperationStore`."""
        return _record(self._get(operation_id))

    def records(self) -> list[Operation]:
        """See `OperationStore`."""
        selector = f"{OPERATION_OF}={self._release}"
        found = self._cluster.select("v1", "ConfigMap", self._namespace, selector)
        return newest_first([_record(one) for one in found])

    def update(self, operation_id: str, change: Change) -> Operation:
        """See `OperationStore`."""
        for _ in range(_TRIES):
            there = self._get(operation_id)
            made = change(_record(there))
            try:
                self._cluster.replace(self._object(made, there["metadata"]["resourceVersion"]))
            except ChangedMeanwhileError:
                continue
            return made
        raise LockedError(
            f"the record of operation {operation_id} is being changed continuously by others", "run the command again"
        )

    def delete(self, operation_id: str) -> None:
        """See `OperationStore`."""
        there = self._cluster.get(self._ref(operation_id))
        if there is not None:
            self._cluster.delete(ref(there), there["metadata"]["uid"])

    def _ref(self, operation_id: str) -> ObjectRef:
        return ObjectRef("v1", "ConfigMap", self._namespace, object_name(self._release, operation_id))

    def _get(self, operation_id: str) -> KubernetesObject:
        there = self._cluster.get(self._ref(operation_id))
        if there is None:
            raise unknown(operation_id)
        return there

    def _object(self, record: Operation, version: str = "") -> KubernetesObject:
        opened = {OPERATION_OPEN: record.id} if record.is_open else {}
        metadata = {
            "name": object_name(self._release, record.id),
            "namespace": self._namespace,
            "labels": {MANAGED_BY: MANAGER, OPERATION_OF: self._release, **opened},
            **({"resourceVersion": version} if version else {}),
        }
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {_KEY: to_text(record)}}


def _record(thing: KubernetesObject) -> Operation:
    source = f"ConfigMap/{thing['metadata']['name']} in {thing['metadata'].get('namespace')}"
    try:
        text = thing["data"][_KEY]
    except (KeyError, TypeError) as error:
        raise LightragctlError(f"{source} is not an operation record", "restore it, or delete it") from error
    return from_text(text, source)
