"""Operations of the release that are not closed: their phase and their deadline. Reads files or ConfigMaps."""

from lightragctl.diagnose.collect.source import Collector, Source
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import OPERATIONS
from lightragctl.diagnose.model import OpenOperation
from lightragctl.diagnose.text import hint_data
from lightragctl.operations.cluster_store import ConfigMapStore
from lightragctl.operations.model import Operation, StepState, next_command
from lightragctl.operations.store import FileStore, OperationStore


def read_operations(source: Source, facts: Facts) -> None:
    """Put `OPERATIONS`."""
    store: OperationStore
    if source.is_local:
        store = FileStore(source.files.operations)
    else:
        store = ConfigMapStore(source.scope.cluster, source.scope.namespace, source.scope.release)
    facts.put(OPERATIONS, [_open(one, source.now) for one in store.records() if one.is_open])


def _open(record: Operation, now: float) -> OpenOperation:
    step = next((one.name for one in record.steps if one.state not in (StepState.DONE, StepState.UNDONE)), "")
    overdue_s = max(0.0, now - record.deadline.timestamp())
    return OpenOperation(record.id, record.kind, str(record.phase), step, overdue_s, hint_data(next_command(record)))


COLLECTORS = (Collector("operations", (OPERATIONS,), read_operations),)
