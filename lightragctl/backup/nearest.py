"""The exact nearest rows of the vectors of known answers, found while all rows of a copy are read. Pure."""

from collections.abc import Iterable
from typing import cast

import numpy as np

from lightragctl.backup import answers
from lightragctl.quality.exact import Metric, exact_neighbours
from lightragctl.vectors.rows import RowBatch
from lightragctl.vectors.schema import CollectionSchema

_VECTOR = "vector"
_METRICS = ("COSINE", "IP", "L2")


class Nearest:
    """Searches rows as they pass.

    Args:
        known: the searches.
        schema: of the original collection.

    Attributes:
        found: for each search its nearest rows as text keys, best first, without a tie at the end; None until rows
            have passed, or where there is nothing to search for.
    """

    def __init__(self, known: answers.Answers | None, schema: CollectionSchema) -> None:
        self.found: list[list[str]] | None = None
        self._known = known if known is not None and known.collections.get(schema.name) else None
        self._schema = schema

    def watch(self, batches: Iterable[RowBatch]) -> None:
        """Takes all rows of the copy, each once."""
        field = self._schema.field(_VECTOR)
        metric = next((one.metric_type for one in self._schema.indexes if one.field == _VECTOR), "")
        if self._known is None or field is None or field.dtype != "FLOAT_VECTOR" or metric not in _METRICS:
            for _ in batches:
                pass
            return
        queries = answers.vectors(self._known, self._schema.name, field.dimension or 0)
        blocks = (([str(key) for key in batch.keys], np.asarray(batch.columns[_VECTOR])) for batch in batches)
        k = self._known.top_k
        found = exact_neighbours(queries, blocks, k, cast(Metric, metric))
        scored = [list(zip(one.ids, map(float, one.scores), strict=True))[:k] for one in found]
        self.found = [[str(key) for key in answers.without_last_tie(one, k)] for one in scored]
