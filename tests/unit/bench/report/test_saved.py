"""Saved runs: what is written is what is read, and what is none is told with a way on."""

import json
from typing import Any

import msgspec
import pytest

from lightragctl.bench.report.saved import decoded, encoded
from lightragctl.core.errors import UsageError
from tests.fakes.saved_run import REPORT, RUN


def changed(**fields: Any) -> bytes:
    """The file of the sample with other fields; None takes one out."""
    document = {**json.loads(encoded(RUN)), **fields}
    return json.dumps({name: value for name, value in document.items() if value is not None}).encode()


def test_what_was_written_is_read_again() -> None:
    assert encoded(decoded(encoded(RUN), "run.json")) == encoded(RUN)
    assert decoded(encoded(RUN), "run.json").beside == RUN.beside


def test_bodies_of_answers_stay_out() -> None:
    with_bodies = msgspec.structs.replace(RUN, report=msgspec.structs.replace(REPORT, bodies={0: b"secret"}))
    assert encoded(with_bodies) == encoded(RUN)


def test_a_file_of_before_thresholds_were_saved_has_none() -> None:
    run = decoded(changed(thresholds=None, ended_at=None), "run.json")
    assert (run.beside.thresholds, run.beside.ended_at) == ({}, "")


def test_what_a_reader_does_not_know_it_passes_over() -> None:
    assert decoded(changed(weather="fine"), "run.json") == decoded(encoded(RUN), "run.json")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "no saved run"),
        (b"\xff\xfe", "no saved run"),
        (b"[1, 2]", "no saved run"),
        (b"{}", "its schema is 'not told'"),
        (changed(schema="lightragctl/v1"), "its schema is 'lightragctl/v1', not 'lightragctl-bench/1'"),
        (changed(schema="lightragctl-bench/2"), "another version of lightragctl: its schema is lightragctl-bench/2"),
        (changed(schema=3), "no saved run"),
        (changed(requests=None), "no whole saved run: Object missing required field `requests`"),
        (changed(seconds="none"), "no whole saved run"),
        (changed(latency={**msgspec.to_builtins(REPORT.latency), "histogram": "HISTx"}), "not a histogram"),
        (encoded(RUN)[:-100], "no saved run"),
    ],
)
def test_what_is_no_saved_run_is_a_usage_error_that_names_the_file(text: bytes, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        decoded(text, "folder/run.json")
    assert "folder/run.json" in caught.value.message
    assert told in caught.value.message
    assert caught.value.hint
