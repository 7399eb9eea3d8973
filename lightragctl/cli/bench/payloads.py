"""Results of `bench`. Pure; the only place that defines the keys of their payloads."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightragctl.core.errors import ExitStatus
from lightragctl.core.result import Result, Status

if TYPE_CHECKING:
    from lightragctl.bench.report.documents import Document


def _measured(document: "Document") -> dict[str, Any]:
    """A report as its command shows it: without what only a file needs."""
    from lightragctl.bench.annotated_run import AnnotatedRun
    from lightragctl.bench.report.documents import kind_of

    plain = kind_of(document).plain(document)
    del plain["schema"]
    plain.pop("seconds", None)
    for value in plain.values():
        if isinstance(value, dict):
            value.pop("histogram", None)
    return {**plain, "broken_thresholds": document.broken} if isinstance(document, AnnotatedRun) else plain


_ENDS = {
    "thresholds": ExitStatus.CHECKS_FAILED,
    "worse": ExitStatus.CHECKS_FAILED,
    "not-valid": ExitStatus.WARNINGS,
    "interrupted": ExitStatus.WARNINGS,
    "not-enough-data": ExitStatus.WARNINGS,
    "not-comparable": ExitStatus.WARNINGS,
    "no-answers": ExitStatus.FAILED,
}
"""The exit status of each error code; of several errors the first decides."""


def bench(document: "Document") -> Result:
    """`bench run`, `saturate`, `compare`: exit status 3 when thresholds are not met, 4 when the result is not valid."""
    from lightragctl.bench.report.documents import kind_of

    kind = kind_of(document)
    errors = kind.errors(document)
    if not errors:
        return Result(kind.command, _measured(document))
    end = _ENDS[errors[0].code]
    status = Status.PARTIAL if end is ExitStatus.WARNINGS else Status.FAILED
    return Result(kind.command, _measured(document), status, errors, end)


def bench_report(documents: "Mapping[str, Document]", written: Sequence[Path]) -> Result:
    """`bench report`: each report as its command showed it, with its errors, and the files written."""
    from lightragctl.bench.report.documents import KINDS, kind_of

    data: dict[str, Any] = {kind.plural: [] for kind in KINDS}
    for file, document in documents.items():
        kind = kind_of(document)
        errors = [asdict(error) for error in kind.errors(document)]
        data[kind.plural].append({"file": file, **_measured(document), "errors": errors})
    return Result("bench report", {**data, "written": [str(path) for path in written]})
