"""Embeds the texts of a collection into a copy, and brings that copy up to date. Talks to a store and to a model.

There is no cursor to lose: a row is skipped when the copy has one with the same key and the same values beside the
vector. So the same call continues after a crash, embeds what was written meanwhile, and deletes what was deleted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lightragctl.backup.restore import copied_rows
from lightragctl.core.errors import LightragctlError
from lightragctl.reembed.names import TEXT, VECTOR, of_dimension
from lightragctl.vectors.copying import loaded
from lightragctl.vectors.model import FloatArray
from lightragctl.vectors.rows import RowBatch, parts, row_hashes
from lightragctl.vectors.schema import CollectionSchema, fitted, server
from lightragctl.vectors.store import CollectionStore

BATCH_TEXTS = 16
"""Texts of one call to the model and of one write: what a process that is killed loses at most."""

Embed = Callable[[Sequence[str]], FloatArray]
"""Vectors of stored texts."""


@dataclass(frozen=True)
class Synced:
    """What became of the rows: embedded, found as they are, deleted from the copy."""

    embedded: int
    skipped: int
    deleted: int


@dataclass(frozen=True)
class Watch:
    """How a run is watched.

    Attributes:
        check: called before each write; raises when another driver has taken over.
        embedded: called with the number of texts after each write; may wait, or raise to stop.
        seen: called with the number of rows that need nothing.
    """

    check: Callable[[], None]
    embedded: Callable[[int], None]
    seen: Callable[[int], None]


def prepare(store: CollectionStore, source: CollectionSchema, copy: str, dimension: int) -> None:
    """Create the copy unless it is there, with the index of the source, and load it."""
    wanted = of_dimension(source, dimension)
    store.create_from(fitted(wanted, server(store.server_version())), copy)
    store.load(copy)


def sync(store: CollectionStore, source: CollectionSchema, copy: str, embed: Embed, watch: Watch) -> Synced:
    """Have the copy hold every row of the source with its text embedded by the new model.

    Args:
        store: holds both.
        source: as it is described.
        copy: that `prepare` has made.
        embed: gives the vectors.
        watch: of this run.

    Raises:
        LightragctlError: a row has no text, or the model gave something else than vectors.
    """
    others = replace(source, fields=tuple(one for one in source.fields if one.name != VECTOR))
    known = {
        key: digest
        for batch in copied_rows(store, copy, store.describe(copy))
        for key, digest in zip(batch.keys, row_hashes(batch, others), strict=True)
    }
    surplus, embedded, skipped = set(known), 0, 0
    with loaded(store, source.name):
        for batch in copied_rows(store, source.name, source):
            digests = row_hashes(batch, others)
            surplus.difference_update(batch.keys)
            places = [at for at, key in enumerate(batch.keys) if known.get(key) != digests[at]]
            skipped += len(batch) - len(places)
            watch.seen(len(batch) - len(places))
            for part in parts(batch.taken(np.array(places, np.intp)), BATCH_TEXTS) if places else ():
                written = _embedded(part, embed)
                watch.check()
                store.write_rows(copy, [written])
                embedded += len(part)
                watch.embedded(len(part))
    for start in range(0, len(ordered := sorted(surplus)), BATCH_TEXTS):
        watch.check()
        store.delete(copy, ordered[start : start + BATCH_TEXTS])
    store.flush(copy)
    return Synced(embedded, skipped, len(surplus))


def _embedded(batch: RowBatch, embed: Embed) -> RowBatch:
    texts = list(batch.columns[TEXT])
    if empty := [str(key) for key, text in zip(batch.keys, texts, strict=True) if not str(text).strip()]:
        raise LightragctlError(f"row {empty[0]} has no text to embed", "load its document again, or delete it")
    vectors = embed(texts)
    if vectors.shape[0] != len(texts):
        raise LightragctlError(f"the model gave {vectors.shape[0]} vectors for {len(texts)} texts")
    return replace(batch, columns={**batch.columns, VECTOR: vectors})
