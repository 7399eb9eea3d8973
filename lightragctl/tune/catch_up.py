"""Makes a copy of a collection equal to it again, after the original was written to. Changes a store."""

from collections.abc import Callable

import numpy as np

from lightragctl.backup.restore import copied_rows
from lightragctl.vectors.copying import loaded
from lightragctl.vectors.rows import RowBatch, row_hashes
from lightragctl.vectors.store import CollectionStore

Check = Callable[[], None]
"""Called before each change; raises when another driver has taken over."""


def catch_up(store: CollectionStore, original: str, copy: str, check: Check) -> int:
    """Write rows that differ or are missing, delete surplus ones; returns how many rows were changed.

    Nothing may write to the original meanwhile. Holds a hash of 16 bytes for each row of the copy in memory.
    """
    schema = store.describe(original)
    with loaded(store, original), loaded(store, copy):
        present = {
            key: one
            for batch in copied_rows(store, copy, schema)
            for key, one in zip(batch.keys, row_hashes(batch, schema), strict=True)
        }
        changed = 0
        for batch in copied_rows(store, original, schema):
            different = _different(batch, row_hashes(batch, schema), present)
            if len(different):
                check()
                changed += store.write_rows(copy, [different])
        if present:
            check()
            store.delete(copy, [str(key) for key in present])
    if changed or present:
        store.flush(copy)
    return changed + len(present)


def _different(batch: RowBatch, hashes: list[bytes], present: dict[object, bytes]) -> RowBatch:
    """The rows of a batch that the copy lacks or has otherwise; keys that the original has leave `present`."""
    places = [at for at, key in enumerate(batch.keys) if present.pop(key, None) != hashes[at]]
    return batch.taken(np.array(places, np.intp))
