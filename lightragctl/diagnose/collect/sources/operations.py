"""Operations of the release that are not closed: their phase and their deadline. Reads files or ConfigMaps."""

from lightragctl.diagnose.collect.source import Collector, Source
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import OPERATIONS
from lightragctl.diagnose.model import OpenOperation
from lightragctl.diagnose.text import hint_data
from lightragctl.operations.model import Operation, StepState, next_command
from lightragctl.operations.place import Place, place_of
from lightragctl.release.open import lock_holder


def read_operations(source: Source, facts: Facts) -> None:
    """Put `OPERATIONS`."""
    place = place_of(source.release.runtime, source.release.name, lock_holder())
    facts.put(OPERATIONS, [_open(place, one, source.now) for one in place.store.records() if one.is_open])


def _open(place: Place, record: Operation, now: float) -> OpenOperation:
    step = next((one.name for one in record.steps if one.state not in (StepState.DONE, StepState.UNDONE)), "")
    overdue_s = max(0.0, now - record.deadline.timestamp())
    is_new = now - record.created_at.timestamp() < _START_S
    driver = place.driver(record.id) or ("starting" if is_new else "")
    hint = hint_data(next_command(record))
    return OpenOperation(record.id, record.kind, str(record.phase), step, overdue_s, hint, driver)


_START_S = 60.0
"""Until the pod of a Job runs."""


COLLECTORS = (Collector("operations", (OPERATIONS,), read_operations),)
