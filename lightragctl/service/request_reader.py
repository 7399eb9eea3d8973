"""Parses the requests of one connection, with httptools. No I/O.

The memory that a client can occupy is bounded: headers, trailers, chunk framing and the body of a request.
"""

from collections.abc import Callable
from http import HTTPStatus

import httptools

from lightragctl.service.http import App, Request
from lightragctl.service.responses import Problem, Response

HEAD_BYTES = 65_536
"""Limit of the target and headers of a request together; also of its trailers and chunk framing."""

_FRAMING_PER_BYTE = 8
"""Bytes of framing allowed per byte of a body: chunks of one byte need five, and room for an extension."""

SMALL_BODY_BYTES = 65_536
"""Bodies up to this size are always accepted."""

BODIES = 8
"""Limit of the memory for larger bodies of a service, in bodies of maximum size."""

Take = Callable[[Request, Response | None], None]


class BodyMemory:
    """The memory of the larger bodies of all requests of a service."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.held_bytes = 0


class _Share:
    """The memory of one body; released with the last reference."""

    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self._bytes = 0

    def grow(self, size_bytes: int) -> bool:
        """Reserve memory for a body of this size; False if the limit is exceeded."""
        self._memory.held_bytes += size_bytes - self._bytes
        self._bytes = size_bytes
        return self._memory.held_bytes <= self._memory.most_bytes

    def __del__(self) -> None:
        self._memory.held_bytes -= self._bytes


class RequestReader:
    """Parses requests; a rejected one comes with its response, and is the last of the connection.

    Attributes:
        receiving: a request is partly received.
        refused: a request was rejected; what follows is not read.
        awaits_continue: the client waits for 100 Continue before it sends the body.

    Args:
        app: decides which requests are rejected on their headers alone.
        take: called with each complete request.
        memory: shared limit for the bodies of all connections.
    """

    def __init__(self, app: App, take: Take, memory: BodyMemory) -> None:
        self._app = app
        self._take = take
        self._memory = memory
        self._parser = httptools.HttpRequestParser(self)
        self.receiving = False
        self.refused = False
        self._begin()

    def _begin(self) -> None:
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = self._framing_bytes = 0
        self._body: bytes | bytearray = b""
        self._share: _Share | None = None
        self._most_body_bytes = 0
        self._request: Request | None = None
        self.awaits_continue = False

    def close(self) -> None:
        """Release a partial request: the parser refers to this object, which would keep it alive."""
        self.refused = True
        self._begin()

    def feed(self, data: bytes | memoryview) -> None:
        """Parse received bytes; ignored after a rejected request."""
        if self.receiving:
            self._framing_bytes += len(data)
        while data and not self.refused:
            data = self._parse(data)
        if self.receiving and self._framing_bytes > HEAD_BYTES:
            self._refuse_framing()

    def _parse(self, data: bytes | memoryview) -> bytes | memoryview:
        """Parse; returns the bytes that remain."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._head_without_offer() + bytes(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self.refuse(Problem(400, "Bad Request", f"not HTTP: {error}"))
        return b""

    def _head_without_offer(self) -> bytes:
        """The head without its Upgrade header, for a new parser: a server may ignore Upgrade (RFC 9110, 7.8).

        httptools does not parse the body of a request with Upgrade.
        """
        method = self._parser.get_method()
        if method == b"CONNECT":  # what follows is for the tunnel
            self.refused = True
        lines = [b"%b %b HTTP/%b" % (method, self._target, self._parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self._headers.items() if header[0] != b"upgrade"]
        self._parser = httptools.HttpRequestParser(self)
        return b"\r\n".join((*lines, b"", b""))

    def refuse(self, problem: Problem) -> None:
        """Hand over the partial request with its response."""
        if self.refused:
            return
        self.refused, self.receiving, self.awaits_continue = True, False, False
        self._body, self._share = b"", None
        request = self._request or Request("", b"/", {})
        self._take(request, self._app.problem_response(request, problem))

    def _refuse_framing(self) -> None:
        if self._request is None:
            detail = f"target and headers exceed {HEAD_BYTES} bytes"
            self.refuse(Problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "Request Header Fields Too Large", detail))
        else:
            detail = f"chunk extensions and trailers exceed {HEAD_BYTES} bytes"
            self.refuse(Problem(HTTPStatus.BAD_REQUEST, "Bad Request", detail))

    # Callbacks of httptools.

    def on_message_begin(self) -> None:
        self.receiving = True
        self._begin()

    def on_url(self, part: bytes) -> None:
        self._target += part
        self._head_bytes += len(part)

    def on_header(self, name: bytes, value: bytes | None) -> None:
        if self._request is not None:
            return  # a trailer, which must not change the headers (RFC 9110, 6.5.1)
        value = value or b""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > HEAD_BYTES:
            return
        key = name.lower()
        if key not in self._headers:
            self._headers[key] = value
        elif key == b"transfer-encoding":
            self._headers[key] += b", " + value  # for other repeated headers the first counts

    def on_headers_complete(self) -> None:
        method, headers = self._parser.get_method(), self._headers
        if self.refused or (b"upgrade" in headers and self._parser.should_upgrade() and method != b"CONNECT"):
            return
        request = self._request = Request(method.decode("ascii"), self._target, headers)
        if self._head_bytes > HEAD_BYTES:
            self._request = None
            self._refuse_framing()
            return
        is_coded = b"transfer-encoding" in headers
        problem = (self._faulty_coding(headers) if is_coded else None) or self._app.refusal(request)
        if problem is not None:
            self.refuse(problem)
        elif is_coded or b"content-length" in headers:
            self._expect_body(request)

    def _expect_body(self, request: Request) -> None:
        self._most_body_bytes = self._app.body_bytes(request)
        if b"expect" in request.headers:
            self.awaits_continue = request.header("expect").lower() == "100-continue" and self._is_current()

    def on_body(self, part: bytes) -> None:
        if self.refused:
            return
        self.awaits_continue = False
        if self._framing_bytes:
            self._framing_bytes = max(0, self._framing_bytes - (_FRAMING_PER_BYTE + 1) * len(part))
        if not self._body:
            self._body = part
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)  # a list of parts of two bytes takes twenty times the memory
            self._body += part
        size_bytes = len(self._body)
        if size_bytes > self._most_body_bytes and self._request is not None:
            self.refuse(self._app.too_large(self._request))
        elif size_bytes > SMALL_BODY_BYTES:
            self._share = self._share or _Share(self._memory)
            if not self._share.grow(size_bytes):
                detail = "the memory for large request bodies is in use"
                after = (("retry-after", "1"),)
                self.refuse(Problem(503, "Service Unavailable", detail, "retry in 1 s", "body-memory", after))

    def on_message_complete(self) -> None:
        request = self._request
        if self.refused or request is None:
            return
        self.receiving = self.awaits_continue = False
        request.body, request.share = bytes(self._body), self._share
        self._body, self._share = b"", None
        request.keep_alive = self._parser.should_keep_alive() and request.method != "CONNECT"
        request.chunks = self._parser.get_http_version() != "1.0"
        self._take(request, None)

    def _is_current(self) -> bool:
        return bool(self._parser.get_http_version() != "1.0")

    def _faulty_coding(self, headers: dict[bytes, bytes]) -> Problem | None:
        """The problem with a Transfer-Encoding; None if it is valid and supported (RFC 9112, 6.1)."""
        if not self._is_current():
            return Problem(HTTPStatus.BAD_REQUEST, "Bad Request", "HTTP/1.0 has no Transfer-Encoding")
        if headers[b"transfer-encoding"].strip().lower() != b"chunked":
            detail = "the only supported Transfer-Encoding is chunked"
            return Problem(HTTPStatus.NOT_IMPLEMENTED, "Not Implemented", detail)
        return None
