"""Known-answer searches: stored vectors with what a search for them finds, and whether another store agrees. Pure."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from lightragctl.backup.manifest import InvalidBackupError
from lightragctl.backup.parts import Tally
from lightragctl.vectors.rows import Key
from lightragctl.vectors.schema import CollectionSchema

TOP_K = 10
MIN_OVERLAP = 0.7
"""Equal rows are proved by their hashes; this proves that the index finds them. Two indexes over the same rows differ
in the last places of an answer: over 20,000 random vectors, which are all nearly equally far, two shared 0.82 of it."""

TIE = 1e-5
"""Scores that differ by less are equal: two versions of Milvus round them differently."""

Search = Callable[[str, CollectionSchema, NDArray[np.float32], int], Sequence[Sequence[Key]]]
"""Takes a collection's name, its schema, vectors and k; gives the keys of the hits of each, best first, without a tie at the end."""


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

    top_k: int
    collections: dict[str, tuple[Answer, ...]]


@dataclass(frozen=True)
class Agreement:
    """How another collection answers the same searches.

    Attributes:
        collection: the name in the backup.
        searches: how many there were.
        overlap: mean share of the same hits, 0 to 1.
        lost: keys of rows that were found by their own vector and are not any more.
    """

    collection: str
    searches: int
    overlap: float
    lost: tuple[Key, ...]

    @property
    def ok(self) -> bool:
        """Whether the collection answers as it did."""
        return not self.lost and self.overlap >= MIN_OVERLAP


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


def compare(known: Answers, collection: str, found: Sequence[Sequence[Key]]) -> Agreement:
    """How hits that were found now agree with those of a collection of the backup; both in the same order."""
    answers = known.collections[collection]
    shares, lost = [], []
    for one, keys in zip(answers, found, strict=True):
        shares.append(len(set(one.hits) & set(keys)) / len(one.hits) if one.hits else 1.0)
        if one.key in one.hits and one.key not in keys:
            lost.append(one.key)
    return Agreement(collection, len(answers), sum(shares) / len(shares) if shares else 1.0, tuple(lost))


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
