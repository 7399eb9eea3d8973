"""The rows of a control collection that say which model a workspace's vectors are of. Changes a store; idempotent."""

import base64
import time
from collections.abc import Callable, Iterator, Mapping

import msgspec
import numpy as np

from lightragctl.core.settings import EmbeddingModel
from lightragctl.reembed.names import changed_cut
from lightragctl.vectors.applied import read_applied, write_applied
from lightragctl.vectors.control import ModelIdentity, control_name, control_row, epoch_row, model_key, when_loaded
from lightragctl.vectors.model import CollectionMissingError, FloatArray, Page, Row, control_spec
from lightragctl.vectors.store import VectorStore

_FIRST, _LAST = "doc:", "doc;"
"""The ids of the records of documents are between these."""
_PAGE_ROWS = 500

Check = Callable[[], None]
"""Called before each write; raises when another driver has taken over."""


def note_model(store: VectorStore, workspace: str, model: EmbeddingModel, probe: FloatArray, check: Check) -> None:
    """Record the identity of a model: name, dimension, prefixes, and its vector `(dimension,)` of the probe text."""
    encoded = base64.b64encode(np.asarray(probe, "<f4").tobytes()).decode()
    identity = ModelIdentity(model.name, model.dimension, model.query_prefix, model.document_prefix, encoded)
    now_ns = time.time_ns()
    check()
    store.create(control_spec(control_name(workspace)))
    rows = [control_row(model_key(model), identity, now_ns // 1_000_000_000), epoch_row(now_ns)]
    store.upsert(control_name(workspace), rows)


def forget_model(store: VectorStore, workspace: str, model: EmbeddingModel, check: Check) -> None:
    """Delete the identity of a model."""
    check()
    if store.resolve(control_name(workspace)) is not None:
        store.load(control_name(workspace))
        store.delete(control_name(workspace), [model_key(model)])


def move_documents(store: VectorStore, workspace: str, old: EmbeddingModel, new: EmbeddingModel, check: Check) -> int:
    """Have the records of documents name the new model, so that `ingest` finds them unchanged; returns how many."""
    control, now_ns = control_name(workspace), time.time_ns()
    changed = []
    for row in _documents(store, control):
        record = msgspec.json.decode(str(row["value"]))
        cut = changed_cut(str(record.get("cut", "")), old, new)
        if cut is not None:
            changed.append(control_row(str(row["id"]), {**record, "cut": cut}, now_ns // 1_000_000_000))
    for start in range(0, len(changed), _PAGE_ROWS):
        check()
        store.upsert(control, changed[start : start + _PAGE_ROWS])
    if changed:
        store.upsert(control, [epoch_row(now_ns)])
    return len(changed)


def move_index(store: VectorStore, workspace: str, names: Mapping[str, str], check: Check) -> None:
    """Have new collections be searched as `tune` has set it for old ones; `names`: old to new, empty to forget the old.

    Does nothing where nothing was set.
    """
    applied = read_applied(store, workspace)
    changed = {new or old: applied[old] if new else None for old, new in names.items() if old in applied}
    if any(applied.get(name) != one for name, one in changed.items()):
        check()
        write_applied(store, workspace, changed, time.time_ns())


def _documents(store: VectorStore, control: str) -> Iterator[Row]:
    page = Page(after=_FIRST, before=_LAST, limit=_PAGE_ROWS)
    while True:
        try:
            rows = when_loaded(store, control, lambda asked=page: store.scan(control, ["value"], asked))  # type: ignore[misc]
        except CollectionMissingError:
            return
        yield from rows
        if len(rows) < page.limit:
            return
        page = Page(after=str(rows[-1]["id"]), before=_LAST, limit=_PAGE_ROWS)
