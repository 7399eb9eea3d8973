"""A run as it is saved: the report, what the service told of it, and what it had to keep to. Pure.

`encoded` gives the text of a file, `decoded` reads it again. The file is flat: the report's fields, and those of
`Beside` next to them; what a reader does not know it passes over.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from lightragctl.bench.histogram import Histogram
from lightragctl.bench.result import SCHEMA, LoadReport, Times
from lightragctl.core.errors import UsageError

_SCHEMA = re.compile(r"lightragctl-bench/([0-9]+)")
_HINT = "give a file that `lightragctl bench run --save FILE` wrote"


class Beside(msgspec.Struct, frozen=True):
    """What stands in the file beside the report's own fields.

    Attributes:
        stages_ms, batch_sizes, cache_hits: what lightrag-api told of the run, as in `stages`; empty: nothing.
        replicas: how many of them told it; 0 in files that do not tell.
        replica_notes: which of them were left out, and why.
        thresholds: each as it was given, and whether the run kept to it.
        ended_at: when it ended, as 2026-01-31T12:00:00Z; empty in files that do not tell.
    """

    stages_ms: Mapping[str, float] = {}
    batch_sizes: Mapping[str, float] = {}
    cache_hits: Mapping[str, float] = {}
    replicas: int = 0
    replica_notes: tuple[str, ...] = ()
    thresholds: Mapping[str, bool] = {}
    ended_at: str = ""


class SavedRun(msgspec.Struct, frozen=True):
    """One run: what was measured (a file has no bodies of answers), and what is told of it."""

    report: LoadReport
    beside: Beside = Beside()


class _Head(msgspec.Struct):
    schema: str = ""


def plain(run: SavedRun) -> dict[str, Any]:
    """The flat document of a file, which `-o json` shows the most of."""
    report: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(run.report, bodies={}))
    return {**report, **msgspec.to_builtins(run.beside)}


def encoded(run: SavedRun) -> bytes:
    """The text of a file."""
    return msgspec.json.format(msgspec.json.encode(plain(run)))


def decoded(text: bytes, name: str) -> SavedRun:
    """The run in a file of this name.

    Raises:
        UsageError: it holds no saved run, a newer one than this reads, or one that is not whole.
    """
    _check_schema(text, name)
    try:
        report = msgspec.json.decode(text, type=LoadReport)
        beside = msgspec.json.decode(text, type=Beside)
        _check_histograms(report)
    except ValueError as error:
        raise UsageError(f"{name} is no whole saved run: {error}", _HINT) from error
    return SavedRun(report, beside)


def _check_schema(text: bytes, name: str) -> None:
    try:
        schema = msgspec.json.decode(text, type=_Head).schema
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{name} is no saved run: {error}", _HINT) from error
    if schema == SCHEMA:
        return
    version = _SCHEMA.fullmatch(schema)
    if version is None:
        raise UsageError(f"{name} is no saved run: its schema is {schema or 'not told'!r}, not {SCHEMA!r}", _HINT)
    raise UsageError(
        f"{name} was written by another version of lightragctl: its schema is {schema}, this one reads {SCHEMA}",
        "read it with the version that wrote it",
    )


def _check_histograms(report: LoadReport) -> None:
    for times in (report.latency, report.good, report.failed, report.service, report.lateness, report.first_token):
        if isinstance(times, Times):
            Histogram.decode(times.histogram)
