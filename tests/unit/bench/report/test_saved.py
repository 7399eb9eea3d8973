"""Saved documents: what is written is what is read, and what is none is told with a way on."""

import json
from typing import Any

import msgspec
import pytest

from lightragctl.bench.annotated_run import AnnotatedRun
from lightragctl.bench.report.documents import Document
from lightragctl.bench.report.saved import decoded, encoded
from lightragctl.core.errors import UsageError
from tests.fakes.saved_run import REPORT, RUN
from tests.fakes.saved_series import COMPARED, SEARCH


def changed(**fields: Any) -> bytes:
    """The file of the sample with other fields; None takes one out."""
    document = {**json.loads(encoded(RUN)), **fields}
    return json.dumps({name: value for name, value in document.items() if value is not None}).encode()


def measured(text: bytes) -> AnnotatedRun:
    run = decoded(text, "run.json")
    assert isinstance(run, AnnotatedRun)
    return run


def altered(document: Document, **fields: Any) -> bytes:
    """The file of a document with other fields."""
    return json.dumps({**json.loads(encoded(document)), **fields}).encode()


def test_what_was_written_is_read_again() -> None:
    assert encoded(decoded(encoded(RUN), "run.json")) == encoded(RUN)
    assert measured(encoded(RUN)).annotations == RUN.annotations


@pytest.mark.parametrize("document", [SEARCH, COMPARED], ids=lambda one: type(one).__name__)
def test_a_search_and_a_comparison_too(document: Document) -> None:
    assert encoded(decoded(encoded(document), "file.json")) == encoded(document)


def test_bodies_of_answers_stay_out() -> None:
    with_bodies = msgspec.structs.replace(RUN, report=msgspec.structs.replace(REPORT, bodies={0: b"secret"}))
    assert encoded(with_bodies) == encoded(RUN)


def test_a_file_of_before_thresholds_were_saved_has_none() -> None:
    run = measured(changed(thresholds=None, ended_at=None))
    assert (run.annotations.thresholds, run.annotations.ended_at) == ({}, "")


def test_what_a_reader_does_not_know_it_passes_over() -> None:
    assert decoded(changed(weather="fine"), "run.json") == decoded(encoded(RUN), "run.json")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "was not saved by `bench`"),
        (b"\xff\xfe", "was not saved by `bench`"),
        (b"[1, 2]", "was not saved by `bench`"),
        (b"{}", "its schema is ''"),
        (changed(schema="lightragctl/v1"), "its schema is 'lightragctl/v1', none of lightragctl-bench/1"),
        (changed(schema="lightragctl-bench/2"), "another version of lightragctl: its schema is lightragctl-bench/2"),
        (changed(schema=3), "was not saved by `bench`"),
        (changed(requests=None), "not a valid run: Object missing required field `requests`"),
        (changed(seconds="none"), "not a valid run"),
        (changed(latency={**msgspec.to_builtins(REPORT.latency), "histogram": "HISTx"}), "not a histogram"),
        (altered(SEARCH, schema="lightragctl-saturate/2"), "this one reads lightragctl-saturate/1"),
        (altered(SEARCH, schema="lightragctl-saturate/new"), "was not saved by `bench`"),
        (altered(SEARCH, slo="nonsense"), "not a valid saturation: 'nonsense' is not a threshold"),
        (altered(SEARCH, holds_qps=0), "not a valid saturation: Expected `float` > 0"),
        (altered(SEARCH, steps=[{"rate_qps": 5}]), "not a valid saturation"),
        (altered(COMPARED, schema="lightragctl-compare/9"), "this one reads lightragctl-compare/1"),
        (altered(COMPARED, figures=[{"figure": "p50"}]), "not a valid comparison"),
        (encoded(COMPARED)[:-100], "was not saved by `bench`"),
        (encoded(RUN)[:-100], "was not saved by `bench`"),
    ],
)
def test_what_is_no_saved_run_is_a_usage_error_that_names_the_file(text: bytes, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        decoded(text, "folder/run.json")
    assert "folder/run.json" in caught.value.message
    assert told in caught.value.message
    assert caught.value.hint
