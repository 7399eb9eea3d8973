"""A run as it is saved: the report, what the service told of it, and what it had to keep to. Pure.

`encoded` gives the text of a file, `decoded` reads it again. The file is flat: the report's fields, and those of
`Beside` next to them; what a reader does not know it passes over.
"""

import re
from typing import Any

import msgspec

from lightragctl.bench.histogram import Histogram
from lightragctl.bench.measured import Beside, Measured
from lightragctl.bench.result import SCHEMA, LoadReport, Times
from lightragctl.core.errors import UsageError

_SCHEMA = re.compile(r"lightragctl-bench/([0-9]+)")
_HINT = "give a file that `lightragctl bench run --save FILE` wrote"


class _Head(msgspec.Struct):
    schema: str = ""


def plain(run: Measured) -> dict[str, Any]:
    """The flat document of a file, which `-o json` shows the most of."""
    report: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(run.report, bodies={}))
    return {**report, **msgspec.to_builtins(run.beside)}


def encoded(run: Measured) -> bytes:
    """The text of a file."""
    return msgspec.json.format(msgspec.json.encode(plain(run)))


def decoded(text: bytes, name: str) -> Measured:
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
    return Measured(report, beside)


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
