"""Examples of failed answers: what a worker keeps of them, and what is shown. Pure."""

import codecs
from collections.abc import Iterable

import msgspec

from lightragctl.core.urls import HIDDEN, shown

KEPT_BYTES = 4096
"""Of a body, for the parent: more than is shown, so that a secret in it is found whole."""
EXCERPT_CHARS = 300


class BadAnswer(msgspec.Struct, frozen=True, tag="bad"):
    """The first answer of one outcome, as reported by its worker.

    Attributes:
        outcome: as in `targets.RequestOutcome`.
        status: of HTTP, or Milvus's own code; 0 where there was no answer.
        location: where a redirect leads; empty of others.
        encoding: how the body is encoded, such as gzip; empty where it is not.
        body: its first `KEPT_BYTES`.
        size_bytes: of the whole body.
    """

    outcome: str
    status: int
    body: bytes = b""
    size_bytes: int = 0
    location: str = ""
    encoding: str = ""


class Example(msgspec.Struct, frozen=True):
    """The same to be shown and saved: `start` is the begin of the body, what cannot be printed escaped.

    Secrets of the request are hidden in it, as some services quote them.
    """

    outcome: str
    status: int
    start: str
    size_bytes: int
    location: str = ""
    encoding: str = ""


def bad_answer(outcome: str, status: int, body: bytes, location: str = "", encoding: str = "") -> BadAnswer:
    """The kept part of an answer."""
    return BadAnswer(outcome, status, body[:KEPT_BYTES], len(body), location, encoding)


def example(found: BadAnswer, secrets: Iterable[str]) -> Example:
    """The shown part of a failed answer, with secrets redacted."""
    text = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode(found.body)
    known = [one for one in secrets if one]
    start = _printable(_without(text, known), EXCERPT_CHARS)
    location = _printable(_without(shown(found.location), known), EXCERPT_CHARS)
    encoding = _printable(found.encoding, EXCERPT_CHARS)
    return Example(found.outcome, found.status, start, found.size_bytes, location, encoding)


def words(found: Example) -> str:
    """An example in one line."""
    status = f"status {found.status}" if found.status else "no status"
    location = f", to {found.location}" if found.location else ""
    encoding = f", encoded as {found.encoding}" if found.encoding else ""
    body = f": {found.start}" if found.start else ", without a body"
    return f"first {found.outcome}: {status}{location}{encoding}, {found.size_bytes} bytes{body}"


def _without(text: str, secrets: Iterable[str]) -> str:
    for one in sorted(secrets, key=len, reverse=True):
        text = text.replace(one, HIDDEN)
    return text


def _printable(text: str, most: int) -> str:
    """One line of printable characters, truncated with an ellipsis."""
    escaped = "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text[:most])
    return escaped if len(text) <= most and len(escaped) <= most else f"{escaped[:most]}…"
