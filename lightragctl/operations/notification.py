"""Tells a webhook how an operation has ended, or that it pauses. Network I/O.

What cannot be delivered is reported as an event; it changes nothing of the operation.
"""

from collections.abc import Callable
from typing import Any

import httpx

from lightragctl.core.result import Event, Notify
from lightragctl.operations.model import Operation, next_command

PARAMETER = "notify"
"""The parameter of an operation with the URL; empty: there is no webhook."""
_TIMEOUT_S = 5.0
_PAUSES_S = (1.0, 4.0)
"""Between the attempts."""


def message(record: Operation) -> dict[str, Any]:
    """The JSON body: `text` for chat services, the rest for programs."""
    told = f"{record.kind} of release {record.release}: {record.phase}" + (f": {record.cause}" if record.cause else "")
    return {
        "schema": "lightragctl/operation-notification/v1",
        "text": told,
        "operation": record.id,
        "kind": record.kind,
        "release": record.release,
        "phase": str(record.phase),
        "cause": record.cause,
        "next": str(next_command(record)),
        "ended_at": record.ended_at.isoformat() if record.ended_at else None,
    }


def send(
    record: Operation, pause: Callable[[float], object], notify: Notify, transport: httpx.BaseTransport | None = None
) -> None:
    """Post the message to the operation's webhook, if it has one; three attempts in all.

    Args:
        record: of an operation that has ended or pauses.
        pause: waits some seconds.
        notify: takes the event of a failure.
        transport: an httpx transport, for tests.
    """
    url = record.parameters.get(PARAMETER)
    if not url:
        return
    failure = ""
    for pause_s in (*_PAUSES_S, None):
        failure, is_final = _posted(str(url), record, transport)
        if not failure:
            return
        if is_final or pause_s is None:
            break
        pause(pause_s)
    notify(Event(f"the webhook was not told: {failure}", record.id))


def _posted(url: str, record: Operation, transport: httpx.BaseTransport | None) -> tuple[str, bool]:
    """Why one attempt failed, and whether another is useless; empty when it did not fail."""
    try:
        with httpx.Client(transport=transport, timeout=_TIMEOUT_S) as client:
            answer = client.post(url, json=message(record))
    except httpx.InvalidURL as error:
        return str(error), True
    except httpx.HTTPError as error:
        return str(error) or type(error).__name__, False
    if answer.is_success:
        return "", True
    return (
        f"it answered {answer.status_code}",
        answer.is_client_error and answer.status_code != httpx.codes.TOO_MANY_REQUESTS,
    )
