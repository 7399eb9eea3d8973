"""Proves that copies of a workspace are equal to it. Reads a store."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightragctl.backup import restore
from lightragctl.backup.answers import Agreement, Answers
from lightragctl.backup.nearest import Nearest
from lightragctl.backup.progress import Progress
from lightragctl.backup.restore import Expected
from lightragctl.backup.site import Work
from lightragctl.core.errors import LightragctlError
from lightragctl.release.placed_tables import PlacedTables, equal
from lightragctl.release.workspace_tables import Extent
from lightragctl.vectors.control import collection_name
from lightragctl.vectors.copying import loaded

_NAMED = 5


class DifferentCopyError(LightragctlError):
    """A copy is not equal to its original."""

    code = "copy-differs"


def prove(work: Work, names: Mapping[str, str], wanted: Mapping[str, Expected], progress: Progress) -> dict[str, Any]:
    """Figures of the comparison: rows, searches and the share of equal hits, entities.

    Args:
        work: the origin and the place of the copies.
        names: of the copies, by the names of the originals.
        wanted: what each must have; without a digest only its number of rows is compared.
        progress: counts the rows that are read.

    Raises:
        DifferentCopyError: a copy differs.
    """
    store, schemas = work.site.store, work.origin.schemas
    known = work.origin.answers(work.site.search)
    passing = {name: Nearest(known, schemas[name]) for name in names}
    _refuse(
        problem
        for name, copy in names.items()
        for problem in restore.compare(store, copy, wanted[name], progress, passing[name].watch)
    )
    nearest = {name: one.found for name, one in passing.items() if one.found is not None}
    return {
        "rows": sum(one.unique_keys for one in wanted.values()),
        **_prove_answers(work, names, known, nearest),
        "entities": _prove_entities(work, names),
    }


def prove_tables(placed: PlacedTables, written: Mapping[str, Sequence[Any]]) -> int:
    """Read the rows in PostgreSQL again, and return how many there are.

    Args:
        placed: the copies.
        written: rows, digest and columns by table.

    Raises:
        DifferentCopyError: a table differs.
    """
    wanted = {name: Extent(rows, digest) for name, (rows, digest, _) in written.items()}
    found = placed.measured({name: columns for name, (_, _, columns) in written.items()})
    _refuse(equal(wanted, found))
    return sum(one.rows for one in wanted.values())


def prove_answers(work: Work, names: Mapping[str, str]) -> None:
    """Show that the index of each copy answers by the name that it has now.

    Raises:
        DifferentCopyError: a row is not found by its own vector.
    """
    _prove_answers(work, names, work.origin.answers(work.site.search), {})


def _prove_answers(
    work: Work, names: Mapping[str, str], known: Answers | None, nearest: Mapping[str, Sequence[Sequence[str]]]
) -> dict[str, Any]:
    """How many searches there were, and the mean shares of equal hits and of the nearest rows; 0 and 1.0 for none."""
    if known is None:
        return {"searches": 0, "overlap": 1.0, "recall": 1.0, "recall_before": 1.0}
    found = restore.check_answers(work.origin.schemas, known, names, work.site.search, nearest)
    _refuse(_worse(one) for one in found if not one.ok)
    return {
        "searches": sum(one.searches for one in found),
        "overlap": _mean([(one.overlap, one.searches) for one in found]),
        "recall": _mean([(one.recall, one.searches) for one in found]),
        "recall_before": _mean([(one.recall_before, one.searches) for one in found]),
    }


def _worse(one: Agreement) -> str:
    if one.lost:
        return f"{one.collection}: {len(one.lost)} of {one.searches} rows are not found by their own vectors"
    return f"{one.collection}: {one.searches} searches: recall {one.recall:.2f}, was {one.recall_before:.2f}"


def _mean(shares: Sequence[tuple[float | None, int]]) -> float:
    known = [(share, weight) for share, weight in shares if share is not None]
    total = sum(weight for _, weight in known)
    return round(sum(share * weight for share, weight in known) / total, 4) if total else 1.0


def prove_counts(work: Work, names: Mapping[str, str], rows: Mapping[str, int]) -> None:
    """Compare the numbers of rows; what was written since counts too, so that there may be more.

    Raises:
        DifferentCopyError: a collection has fewer.
    """
    for name, copy in names.items():
        with loaded(work.site.store, copy):
            count = work.site.store.row_count(copy)
        _refuse([f"{copy} has {count} rows, {name} had {rows[name]}"] if count < rows[name] else [])


def _prove_entities(work: Work, names: Mapping[str, str]) -> int:
    """How many entities of the graph were looked up."""
    collection = names.get(collection_name(work.origin.workspace, "entities", work.site.model))
    sample = work.origin.entities() if collection else {}
    if collection and sample:
        missing = restore.entities_without_vectors(sample, work.site.store, collection)
        _refuse(
            [f"{len(missing)} of {len(sample)} entities of the graph have no vectors: {', '.join(missing[:_NAMED])}"]
            if missing
            else []
        )
    return len(sample)


def _refuse(problems: Any) -> None:
    if found := list(problems):
        raise DifferentCopyError(f"the copy differs from its original: {'; '.join(found)}")
