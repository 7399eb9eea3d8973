"""One HTTP/1.1 connection that carries one request at a time. Does network I/O.

It knows how an answer ends (a length, chunks, or the connection's end), whether the connection may be used again, and
when the first token of a stream came. What an answer is worth is its owner's to judge.
"""

import asyncio
import time
from typing import Protocol, cast

import httptools

from lightragctl.bench.recorder import PendingRequest
from lightragctl.bench.targets import FirstToken

_FRAMING = (b"content-length", b"transfer-encoding")
_TELLING = (b"location", b"content-encoding")
_LENGTHS = frozenset(len(name) for name in (*_FRAMING, *_TELLING))


class ConnectionListener(Protocol):
    """Receives the events of a connection."""

    touched: bool
    """Set when something happened on a connection."""

    def answered(self, connection: "Connection") -> None:
        """The answer is complete."""

    def lost(self, connection: "Connection") -> None:
        """The connection is unusable; a request in flight has no complete answer."""


class Connection(asyncio.Protocol):
    """A connection, from its opening to its end.

    Attributes:
        request: what it carries; None while it is free.
        sent_s: when that was sent.
        status: of the answer.
        keep_alive: whether another request may follow this answer.
        first_token_s: when the first token came; 0 while it has not.
        headers: those of the answer that say why it may be of no use: `location`, `content-encoding`.
    """

    def __init__(self, owner: ConnectionListener, streamed: bool) -> None:
        self._owner = owner
        self._streamed = streamed
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self.request: PendingRequest | None = None
        self.sent_s = 0.0
        self._begin_answer()

    def _begin_answer(self) -> None:
        self.status = 0
        self.keep_alive = True
        self.first_token_s = 0.0
        self.headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._framed = False
        self._whole = False
        self._tokens = FirstToken() if self._streamed else None

    @property
    def body(self) -> bytes:
        """The body received so far."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    def send(self, request: PendingRequest, data: bytes, sent_s: float) -> None:
        """Send a request; the connection must be idle."""
        self.request = request
        self.sent_s = sent_s
        self._begin_answer()
        if self._transport is None:
            self._owner.lost(self)  # it ended before anybody knew of it
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Abort the connection, with any request in flight."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: it is open."""
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)  # ends in connection_lost

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came."""
        self._owner.touched = True
        if self.request is None or self._parser is None:
            self.close()  # nobody asked
            return
        broken = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            raise  # a bug of ours
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            broken = True
        if self._whole:
            self.keep_alive = self.keep_alive and not broken
            self._owner.answered(self)
        elif broken:
            self._owner.lost(self)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: it has ended."""
        self._owner.touched = True
        self._parser = None  # it and this object hold each other, and the garbage collector is off
        self._transport = None
        if self.request is not None and exc is None and self.status and not self._framed:
            self.keep_alive = False
            self._owner.answered(self)  # an answer without a length ends with its connection
        else:
            self._owner.lost(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: one header."""
        if len(name) not in _LENGTHS:
            return
        name = name.lower()
        if name in _FRAMING:
            self._framed = True
        elif name in _TELLING:
            self.headers[name] = value

    def on_headers_complete(self) -> None:
        """httptools: the status is known."""
        assert self._parser is not None
        self.status = self._parser.get_status_code()

    def on_body(self, part: bytes) -> None:
        """httptools: a part of the body."""
        self._parts.append(part)
        if self._tokens is not None and self._tokens.feed(part):
            self.first_token_s = time.monotonic()
            self._tokens = None

    def on_message_complete(self) -> None:
        """httptools: the answer is whole; one of status 1xx only goes before it."""
        assert self._parser is not None
        if self.status >= 200:
            self._whole = True
            self.keep_alive = self._parser.should_keep_alive()
        else:
            self.status = 0
