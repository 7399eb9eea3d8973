"""An S3 service with one bucket in memory that fails as it is told: enough for PUT, GET, HEAD and DELETE of objects."""

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
