"""Load on Milvus itself: single-vector searches, as lightrag-api sends them. Network I/O.

Run as a process with `python -m lightragctl.bench.milvus`, in the place of `worker`. A call costs the generator some
150 us of processor time, where one over HTTP costs it 10: for more than a few thousand a second use several workers.
"""

import asyncio
import gc
import time
from collections import deque
from collections.abc import Callable, Sequence

import grpc  # type: ignore[import-untyped]
import msgspec

from lightragctl.bench.bad_answers import bad_answer
from lightragctl.bench.recorder import PendingRequest, RequestTimes
from lightragctl.bench.targets import RequestOutcome
from lightragctl.bench.worker import main
from lightragctl.bench.worker_protocol import WorkerPlan
from lightragctl.core.errors import UnavailableError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.source_names import plain_source
from lightragctl.vectors import search
from lightragctl.vectors.model import FloatArray, IndexSpec, SearchBatch
from lightragctl.vectors.sdk import CONNECT_S, channel_options, milvus_pb2

SEARCH = "/milvus.proto.milvus.MilvusService/Search"
_EVENTUALLY = 1
"""Milvus's timestamp before every write: a search need not wait for anything."""


def search_requests(collection: str, vectors: FloatArray, top_k: int, index: IndexSpec) -> Sequence[bytes]:
    """The messages that search for each vector; they ask for the fields that lightrag-api needs for a hit."""
    fields = ("content", "file_path")
    batches = (SearchBatch(collection, one[None, :], top_k, index, fields) for one in vectors)
    return [bytes(search.request(batch, _EVENTUALLY).SerializeToString()) for batch in batches]


class MilvusSender:
    """A `Sender` of calls over one HTTP/2 connection; for one event loop.

    Args:
        plan: where to connect, what to send, how many at a time, how long to wait.
        rest_s: how long nothing is pulled after a call that was not answered.
    """

    def __init__(self, plan: WorkerPlan, rest_s: float = 0.0) -> None:
        self._plan = plan
        self._rest_s = rest_s
        self._rested_s = 0.0
        self._calls: dict[asyncio.Task[bool], tuple[PendingRequest, float]] = {}
        self.waiting: deque[PendingRequest] = deque()
        self.pull: Callable[[float], PendingRequest | None] = self._next_waiting
        self.touched = False

    async def connect(self) -> int:
        """Connect; the maximum number of calls in flight.

        Raises:
            UnavailableError: nothing takes it.
        """
        host, port = self._plan.endpoint.host, self._plan.endpoint.port
        where = f"{host}:{port}"
        self._channel = grpc.aio.insecure_channel(where, options=list(channel_options(where).items()))
        self._search = self._channel.unary_unary(SEARCH, None, milvus_pb2.SearchResults.FromString)
        try:
            async with asyncio.timeout(CONNECT_S):
                _, probe = await asyncio.open_connection(host, port)  # gRPC keeps a refusal to itself and tries again
                probe.close()
                await self._channel.channel_ready()
        except OSError as error:  # a timeout is one too
            raise UnavailableError(f"Milvus does not answer at {where}", Hint("see: ", Command("status"))) from error
        return self._plan.connections

    @property
    def under_way(self) -> int:
        """Calls in flight."""
        return len(self._calls)

    def place(self, request: PendingRequest, now_s: float) -> None:
        """Send a search, or queue it."""
        if self.under_way < self._plan.connections:
            task = asyncio.get_running_loop().create_task(self._ask(request, now_s))
            self._calls[task] = request, now_s
            task.add_done_callback(self._done)
        else:
            self.waiting.append(request)

    def wake(self, now_s: float) -> None:
        """Send queued calls while there is capacity."""
        if now_s < self._rested_s:
            return
        while self.under_way < self._plan.connections and (request := self.pull(now_s)) is not None:
            self.place(request, now_s)

    def expire(self, now_s: float) -> None:
        """Each call has its own deadline; room that was left alone after a failure is filled again."""
        self.wake(now_s)

    def give_up(self, now_s: float) -> None:
        """Count unanswered calls as timeouts, and close."""
        for waiting in self.waiting:
            self._fail(waiting, RequestOutcome.TIMEOUT, now_s, now_s)
        for asked, sent_s in self._calls.values():
            self._fail(asked, RequestOutcome.TIMEOUT, sent_s, now_s)
        self.close()

    def close(self) -> None:
        """Stop; calls in flight are not recorded."""
        self.waiting.clear()
        self.pull = lambda _: None
        for task in self._calls:
            task.remove_done_callback(self._done)
            task.cancel()

    def _done(self, task: asyncio.Task[bool]) -> None:
        del self._calls[task]
        self.touched = True
        now_s = time.monotonic()
        if not task.result():  # a bug is told to the event loop; a Milvus that is down need not be asked at full speed
            self._rested_s = now_s + self._rest_s
        self.wake(now_s)

    async def _ask(self, asked: PendingRequest, sent_s: float) -> bool:
        """Whether Milvus answered, in one way or another."""
        try:
            answer = await self._search(self._plan.requests[asked.question], timeout=self._plan.timeout_s)
        except grpc.aio.AioRpcError as error:
            late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            outcome = RequestOutcome.TIMEOUT if late else RequestOutcome.CONNECTION
            self._fail(asked, outcome, sent_s, time.monotonic())
            asked.recorder.example(bad_answer(outcome, 0, str(error.details()).encode()))
            return False
        now_s = time.monotonic()
        if answer.status.error_code or answer.status.code:
            status = int(answer.status.code or answer.status.error_code)
            self._fail(asked, RequestOutcome.HTTP, sent_s, now_s, status)
            asked.recorder.example(bad_answer(RequestOutcome.HTTP, status, answer.status.reason.encode()))
            return True
        is_new = asked.question not in asked.recorder.bodies
        body = _body(answer.results) if is_new else b""
        asked.recorder.good(asked.question, body, RequestTimes(now_s - asked.due_s, now_s - sent_s))
        return True

    def _fail(
        self, asked: PendingRequest, outcome: RequestOutcome, sent_s: float, now_s: float, status: int = 0
    ) -> None:
        asked.recorder.failed(outcome, status, RequestTimes(now_s - asked.due_s, now_s - sent_s))

    def _next_waiting(self, _: float) -> PendingRequest | None:
        return self.waiting.popleft() if self.waiting else None


def _body(results: object) -> bytes:
    found = [
        {"id": hit.id, "source": plain_source(str(hit.fields.get("file_path", "")))}
        for one in search.hits(results)
        for hit in one
    ]
    return msgspec.json.encode({"hits": found})


def _calls(plan: WorkerPlan, rest_s: float) -> MilvusSender:
    """gRPC makes circles that only the collector frees: it is switched on again, against the worker's wish."""
    asyncio.get_running_loop().call_later(CONNECT_S, gc.enable)
    return MilvusSender(plan, rest_s)


if __name__ == "__main__":
    main(_calls)
