"""Known-answer searches: stored vectors with what a search for them finds, and whether another store agrees. Pure."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lightragctl.backup.manifest import InvalidBackupError
from lightragctl.backup.parts import Tally
from lightragctl.vectors.rows import Key
from lightragctl.vectors.schema import CollectionSchema

TOP_K = 10
MOST_DROP = 0.1
"""By how much the recall of a copy may be below that of the original.

Rows are compared by their hashes. The searches show that the index of the copy works: it was built again, and is not
equal to the original's. At a recall of 0.9, the means of 20 searches in two indexes differ by 0.03 (standard deviation,
when hits are independent): 0.1 is three of these.
"""

TIE = 1e-5
"""Scores that differ by less are equal: two versions of Milvus round them differently."""

Search = Callable[[str, CollectionSchema, NDArray[np.float32], int], Sequence[Sequence[Key]]]
"""Takes a collection's name, its schema, vectors and k; gives the keys of the hits of each, best first, without a tie
at the end."""


class _Strict(BaseModel):
    """Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(_Strict):
    """One search: the key of a stored row, its vector, which was searched for, and the keys that were found."""

    key: int | str
    vector: str
    hits: tuple[int | str, ...]


class Answers(_Strict):
    """Known answers of each collection, `top_k` hits each; vectors are float32, little-endian, in base64."""

    top_k: Annotated[int, Field(ge=1, le=100)]
    collections: dict[str, tuple[Answer, ...]]


@dataclass(frozen=True)
class Agreement:
    """How another collection with the same rows answers the same searches.

    Attributes:
        collection: the name in the backup.
        searches: how many there were.
        overlap: mean share of the original's hits that were found again, 0 to 1; with no tolerance for another index.
        recall: mean share of the nearest rows that were found, 0 to 1; None when these are not known.
        recall_before: that of the original.
        lost: keys of rows that were found by their own vector and are not any more.
    """

    collection: str
    searches: int
    overlap: float
    recall: float | None
    recall_before: float | None
    lost: tuple[Key, ...]

    @property
    def ok(self) -> bool:
        """Whether the index works: it finds the rows of the searches, and near ones as the original did."""
        if self.recall is None or self.recall_before is None:
            return not self.lost
        return not self.lost and self.recall >= self.recall_before - MOST_DROP


def without_last_tie(hits: Sequence[tuple[Key, float]], k: int) -> list[Key]:
    """The keys of hits with their scores, best first, without those whose places others of the same score may take.

    Of rows with equal scores, as of short texts with the same words, an index finds any up to `k`.
    """
    if len(hits) < k:
        return [key for key, _ in hits]
    last = hits[-1][1]
    return [key for key, score in hits if abs(score - last) > TIE]


def record(schemas: Mapping[str, CollectionSchema], tallies: Mapping[str, Tally], search: Search) -> Answers:
    """The answers to searches for the sampled rows of each collection that can be searched."""
    found: dict[str, tuple[Answer, ...]] = {}
    for name, schema in schemas.items():
        sample = tallies[name].sample
        if not sample:
            continue
        vectors = np.stack([vector for _, _, vector in sample]).astype("<f4")
        hits = search(name, schema, vectors, TOP_K)
        found[name] = tuple(
            Answer(key=key, vector=base64.b64encode(vector.tobytes()).decode(), hits=tuple(keys))
            for (_, key, _), vector, keys in zip(sample, vectors, hits, strict=True)
        )
    return Answers(top_k=TOP_K, collections=found)


def parse(document: Any) -> Answers:
    """The known answers of a backup.

    Raises:
        InvalidBackupError: the document does not hold any.
    """
    try:
        return Answers.model_validate(document)
    except ValidationError as error:
        raise InvalidBackupError(f"the known answers cannot be read: {error.errors()[0]['msg']}") from error


def compare(
    known: Answers, collection: str, found: Sequence[Sequence[Key]], nearest: Sequence[Sequence[str]] | None = None
) -> Agreement:
    """How a collection with the same rows answers the searches of one of the backup.

    Args:
        known: the searches.
        collection: the name in the backup.
        found: the keys of what was found, in their order.
        nearest: the keys, as text, of the nearest rows by an exact search, in their order; None: they are not known.
    """
    answers = known.collections[collection]
    lost = [one.key for one, keys in zip(answers, found, strict=True) if one.key in one.hits and one.key not in keys]
    before = [one.hits for one in answers]
    return Agreement(
        collection,
        len(answers),
        _mean_share(found, before),
        None if nearest is None else _mean_share(found, nearest),
        None if nearest is None else _mean_share(before, nearest),
        tuple(lost),
    )


def _mean_share(found: Sequence[Sequence[Key]], wanted: Sequence[Sequence[Key]]) -> float:
    """The mean share of the wanted keys that were found; where none is wanted, all of them were."""
    pairs = [({str(key) for key in keys}, {str(key) for key in each}) for keys, each in zip(found, wanted, strict=True)]
    shares = [len(keys & each) / len(each) if each else 1.0 for keys, each in pairs]
    return sum(shares) / len(shares) if shares else 1.0


def vectors(known: Answers, collection: str, dimension: int) -> NDArray[np.float32]:
    """The vectors of a collection's searches, `(n, dimension)`.

    Raises:
        InvalidBackupError: one has another dimension.
    """
    try:
        decoded = [
            np.frombuffer(base64.b64decode(one.vector, validate=True), "<f4") for one in known.collections[collection]
        ]
        return np.stack(decoded).reshape(-1, dimension)
    except ValueError as error:
        raise InvalidBackupError(f"the known answers of {collection} cannot be read: {error}") from error
