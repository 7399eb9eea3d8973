"""What a re-embedding costs, before it begins: texts, characters, tokens and time. Reads a sample of the rows."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightragctl.core.chunking import count_tokens
from lightragctl.reembed.names import TEXT
from lightragctl.reembed.texts import BATCH_TEXTS, Embed
from lightragctl.vectors.copying import loaded
from lightragctl.vectors.model import Page
from lightragctl.vectors.store import CollectionStore

_SAMPLE_ROWS = 500
"""Rows of each collection whose texts are measured; ids are hashes, so that the first ones are a fair sample."""


@dataclass(frozen=True)
class Cost:
    """What there is to embed.

    Attributes:
        texts: by collection.
        characters: estimated from a sample.
        tokens: estimated as chunks are counted; a provider's tokenizer counts differently.
        texts_per_s: measured with one batch; None when no model was asked.
        seconds: at that rate.
    """

    texts: Mapping[str, int]
    characters: int
    tokens: int
    texts_per_s: float | None = None
    seconds: float | None = None

    @property
    def total(self) -> int:
        """Texts of all collections."""
        return sum(self.texts.values())


def estimate(
    store: CollectionStore, sources: Sequence[str], embed: Embed | None, clock: Callable[[], float] = time.monotonic
) -> Cost:
    """What it costs to embed collections.

    Args:
        store: has them.
        sources: their physical names.
        embed: gives vectors, for the rate; None: the rate is not measured.
        clock: in seconds.
    """
    texts: dict[str, int] = {}
    characters, tokens = 0.0, 0.0
    sample: list[str] = []
    for name in sources:
        with loaded(store, name):
            texts[name] = store.row_count(name)
            rows: list[dict[str, Any]] = store.scan(name, [TEXT], Page(limit=_SAMPLE_ROWS))
        found = [str(row.get(TEXT, "")) for row in rows]
        sample += found[:BATCH_TEXTS]
        share = texts[name] / len(found) if found else 0.0
        characters += share * sum(map(len, found))
        tokens += share * sum(map(count_tokens, found))
    total = sum(texts.values())
    rate = None if embed is None or not sample else _rate(embed, sample[:BATCH_TEXTS], clock)
    return Cost(texts, round(characters), round(tokens), rate, total / rate if rate else None)


def _rate(embed: Embed, texts: Sequence[str], clock: Callable[[], float]) -> float:
    embed(texts[:1])  # the first call of a model is slower
    begin = clock()
    embed(texts)
    return len(texts) / max(clock() - begin, 1e-6)
