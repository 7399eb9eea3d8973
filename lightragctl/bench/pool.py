"""The connection pool of one worker, and its queue of requests. Network I/O.

A request goes to the connection that has been free longest, so that all are used alike and none grows cold; without a
free one a new one is opened, up to the bound; beyond that it waits, and its latency goes on counting.

Nothing is sent twice: a server that closes an idle connection just as a request goes out has broken it. A client may
not repeat a POST by itself (RFC 9110, 9.2.2).
"""

import asyncio
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable

from lightragctl.bench.bad_answers import bad_answer
from lightragctl.bench.connection import Connection
from lightragctl.bench.recorder import AnswerRecorder, PendingRequest, RequestTimes
from lightragctl.bench.targets import RequestOutcome, judge, kind_named
from lightragctl.bench.worker_protocol import WorkerPlan
from lightragctl.core.errors import UnavailableError

HINT = "check that the service is up and reachable from this machine"


class ConnectionPool:
    """Sends requests and records their outcomes; for one event loop.

    Args:
        plan: where to connect, what to send, how long to wait.
        rest_s: how long a connection that could not be opened is left alone.

    Attributes:
        pull: gives the request that a free connection is to carry next; None: there is none now. At first it gives
            those that wait.
        waiting: requests that found no connection.
        touched: set when there was work: anything happened on a connection, or a slice was reported.
    """

    def __init__(self, plan: WorkerPlan, rest_s: float = 0.0) -> None:
        self._plan = plan
        self._kind = kind_named(plan.kind)
        self._rest_s = rest_s
        self._tls = ssl.create_default_context() if plan.endpoint.tls else None
        self._addresses: list[str] = []
        self._opened = 0
        self._idle: deque[Connection] = deque()
        self._alive: set[Connection] = set()
        self._opening: dict[asyncio.Task[None], tuple[PendingRequest, float]] = {}
        self._spare = plan.connections
        self.waiting: deque[PendingRequest] = deque()
        self.pull: Callable[[float], PendingRequest | None] = self._next_waiting
        self.touched = False

    async def connect(self) -> int:
        """Open all connections; the number opened. Addresses that refuse are not retried.

        Raises:
            UnavailableError: none of the host's addresses takes a connection.
        """
        failure = "no address"
        for address in await self._resolve():
            try:
                self._add(await self._open(address))
                self._addresses.append(address)
            except OSError as error:
                failure = _reason(error)
            if not self._spare:
                break
        if not self._addresses:
            raise UnavailableError(f"nothing answers at {self._place()}: {failure}", HINT)
        await asyncio.gather(*(self._open_one() for _ in range(self._spare)))
        return len(self._alive)

    @property
    def under_way(self) -> int:
        """Requests that were sent, or whose connection is being opened, and that are not answered."""
        return len(self._alive) - len(self._idle) + len(self._opening)

    def place(self, request: PendingRequest, now_s: float) -> None:
        """Send a request, or queue it."""
        if self._idle:
            self._send(self._idle.popleft(), request, now_s)
        elif self._spare:
            self._spare -= 1
            task = asyncio.get_running_loop().create_task(self._open_for(request, now_s))
            self._opening[task] = (request, now_s)
        else:
            self.waiting.append(request)

    def wake(self, now_s: float) -> None:
        """Send queued requests on idle or new connections."""
        while (self._idle or self._spare) and (request := self.pull(now_s)) is not None:
            self.place(request, now_s)

    def expire(self, now_s: float) -> None:
        """Time out overdue requests."""
        late_s = now_s - self._plan.timeout_s
        for connection in [one for one in self._alive if one.request is not None and one.sent_s < late_s]:
            self._end(connection, RequestOutcome.TIMEOUT, now_s)
            self._retire(connection)
            connection.close()
        self.wake(now_s)

    def give_up(self, now_s: float) -> None:
        """Count unanswered requests as timeouts, and close."""
        while self.waiting:
            self._fail(self.waiting.popleft(), RequestOutcome.TIMEOUT, now_s, now_s)
        for request, began_s in self._opening.values():
            self._fail(request, RequestOutcome.TIMEOUT, began_s, now_s)
        for connection in self._alive:
            self._end(connection, RequestOutcome.TIMEOUT, now_s)
        self.close()

    def close(self) -> None:
        """Close all connections; requests in flight are not recorded."""
        self.pull = _nothing
        for task in self._opening:
            task.cancel()
        for connection in self._alive:
            connection.request = None
            connection.close()

    def answered(self, connection: Connection) -> None:
        """Record an answer and send the next request."""
        now_s = time.monotonic()
        request = connection.request
        assert request is not None
        body = connection.body
        outcome = judge(self._kind, connection.status, body)
        first_s = connection.first_token_s and connection.first_token_s - request.due_s
        took = RequestTimes(now_s - request.due_s, now_s - connection.sent_s, first_s)
        if outcome is RequestOutcome.OK:
            request.recorder.good(request.question, body, took)
        else:
            request.recorder.failed(outcome, connection.status, took)
            self._keep_example(request.recorder, outcome, connection)
        connection.request = None
        if not connection.keep_alive:
            self._retire(connection)
            connection.close()
            self.wake(now_s)
        elif (following := self.pull(now_s)) is not None:
            self._send(connection, following, now_s)
        else:
            self._idle.append(connection)

    def lost(self, connection: Connection) -> None:
        """A connection has ended, with or without a request."""
        now_s = time.monotonic()
        self._end(connection, RequestOutcome.CONNECTION, now_s)
        self._retire(connection)
        self.wake(now_s)

    @staticmethod
    def _keep_example(recorder: AnswerRecorder, outcome: RequestOutcome, connection: Connection) -> None:
        if outcome not in recorder.bad:
            location, encoding = (
                connection.headers.get(name, b"").decode("latin-1") for name in (b"location", b"content-encoding")
            )
            recorder.example(bad_answer(outcome, connection.status, connection.body, location, encoding))

    def _next_waiting(self, _: float) -> PendingRequest | None:
        return self.waiting.popleft() if self.waiting else None

    def _send(self, connection: Connection, request: PendingRequest, now_s: float) -> None:
        connection.send(request, self._plan.requests[request.question], now_s)

    def _end(self, connection: Connection, outcome: RequestOutcome, now_s: float) -> None:
        if connection.request is not None:
            self._fail(connection.request, outcome, connection.sent_s, now_s)
            connection.request = None

    def _fail(self, request: PendingRequest, outcome: RequestOutcome, sent_s: float, now_s: float) -> None:
        request.recorder.failed(outcome, 0, RequestTimes(now_s - request.due_s, now_s - sent_s))

    def _add(self, connection: Connection) -> None:
        self._spare -= 1
        self._alive.add(connection)
        self._idle.append(connection)

    def _retire(self, connection: Connection) -> None:
        """Another one may take its place; harmless when it has been retired before."""
        if connection not in self._alive:
            return
        self._alive.remove(connection)
        self._spare += 1
        if connection in self._idle:
            self._idle.remove(connection)

    async def _open_one(self) -> None:
        """One more connection, if the server takes it; else it is tried again when it is needed."""
        try:
            self._add(await self._open(self._next_address()))
        except OSError:
            return

    async def _open_for(self, request: PendingRequest, began_s: float) -> None:
        """Open a connection and send; what the opening takes is a part of the service time."""
        task = asyncio.current_task()
        assert task is not None
        try:
            connection = await self._open(self._next_address())
        except OSError as error:
            outcome = RequestOutcome.TIMEOUT if isinstance(error, TimeoutError) else RequestOutcome.CONNECTION
            self._fail(request, outcome, began_s, time.monotonic())
            asyncio.get_running_loop().call_later(self._rest_s, self._rested)
        else:
            self._alive.add(connection)
            self._send(connection, request, began_s)
        finally:
            del self._opening[task]

    def _rested(self) -> None:
        self._spare += 1
        self.wake(time.monotonic())

    async def _open(self, address: str) -> Connection:
        """A new connection; OSError when there is none within the timeout."""
        endpoint = self._plan.endpoint
        async with asyncio.timeout(self._plan.timeout_s):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self, self._kind.streamed),
                address,
                endpoint.port,
                ssl=self._tls,
                server_hostname=endpoint.host if self._tls else None,
            )
        return connection

    def _next_address(self) -> str:
        self._opened += 1
        return self._addresses[self._opened % len(self._addresses)]

    async def _resolve(self) -> list[str]:
        endpoint = self._plan.endpoint
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise UnavailableError(f"cannot resolve {endpoint.host}: {_reason(error)}", HINT) from error
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    def _place(self) -> str:
        return f"{self._plan.endpoint.host}:{self._plan.endpoint.port}"


def _nothing(_: float) -> PendingRequest | None:
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
