"""Vectors as a collection of documents has them: passages of one document lie near each other.

Directions drawn at random are harder to search than any real vectors (docs/performance.md tells both).
"""

import numpy as np
from numpy.typing import NDArray

PER_DOCUMENT = 25
SPREAD = 0.5
"""Length of a passage's own part beside its document's: passages of one document have a cosine of 0.8."""


def passages(count: int, dimension: int) -> NDArray[np.float32]:
    """Rows to store, `(count, dimension)`."""
    draw = np.random.default_rng(1)
    documents = _directions(draw, -(-count // PER_DOCUMENT), dimension)
    return (np.repeat(documents, PER_DOCUMENT, axis=0)[:count] + SPREAD * _directions(draw, count, dimension)).astype(
        "f4"
    )


def questions(count: int, of: int, dimension: int) -> NDArray[np.float32]:
    """Vectors to search for, each near one of the first `of` passages."""
    draw = np.random.default_rng(7)
    chosen = passages(of, dimension)[draw.integers(of, size=count)]
    return (chosen + SPREAD * _directions(draw, count, dimension)).astype(np.float32)


def _directions(draw: np.random.Generator, count: int, dimension: int) -> NDArray[np.float64]:
    rows = draw.standard_normal((count, dimension))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
