"""An API server over real HTTP for the client's tests: the fake cluster behind it, and faults as they are told."""

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from kubernetes.client import Configuration
from kubernetes.client.api_client import ApiClient

from lightragctl.core.errors import LightragctlError
from lightragctl.core.objects import ObjectRef
from lightragctl.kube.calls import Caller
from lightragctl.kube.client import ClusterClient
from lightragctl.kube.model import ChangedMeanwhileError
from tests.fakes.cluster import KINDS, FakeCluster

Answer = tuple[int, dict[str, Any]]


@dataclass(frozen=True)
class Fault:
    """What happens to a request.

    Attributes:
        status: answered in place of the real answer; 0 for none at all, the connection is closed.
        takes_effect: whether the request is carried out all the same.
        retry_after: sent with it.
    """

    status: int = 503
    takes_effect: bool = False
    retry_after: str = ""


@dataclass
class ApiServer:
    """Serves from entering to leaving.

    Attributes:
        cluster: what it serves.
        faults: met by the next requests of a method, one each.
        seen: method and path of each request.
        paused: how long the client said it would wait, each time.
    """

    cluster: FakeCluster = field(default_factory=FakeCluster)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    broken: dict[str, Fault] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    paused: list[float] = field(default_factory=list)

    def __enter__(self) -> Self:
        told = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one segment, or each answer waits 40 ms for an acknowledgement

            def _handle(self) -> None:
                told.handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

            def log_message(self, *parts: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def client(self) -> ClusterClient:
        """A client that notes its pauses and does not wait."""
        configuration = Configuration(host=self.url, proxy="", no_proxy="")
        api = ApiClient(configuration)
        return ClusterClient(api, "fake", Caller(api, "fake", self.paused.append))

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        self.seen.append(f"{request.command} {parts.path}")
        body = json.loads(request.rfile.read(int(request.headers.get("Content-Length") or 0)) or b"{}")
        waiting = self.faults.get(request.command, [])
        fault = self.broken.get(parts.path) or (waiting.pop(0) if waiting and "/namespaces/" in parts.path else None)
        answer: Answer | None = None
        if fault is None or fault.takes_effect:
            answer = self._answer(request.command, parts.path, parse_qs(parts.query), body)
        if fault and fault.status == 0:
            with suppress(OSError):
                request.connection.shutdown(socket.SHUT_RDWR)
            request.close_connection = True
            return
        if fault:
            answer = fault.status, {"message": "busy"}
        assert answer is not None
        text = json.dumps(answer[1]).encode()
        request.send_response(answer[0])
        request.send_header("Content-Length", str(len(text)))
        if fault and fault.retry_after:
            request.send_header("Retry-After", fault.retry_after)
        request.end_headers()
        request.wfile.write(text)

    def _answer(self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> Answer:
        steps = path.strip("/").split("/")
        version, rest = ("v1", steps[2:]) if steps[0] == "api" else ("/".join(steps[1:3]), steps[3:])
        if not rest:
            return _discovered(version)
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, plural, name = rest[1], rest[2], "".join(rest[3:4])
        else:
            namespace, plural, name = "", rest[0], "".join(rest[1:2])
        kind = next(kind for (one, kind), served in KINDS.items() if one == version and served.plural == plural)
        identity = ObjectRef(version, kind, namespace, name)
        try:
            return 200, self._act(method, identity, query, body)
        except ChangedMeanwhileError as error:
            return 409, {"message": error.message}
        except LightragctlError as error:
            return (404 if "is not there" in error.message else 422), {"message": error.message}

    def _act(
        self, method: str, identity: ObjectRef, query: dict[str, list[str]], body: dict[str, Any]
    ) -> dict[str, Any]:
        act: dict[str, Callable[[], Any]] = {
            "GET": lambda: self._get(identity),
            "POST": lambda: self.cluster.create(body),
            "PUT": lambda: self.cluster.replace(body),
            "DELETE": lambda: self._delete(identity, body["preconditions"]),
            "PATCH": lambda: self.cluster.apply(
                body,
                dry_run="dryRun" in query,
                force=query["force"] == ["true"],
                manager=query["fieldManager"][0],
            ),
        }
        found: dict[str, Any] = act[method]()
        return found

    def _get(self, identity: ObjectRef) -> dict[str, Any]:
        there = self.cluster.get(identity)
        if there is None:
            raise LightragctlError("it is not there")
        return there

    def _delete(self, identity: ObjectRef, preconditions: dict[str, str]) -> dict[str, Any]:
        there = self._get(identity)
        if not self.cluster.delete(identity, preconditions["uid"], version=preconditions.get("resourceVersion", "")):
            raise ChangedMeanwhileError("the UID in the precondition does not match")
        return there


def _discovered(version: str) -> Answer:
    kinds = [
        {"kind": kind, "name": served.plural, "namespaced": served.namespaced}
        for (one, kind), served in KINDS.items()
        if one == version
    ]
    return (200, {"resources": kinds}) if kinds else (404, {"message": "not found"})
