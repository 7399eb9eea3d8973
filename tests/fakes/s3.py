"""S3 services that fail: one in memory, enough for PUT, GET, HEAD and DELETE of objects, and a proxy of a real one."""

import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ERROR = b"<Error><Code>InternalError</Code><Message>try again</Message></Error>"


class FailingS3:
    """Objects, and the faults of the next requests: `500`, `503`, `cut` or `slow`."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.faults: list[str] = []
        self.always = ""
        self.requests = 0

    def fault(self) -> str:
        self.requests += 1
        return self.faults.pop(0) if self.faults else self.always


@contextmanager
def failing_s3() -> Iterator[tuple[FailingS3, str]]:
    """The service, and its address."""
    service = FailingS3()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self.answer(lambda: (service.objects.__setitem__(self.path, body), (200, b""))[1])

        def do_GET(self) -> None:
            self.answer(lambda: (200, service.objects[self.path]) if self.path in service.objects else (404, b""))

        def do_DELETE(self) -> None:
            self.answer(lambda: (service.objects.pop(self.path, b""), (204, b""))[1])

        def answer(self, act: Callable[[], tuple[int, bytes]]) -> None:
            fault = service.fault()
            if fault == "cut":
                self.close_connection = True
                return
            if fault == "slow":
                time.sleep(0.5)
            status, body = (int(fault), ERROR) if fault.isdecimal() else act()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.send_header("etag", '"1"')
            self.send_header("last-modified", "Mon, 30 Nov 2026 12:00:00 GMT")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield service, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


FAULTS = ("500", "503", "cut", "cut late", "slow")


class FaultyProxy(ThreadingHTTPServer):
    """Passes requests on to a real S3 service, and fails a share of them at random; `done` has the fault of each.

    `cut` loses the request, `cut late` the answer, `slow` answers after a second.
    """

    def __init__(self, target: str, share: float, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.target, self.done = target.removeprefix("http://"), list[str]()
        self._share, self._chance, self._lock = share, random.Random(seed), threading.Lock()

    def fault(self) -> str:
        with self._lock:
            found = self._chance.choice(FAULTS) if self._chance.random() < self._share else ""
            self.done.append(found)
            return found


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        fault = self.server.fault()
        if fault == "slow":
            time.sleep(1)
        if fault.isdecimal():
            self.reply(int(fault), {}, ERROR)
        elif fault == "cut":
            self.close_connection = True
        else:
            answer = self.answered(body)
            if fault == "cut late":
                self.close_connection = True
            else:
                self.reply(*answer)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on

    def answered(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.server.target, timeout=60)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("transfer-encoding", "content-length", "connection", "date", "server"):
                self.send_header(name, value)
        size = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(body))
        self.send_header("content-length", size)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def faulty_proxy(target: str, share: float, seed: int) -> Iterator[tuple[list[str], str]]:
    """A `FaultyProxy` at work: what it did, and its address."""
    with FaultyProxy(target, share, seed) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.done, f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
