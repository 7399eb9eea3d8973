"""A webhook is told of the end of an operation, and its failure changes nothing."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest

from lightragctl.core.result import Event
from lightragctl.operations.kind import Started, new_operation
from lightragctl.operations.model import Operation, Phase
from lightragctl.operations.notification import message, send
from lightragctl.operations.rehearsal import REHEARSAL

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def operation(url: str = "http://hook/x") -> Operation:
    started = Started("ann@laptop", NOW, "1.0", "0001")
    record = new_operation(REHEARSAL, "dev", {"seconds": 1, "notify": url}, started)
    return record.changed(phase=Phase.PAUSED, cause="errors: undecided")


def test_the_message_says_what_to_do_next() -> None:
    found = message(operation())
    assert found["text"] == f"{REHEARSAL.name} of release dev: paused: errors: undecided"
    assert "operations promote" in found["next"]
    assert json.loads(json.dumps(found))["phase"] == "paused"


@pytest.mark.parametrize(
    ("answers", "attempts", "told"),
    [
        ([204], 1, 0),
        ([500, 429, 200], 3, 0),
        ([500, 500, 500], 3, 1),
        ([404], 1, 1),
        ([0, 0, 0], 3, 1),
    ],
    ids=["taken", "later", "never", "refused", "unreachable"],
)
def test_attempts_are_bounded_and_a_failure_is_an_event(answers: list[int], attempts: int, told: int) -> None:
    seen: list[int] = []
    events: list[Event] = []
    waits: list[float] = []
    coming: Iterator[int] = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(len(request.content))
        status = next(coming)
        if not status:
            raise httpx.ConnectError("refused")
        return httpx.Response(status)

    send(operation(), waits.append, events.append, httpx.MockTransport(answer))
    assert (len(seen), len(events), len(waits)) == (attempts, told, attempts - 1)


def test_without_a_url_nothing_is_sent() -> None:
    send(operation(""), lambda seconds: None, lambda event: None, httpx.MockTransport(lambda request: 1 / 0))  # type: ignore[arg-type, return-value]
