"""Proves that copies of a workspace are equal to it. Reads a store."""

from collections.abc import Mapping
from typing import Any

from lightragctl.backup import restore
from lightragctl.backup.progress import Progress
from lightragctl.backup.restore import Expected
from lightragctl.backup.site import Work
from lightragctl.core.errors import LightragctlError
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
    store = work.site.store
    problems = [
        problem for name, copy in names.items() for problem in restore.compare(store, copy, wanted[name], progress)
    ]
    _refuse(problems)
    return {
        "rows": sum(one.unique_keys for one in wanted.values()),
        **prove_answers(work, names),
        "entities": _prove_entities(work, names),
    }


def prove_answers(work: Work, names: Mapping[str, str]) -> dict[str, Any]:
    """How many searches with known answers there were, and the mean share of equal hits; both 0 and 1.0 for none.

    Raises:
        DifferentCopyError: too many hits differ, or a row is not found by its own vector.
    """
    known = work.origin.answers(work.site.search)
    if known is None:
        return {"searches": 0, "overlap": 1.0}
    found = restore.check_answers(work.origin.schemas, known, names, work.site.search)
    _refuse(
        f"{one.collection}: {one.searches} searches with known answers find {one.overlap:.0%} of the same rows"
        + (f", and {len(one.lost)} rows are not found by their own vectors" if one.lost else "")
        for one in found
        if not one.ok
    )
    searches = sum(one.searches for one in found)
    share = sum(one.overlap * one.searches for one in found) / searches if searches else 1.0
    return {"searches": searches, "overlap": round(share, 4)}


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
