"""Texts as terms and as hashed vectors: the test double of an embedding model. It knows words, not meanings. Pure."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np

from lightragctl.vectors.model import FloatArray

_CJK = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
"""Letters written without spaces between words: kana, Han, Hangul."""

_RUNS = re.compile(rf"([{_CJK}]+)|[^\W_{_CJK}]+")
"""A run of such letters, or a word of other letters and digits."""


def terms(text: str) -> list[str]:
    """Words, and for Chinese, Japanese and Korean every two neighbouring characters; case and width are folded."""
    return list(_terms(unicodedata.normalize("NFKC", text).casefold()))


def _terms(folded: str) -> Iterator[str]:
    for match in _RUNS.finditer(folded):
        run = match.group()
        if match.group(1) and len(run) > 1:
            yield from (run[i : i + 2] for i in range(len(run) - 1))
        else:
            yield run


def hashed_vectors(texts: Sequence[str], dimension: int) -> FloatArray:
    """Deterministic unit vectors: each term adds +1 or -1 at a place chosen by its hash. Never zero."""
    vectors = np.zeros((len(texts), dimension), dtype=np.float32)
    for row, text in zip(vectors, texts, strict=True):
        for place, sign in (_place(term) for term in terms(text)):
            row[place % dimension] += sign
        if not row.any():  # no term at all, or all of them cancelled out
            row[_place("\0" + text)[0] % dimension] = 1.0
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


@lru_cache(maxsize=65536)
def _place(term: str) -> tuple[int, float]:
    number = int.from_bytes(blake2b(term.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
    return number >> 1, 1.0 if number & 1 else -1.0
