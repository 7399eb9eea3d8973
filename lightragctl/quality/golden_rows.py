"""A golden set as rows of the control collection, and back. Pure.

`golden` holds the head and is written last, so that it names whole sets alone; `golden:VERSION:NUMBER` hold queries.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import ValidationError

from lightragctl.core.errors import LightragctlError
from lightragctl.core.hint import Command, Hint
from lightragctl.quality.exact import Neighbours
from lightragctl.quality.golden import GoldenSet, Head, KnownAnswer, Origin, Query, StoredModel
from lightragctl.vectors.model import CONTENT_BYTES

HEAD = "golden"
FIRST, LAST = "golden:", "golden;"
"""Between these are the ids of all queries; ; is the character after :."""
_BROKEN = Hint("rebuild it: ", Command("golden build"))


class _QueryRow(StoredModel):
    """`vector` is float32, little-endian, in base64; scores and slack as `Neighbours` has them."""

    origin: Origin
    text: str
    row: str | None
    vector: str
    ids: tuple[str, ...]
    scores: tuple[float, ...]
    slack: tuple[float, ...]


def key(version: int, number: int) -> str:
    """The id of a query's row; `number` from 1."""
    return f"{FIRST}{version}:{number:05}"


def version_of(row_id: str) -> int | None:
    """The version of a row; None for rows that are not golden queries."""
    parts = row_id.split(":")
    return int(parts[1]) if len(parts) == 3 and row_id.startswith(FIRST) and parts[1].isdecimal() else None


def keys(head: Head) -> list[str]:
    """The ids of all queries of a set, in order."""
    return [key(head.version, number) for number in range(1, head.queries + 1)]


def encoded(answer: KnownAnswer) -> dict[str, Any] | None:
    """A query's value; None when it is too large for a row: text or vector too long, or too many ties."""
    query, near = answer.query, answer.neighbours
    value = {
        "origin": query.origin,
        "text": query.text,
        "row": query.row,
        "vector": base64.b64encode(query.vector.astype("<f4").tobytes()).decode(),
        "ids": list(near.ids),
        "scores": near.scores.tolist(),
        "slack": near.slack.tolist(),
    }
    size = len(json.dumps(value, ensure_ascii=False).encode())
    return value if size <= CONTENT_BYTES else None


def digest(values: Iterable[Mapping[str, Any]]) -> str:
    """A digest of the stored queries."""
    total = hashlib.sha256()
    for value in values:
        total.update(json.dumps(value, sort_keys=True).encode() + b"\n")
    return total.hexdigest()


def head_of(text: str) -> Head:
    """The head from its row's value.

    Raises:
        LightragctlError: it is not one.
    """
    try:
        return Head.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise LightragctlError(f"the golden set's head cannot be read: {first['msg']}", _BROKEN) from error


def version_in(text: str | None) -> int:
    """The version in a head's text; 0 without one."""
    try:
        return head_of(text).version if text else 0
    except LightragctlError:
        return 0


def golden_set(head: Head, texts: Sequence[str | None]) -> GoldenSet:
    """The set from its rows' values, in the order of `keys`; None for a row that is not there.

    Raises:
        LightragctlError: a query is missing, or they are not those that the head was written for.
    """
    whole = [text for text in texts if text is not None]
    values = [json.loads(text) for text in whole]
    if len(whole) < head.queries or digest(values) != head.digest:
        raise LightragctlError(
            f"golden set {head.version} is incomplete: found {len(whole)} of {head.queries} queries"
            + ("" if len(whole) < head.queries else ", but not those of the set"),
            _BROKEN,
        )
    return GoldenSet(head, tuple(_decoded(head, _QueryRow.model_validate(value)) for value in values))


def _decoded(head: Head, row: _QueryRow) -> KnownAnswer:
    vector = np.frombuffer(base64.b64decode(row.vector), "<f4").astype(np.float32)
    scores, slack = np.array(row.scores, np.float64), np.array(row.slack, np.float64)
    near = Neighbours(head.metric, head.k, row.ids, scores, slack)
    return KnownAnswer(Query(row.origin, row.text, vector, row.row), near)
