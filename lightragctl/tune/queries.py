"""The queries of a search: recorded questions first, then the golden set, then sampled rows. Does network I/O."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lightragctl.core.errors import LightragctlError
from lightragctl.core.result import Event, Notify
from lightragctl.quality.golden import GoldenMissingError
from lightragctl.release import golden
from lightragctl.release.release import Release
from lightragctl.vectors.model import FloatArray

Origin = str
RECORDED, GOLDEN, ROW = "recorded", "golden", "row"
FEW = 50
"""Fewer questions than this are completed by sampled rows."""


@dataclass(frozen=True, eq=False)
class Queries:
    """Vectors to search for.

    Attributes:
        vectors: `(n, dimension) float32`.
        own: for each the id of the stored row that it is, which does not count as found; None for a question.
        origins: where each comes from.
    """

    vectors: FloatArray
    own: tuple[str | None, ...]
    origins: tuple[Origin, ...]

    @property
    def counts(self) -> dict[Origin, int]:
        """How many there are of each origin."""
        return {name: self.origins.count(name) for name in (RECORDED, GOLDEN, ROW) if name in self.origins}


Questions = Callable[[int], Queries | None]
"""Questions of users, at most this number; None when there are none."""


def of_release(release: Release, workspace: str, kind: str, notify: Notify) -> Questions:
    """Questions about a workspace: recorded ones, completed by those of its golden set."""

    def read(count: int) -> Queries | None:
        if kind != "chunks":
            return None
        texts = _recorded(release, workspace, notify)[:count]
        found = []
        if texts:
            vectors = golden.embed(release, texts)
            found.append(Queries(vectors, (None,) * len(texts), (RECORDED,) * len(texts)))
        known = _golden(release, workspace) if len(texts) < count else None
        if known is not None:
            found.append(_first(known, count - len(texts)))
        return joined(found) if found else None

    return read


def _recorded(release: Release, workspace: str, notify: Notify) -> list[str]:
    try:
        return golden.recorded(release, workspace, notify)
    except LightragctlError as error:
        notify(Event(f"recorded questions are not used: {error.message}"))
        return []


def _golden(release: Release, workspace: str) -> Queries | None:
    place = golden.place(release, workspace)
    try:
        known, _ = golden.known(release, place)
    except GoldenMissingError:
        return None
    queries = [one.query for one in known.answers]
    vectors = np.stack([one.vector for one in queries]).astype(np.float32)
    return Queries(vectors, tuple(one.row for one in queries), (GOLDEN,) * len(queries))


def _first(queries: Queries, count: int) -> Queries:
    return Queries(queries.vectors[:count], queries.own[:count], queries.origins[:count])


def joined(parts: Sequence[Queries]) -> Queries:
    """Queries one after the other."""
    return Queries(
        np.concatenate([one.vectors for one in parts]).astype(np.float32),
        tuple(own for one in parts for own in one.own),
        tuple(origin for one in parts for origin in one.origins),
    )


def completed(questions: Queries | None, ids: Sequence[str], vectors: FloatArray, count: int) -> Queries:
    """The questions, completed by stored rows if there are fewer than `FEW`.

    Args:
        questions: None when there are none.
        ids: of stored rows in a random order.
        vectors: theirs.
        count: of all queries.
    """
    known = len(questions.own) if questions else 0
    if questions is not None and known >= FEW:
        return questions
    rows = Queries(
        np.asarray(vectors[: count - known], np.float32),
        tuple(ids[: count - known]),
        (ROW,) * min(count - known, len(ids)),
    )
    return joined([questions, rows]) if questions is not None else rows
