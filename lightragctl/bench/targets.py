"""Targets: raw requests, evaluation of answers, first tokens, ids of hits. Pure.

`KINDS` lists what can be asked; one entry adds another. Whether an answer is good is decided from its whole body, by
decoding the few fields that every good one has: that costs 1.5 us for ten hits (2.5 KB).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

import msgspec

from lightragctl.core import urls
from lightragctl.core.errors import UsageError
from lightragctl.core.source_names import plain_source

_VISIBLE = re.compile(r"[!-~]+")
_NO_SPACE = re.compile(r"[^\s\x00-\x1f\x7f]*")


class RequestOutcome(StrEnum):
    """The outcome of a request."""

    OK = "ok"
    HTTP = "http"
    """A status other than 2xx."""
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    """Refused, or closed before the answer was complete."""
    BAD_BODY = "bad-body"
    """Status 2xx with a body that is not a valid answer."""


class Target(msgspec.Struct, frozen=True):
    """The service to load-test.

    `url` is the base address, with or without a closing /v1; it may hold user and password, which are sent as Basic
    credentials, and a query, which is sent as it is. `kind` names one of `KINDS`; `fields` stand in every body beside
    the question (`{"top_k": 5}`, `{"model": "..."}`).
    """

    url: str
    kind: str = "retrieve"
    fields: Mapping[str, Any] = {}
    api_key: str | None = None

    @property
    def shown(self) -> str:
        """The address as it is shown and saved: without credentials."""
        return urls.shown(self.url)

    @property
    def secrets(self) -> list[str]:
        """Secrets to redact in shown answers."""
        return [*urls.secrets(self.url), *filter(None, [self.api_key])]


class Endpoint(msgspec.Struct, frozen=True):
    """Where to connect."""

    host: str
    port: int
    tls: bool


class FoundHit(msgspec.Struct, frozen=True):
    """A hit in an answer; `source` names the document that it is a part of."""

    id: str
    source: str = ""


class _Hits(msgspec.Struct):
    hits: list[FoundHit]


class _HitsRaw(msgspec.Struct):
    hits: list[msgspec.Raw]


class _DataRaw(msgspec.Struct):
    data: list[msgspec.Raw]


class _Status(msgspec.Struct):
    status: str


class _Chunk(msgspec.Struct):
    chunk_id: str = ""
    file_path: str = ""


class _Chunks(msgspec.Struct):
    chunks: list[_Chunk]


class _QueryData(msgspec.Struct):
    data: _Chunks


class _Delta(msgspec.Struct):
    content: str | None = None


class _StreamChoice(msgspec.Struct):
    delta: _Delta


class _Event(msgspec.Struct):
    """An event of a stream in OpenAI's shape; our /query puts the hits beside the first."""

    choices: list[_StreamChoice] = []
    lightragctl: msgspec.Raw = msgspec.Raw(b"{}")
    error: msgspec.Raw = msgspec.Raw(b"null")


_retrieved = msgspec.json.Decoder(_HitsRaw)
_embedded = msgspec.json.Decoder(_DataRaw)
_upstream = msgspec.json.Decoder(_Status)
_event = msgspec.json.Decoder(_Event)

_STREAM_END = re.compile(rb"(?:^|\n)data: ?\[DONE\]\s*\Z")
_STREAM_END_BYTES = 32
"""Room for the last event and the line ends around it."""


def _decodes(decoder: "msgspec.json.Decoder[Any]") -> Callable[[bytes], bool]:
    def good(body: bytes) -> bool:
        try:
            decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        return True

    return good


def _succeeded(body: bytes) -> bool:
    """LightRAG says with status 200 and `"status": "failure"` that it found nothing or could not answer."""
    try:
        return _upstream.decode(body).status == "success"
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def _streamed_whole(body: bytes) -> bool:
    """A stream that broke lacks its last event, or (vLLM) has an error before it."""
    if _STREAM_END.search(body[-_STREAM_END_BYTES:]) is None or not FirstToken().feed(body):
        return False
    return b'"error"' not in body or not any(_tells_error(line) for line in body.split(b"\n"))


def _no_hits(_: bytes) -> tuple[FoundHit, ...]:
    return ()


def _hits(body: bytes) -> tuple[FoundHit, ...]:
    return tuple(msgspec.json.decode(body, type=_Hits).hits)


def _chunk_hits(body: bytes) -> tuple[FoundHit, ...]:
    chunks = msgspec.json.decode(body, type=_QueryData).data.chunks
    return tuple(FoundHit(chunk.chunk_id, plain_source(chunk.file_path)) for chunk in chunks if chunk.chunk_id)


def _streamed_hits(body: bytes) -> tuple[FoundHit, ...]:
    for line in body.split(b"\n"):
        if line.startswith(b"data:"):
            return _hits(_event.decode(line[5:].strip()).lightragctl)
    return ()


def _question_body(question: str) -> dict[str, Any]:
    return {"query": question}


def _streamed_question(question: str) -> dict[str, Any]:
    return {"query": question, "stream": True}


def _input_body(question: str) -> dict[str, Any]:
    return {"input": question}


def _message_body(question: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}], "stream": True}


@dataclass(frozen=True)
class Operation:
    """One operation of one kind of service.

    Attributes:
        path: below the target's base address.
        body: the fields that carry the question.
        good: whether the body of an answer with status 2xx is the expected one.
        hits: those in a good body, best first; empty where answers have none.
        streamed: the answer comes as server-sent events, and its first token has a time of its own.
        key_header: where the API key goes.
        worker: the module whose process sends it. Of Milvus the plan's requests are its own messages, and what is kept
            of an answer are its hits in the shape of /retrieve.
    """

    name: str
    path: str
    body: Callable[[str], dict[str, Any]]
    good: Callable[[bytes], bool]
    hits: Callable[[bytes], tuple[FoundHit, ...]] = _no_hits
    streamed: bool = False
    key_header: str = "Authorization: Bearer"
    worker: str = "lightragctl.bench.worker"

    @property
    def finds(self) -> bool:
        """Whether its answers hold hits."""
        return self.hits is not _no_hits


KINDS: Mapping[str, Operation] = {
    kind.name: kind
    for kind in (
        Operation("retrieve", "/retrieve", _question_body, _decodes(_retrieved), _hits),
        Operation("query", "/query", _streamed_question, _streamed_whole, _streamed_hits, streamed=True),
        Operation("embeddings", "/v1/embeddings", _input_body, _decodes(_embedded)),
        Operation("chat", "/v1/chat/completions", _message_body, _streamed_whole, streamed=True),
        Operation("lightrag", "/query/data", _question_body, _succeeded, _chunk_hits, key_header="X-API-Key:"),
        Operation("milvus", "", _question_body, _decodes(_retrieved), _hits, worker="lightragctl.bench.milvus"),
    )
}
"""Our /retrieve and /query, any OpenAI-compatible endpoint, and upstream LightRAG's /query/data; Milvus itself."""


def kind_named(name: str) -> Operation:
    """The operation of that name; UsageError when there is none."""
    kind = KINDS.get(name)
    if kind is None:
        raise UsageError(f"unknown target '{name}'", f"use one of {', '.join(KINDS)}")
    return kind


_URL_HINT = "use http://HOST:PORT; in user and password write @ : / ? # % as %40 %3A %2F %3F %23 %25"


def endpoint(target: Target) -> Endpoint:
    """Where to connect.

    Raises:
        UsageError: the URL is none, or not of http or https.
    """
    try:
        parts = urlsplit(target.url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"'{target.shown}' is not a URL of a service", _URL_HINT) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not _NO_SPACE.fullmatch(target.url):
        raise UsageError(f"'{target.shown}' is not a URL of a service", _URL_HINT)
    if target.kind == "milvus" and (urls.basic_credentials(target.url) or parts.query):
        raise UsageError("--target milvus supports no credentials and no query", "remove them from its URL")
    tls = parts.scheme == "https"
    return Endpoint(parts.hostname, port if port is not None else (443 if tls else 80), tls)


def request_bytes(target: Target, question: str) -> bytes:
    """The whole request as it goes over the wire.

    Raises:
        UsageError: the kind, the URL or the API key cannot be.
    """
    kind = kind_named(target.kind)
    endpoint(target)
    parts = urlsplit(target.url)
    base = parts.path.rstrip("/")
    if kind.path.startswith("/v1/"):
        base = base.removesuffix("/v1")
    body = msgspec.json.encode({**target.fields, **kind.body(question)})
    lines = [
        f"POST {base}{kind.path}{f'?{parts.query}' if parts.query else ''} HTTP/1.1",
        f"Host: {parts.netloc.rpartition('@')[2]}",
        "Content-Type: application/json",
        "Accept-Encoding: identity",
        f"Content-Length: {len(body)}",
        *_credentials(target, kind),
    ]
    return "\r\n".join((*lines, "", "")).encode("utf-8") + body


def _credentials(target: Target, kind: Operation) -> list[str]:
    """The authentication headers."""
    basic, key = urls.basic_credentials(target.url), target.api_key
    if basic and key is not None and kind.key_header.startswith("Authorization"):
        message = "an API key and credentials in the URL are mutually exclusive"
        raise UsageError(message, "use one of them; the key comes from --api-key-file or the environment")
    if key is not None and not _VISIBLE.fullmatch(key):
        raise UsageError("the API key is not a valid HTTP header value", "use printable ASCII characters")
    headers = [f"Authorization: Basic {basic}"] if basic else []
    return headers if key is None else [*headers, f"{kind.key_header} {key}"]


def judge(kind: Operation, status: int, body: bytes) -> RequestOutcome:
    """The outcome of a complete answer."""
    if not 200 <= status < 300:
        return RequestOutcome.HTTP
    return RequestOutcome.OK if kind.good(body) else RequestOutcome.BAD_BODY


def hits(kind: Operation, body: bytes) -> tuple[FoundHit, ...]:
    """The hits in a kept body, best first; empty where answers have none, or not where they should be."""
    try:
        return kind.hits(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ()


class FirstToken:
    """Finds the first token in the pieces of a streamed answer: the first event whose text is not empty.

    The events before it (a role, our hits) are no tokens. For one answer.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> bool:
        """Whether the first token is in this piece, or was in what came before."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return any(_has_text(line) for line in lines)


def _has_text(line: bytes) -> bool:
    event = _event_in(line)
    return event is not None and any(choice.delta.content for choice in event.choices)


def _tells_error(line: bytes) -> bool:
    event = _event_in(line)
    return event is not None and bytes(event.error) != b"null"


def _event_in(line: bytes) -> _Event | None:
    """The event of a line of a stream; None when it holds none in this shape."""
    data = line.removeprefix(b"data:").strip()
    if not line.startswith(b"data:") or not data.startswith(b"{"):
        return None
    try:
        return _event.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def ranked(given: Sequence[FoundHit], judged: set[str]) -> dict[str, float]:
    """Documents with scores that keep the order of their best passages."""
    names = dict.fromkeys(_name(hit, judged) for hit in given)
    return {name: float(len(names) - rank) for rank, name in enumerate(names)}


def _name(hit: FoundHit, judged: set[str]) -> str:
    known = (hit.id, hit.source, PurePath(hit.source).name)
    return next((name for name in known if name in judged), hit.source or hit.id)
