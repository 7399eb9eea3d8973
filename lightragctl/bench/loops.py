"""The closed and the open loop: which request is sent next, and when. Clock and timers; no other I/O.

Both give out requests of one phase at a time. `begin` ends the phase before.
"""

import asyncio
import math
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Protocol

from lightragctl.bench.recorder import AnswerRecorder, PendingRequest
from lightragctl.bench.worker_protocol import LoadPhase

SPIN_S = 0.0012
"""uvloop's timers count whole milliseconds and may be late by one; the rest is for waking up."""


class Sender(Protocol):
    """Sends requests and records their outcomes: over HTTP (`pool`) or as calls of Milvus (`milvus`).

    Attributes:
        pull: gives the request that is to be sent next when there is room; None: there is none now.
        waiting: requests that found no room.
        touched: set when there was work: anything came back, or a slice was reported.
        under_way: requests that were sent and are not answered.
    """

    pull: Callable[[float], PendingRequest | None]
    waiting: deque[PendingRequest]
    touched: bool

    @property
    def under_way(self) -> int: ...

    async def connect(self) -> int:
        """Connect; the maximum number of requests in flight."""

    def place(self, request: PendingRequest, now_s: float) -> None:
        """Send a request, or queue it."""

    def wake(self, now_s: float) -> None:
        """Send queued requests while there is capacity."""

    def expire(self, now_s: float) -> None:
        """Time out overdue requests."""

    def give_up(self, now_s: float) -> None:
        """Count unanswered requests as timeouts, and close."""

    def close(self) -> None:
        """Stop; requests in flight are not recorded."""


class Loop(Protocol):
    """The load loop of a worker.

    Attributes:
        spin_s: processor time burnt in waiting.
    """

    spin_s: float

    def begin(self, recorder: AnswerRecorder, questions: Iterator[int], at_s: float) -> None:
        """Start a phase; its requests are due from `at_s`."""

    def exhausted(self, now_s: float) -> bool:
        """Whether the phase has no more requests to send."""

    def stop(self) -> None:
        """Stop."""


class ClosedLoop:
    """Closed loop: every connection sends its next request when it has an answer, for `duration_s`."""

    spin_s = 0.0

    def __init__(self, pool: Sender, duration_s: float) -> None:
        self._pool = pool
        self._duration_s = duration_s
        self._recorder: AnswerRecorder | None = None
        self._questions: Iterator[int] = repeat(0)
        self._end_s = 0.0

    def begin(self, recorder: AnswerRecorder, questions: Iterator[int], at_s: float) -> None:
        """Ask from now until `duration_s` after `at_s`; in the warm-up until the next phase begins."""
        self._recorder, self._questions = recorder, questions
        self._end_s = at_s + self._duration_s if recorder.phase is LoadPhase.MEASURE else math.inf
        self._pool.pull = self._next
        self._pool.wake(time.monotonic())

    def exhausted(self, now_s: float) -> bool:
        """Whether the time is over."""
        return now_s >= self._end_s

    def stop(self) -> None:
        """Stop."""
        self._end_s = 0.0

    def _next(self, now_s: float) -> PendingRequest | None:
        if now_s >= self._end_s or self._recorder is None:
            return None
        return PendingRequest(next(self._questions), now_s, self._recorder)


class OpenLoop:
    """Open loop: requests are sent on a fixed schedule, independent of the answers.

    Args:
        pool: takes the requests.
        sends: when requests are due in each phase, seconds from its begin.
        spin: burn the last millisecond before a send. Without, an interval timer wakes the loop by SIGALRM: that is
            late by 0.05 to 0.3 ms, where a timer of uvloop is late by up to 1 ms.
    """

    def __init__(self, pool: Sender, sends: Mapping[LoadPhase, Sequence[float]], spin: bool) -> None:
        self._pool = pool
        self._sends = sends
        self._spin = spin
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None
        self._begun_s = 0.0
        self._due: Sequence[float] = ()  # from the begin of the phase
        self._sent = 0
        self._recorder: AnswerRecorder | None = None
        self._questions: Iterator[int] = repeat(0)
        self._seen_cpu_s = 0.0
        self.spin_s = 0.0
        if not spin:
            self._loop.add_signal_handler(signal.SIGALRM, self._turn)

    def begin(self, recorder: AnswerRecorder, questions: Iterator[int], at_s: float) -> None:
        """Send the phase's requests from `at_s` on; those of the phase before that still wait are forgotten."""
        self._recorder, self._questions = recorder, questions
        self._begun_s, self._due = at_s, self._sends[recorder.phase]
        self._sent = 0
        self._seen_cpu_s = time.thread_time()
        self._pool.waiting.clear()
        self._turn()

    def exhausted(self, _: float) -> bool:
        """Whether every request was sent, or waits for a connection."""
        return self._sent == len(self._due)

    def stop(self) -> None:
        """Stop, and set no alarm: after the end of the event loop it would end the process."""
        self._due = ()
        self._sent = 0
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _turn(self) -> None:
        """Send what is due and see to it that the next turn comes in time."""
        if self._timer is not None:
            self._timer.cancel()
        before = self._sent
        now_s = self._send_due()
        if self._sent >= len(self._due):
            return
        wait_s = self._begun_s + self._due[self._sent] - now_s
        if not self._spin:
            signal.setitimer(signal.ITIMER_REAL, max(wait_s, 1e-6))  # 0 would switch it off
        elif wait_s > SPIN_S:
            self._timer = self._loop.call_later(wait_s - SPIN_S, self._turn)
        else:
            self._count_spin(idle=self._sent == before and not self._pool.touched)
            self._timer = self._loop.call_soon(self._turn)

    def _send_due(self) -> float:
        """Send what is due by the clock, which is read again for each request; the time after that."""
        assert self._recorder is not None
        now_s = time.monotonic()
        while self._sent < len(self._due) and (due_s := self._begun_s + self._due[self._sent]) <= now_s:
            self._sent += 1
            self._recorder.looked(now_s - due_s)
            self._pool.place(PendingRequest(next(self._questions), due_s, self._recorder), now_s)
            now_s = time.monotonic()
        return now_s

    def _count_spin(self, idle: bool) -> None:
        """Processor time since the last spinning turn was burnt when nothing happened in between."""
        cpu_s = time.thread_time()
        if idle:
            self.spin_s += cpu_s - self._seen_cpu_s
        self._seen_cpu_s = cpu_s
        self._pool.touched = False
