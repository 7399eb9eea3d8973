"""A load-generating process: reads a plan from stdin, sends requests, writes measurements to stdout.

Run with `python -m lightragctl.bench.worker`; `messages` says what goes over the pipes. SIGTERM, SIGINT and the end of
stdin stop it: it then reports what it has measured so far and ends with status 0. The garbage collector is off while it
runs: with it the latest 1 % of sends were 17 ms late, without it 0.014 ms. What has circles breaks them itself.
"""

import asyncio
import contextlib
import gc
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import uvloop

from lightragctl.bench.loops import ClosedLoop, Loop, OpenLoop, Sender
from lightragctl.bench.pool import ConnectionPool
from lightragctl.bench.recorder import AnswerRecorder, QuestionSequence, WorkerGauges
from lightragctl.bench.worker_protocol import (
    SLICE_S,
    BeginPhase,
    FromWorker,
    KeepLimits,
    KeptAnswer,
    LoadPhase,
    WorkerDone,
    WorkerFailed,
    WorkerPlan,
    WorkerReady,
    line,
    unpacked,
)
from lightragctl.core.errors import UnavailableError

SendMessage = Callable[[FromWorker], None]
MakeSender = Callable[[WorkerPlan, float], Sender]
"""Of a plan, and of how long a connection that was refused is left alone."""

REST_S = 0.1
"""Back-off of a refused connection in a closed loop, so that a server that is down is not flooded."""
EARLY_S = 0.002
"""A phase is begun so much before its time: a timer may be late by 1 ms, and the first request be due at once."""
PLAN_BYTES = 2**31
"""Longest line that is read: a plan with its requests and instants."""
_NOTHING_KEPT = KeepLimits(0, 0)


class Worker:
    """Executes one plan inside one running event loop."""

    def __init__(self, plan: WorkerPlan, say: SendMessage, make_sender: MakeSender = ConnectionPool) -> None:
        self._plan = plan
        self._say = say
        self._timers = asyncio.get_running_loop()
        self._pool = make_sender(plan, 0.0 if plan.schedule else REST_S)
        self._loop: Loop
        if plan.schedule is None:
            self._loop = ClosedLoop(self._pool, plan.duration_s)
        else:
            sends = {
                LoadPhase.WARM_UP: unpacked(plan.schedule.warm_up),
                LoadPhase.MEASURE: unpacked(plan.schedule.measure),
            }
            self._loop = OpenLoop(self._pool, sends, plan.spin)
        self._recorder: AnswerRecorder | None = None
        self._asked: dict[LoadPhase, QuestionSequence] = {}
        self._begun_s = self._cpu_s = self._spin_s = 0.0
        self._flushing: asyncio.Handle | None = None
        self._sweep_s = min(0.1, max(0.005, plan.timeout_s / 50))  # a timeout is noticed 2 % late
        self._over = asyncio.Event()
        self._is_done = False
        self._bug: BaseException | None = None

    async def run(self, commands: asyncio.StreamReader) -> None:
        """Run from connecting to the last message; raises only bugs."""
        self._timers.set_exception_handler(self._on_error)
        try:
            self._say(WorkerReady(await self._pool.connect()))
        except UnavailableError as error:
            self._say(WorkerFailed.of(error))
            return
        gc.collect()
        gc.freeze()
        gc.disable()
        listening = asyncio.ensure_future(self._listen(commands))
        self._sweep()
        await self._over.wait()
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
        if self._bug is not None:
            raise self._bug
        self._finish()

    def stop(self) -> None:
        """Stop now; keeps what was measured."""
        self._over.set()

    def _on_error(self, _: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        """A connection's error is reported to its owner; whatever else comes up in a callback is a bug."""
        error = context.get("exception")
        if not isinstance(error, OSError):
            self._bug = error or RuntimeError(str(context.get("message")))
            self.stop()

    async def _listen(self, commands: asyncio.StreamReader) -> None:
        try:
            async for text in commands:
                begin = msgspec.json.decode(text, type=BeginPhase)
                self._timers.call_later(max(0.0, begin.at_s - EARLY_S - time.monotonic()), self._begin, begin)
        finally:
            self.stop()  # without a parent there is no reader of the results

    def _begin(self, begin: BeginPhase) -> None:
        plan, phase = self._plan, begin.phase
        asked = self._asked[phase] = QuestionSequence(phase, plan)
        self._recorder = AnswerRecorder(phase, plan.keep if phase is LoadPhase.MEASURE else _NOTHING_KEPT)
        self._begun_s = begin.at_s
        self._cpu_s, self._spin_s = time.process_time(), self._loop.spin_s
        self._flush_after(SLICE_S)
        self._loop.begin(self._recorder, asked, begin.at_s)

    def _flush_after(self, elapsed_s: float) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
        delay_s = max(0.0, self._begun_s + elapsed_s - time.monotonic())
        self._flushing = self._timers.call_later(delay_s, self._flush_and_go_on, elapsed_s)

    def _flush_and_go_on(self, elapsed_s: float) -> None:
        self._flush()
        self._flush_after(elapsed_s + SLICE_S)

    def _flush(self) -> None:
        if self._recorder is None:
            return
        cpu_s, spin_s = time.process_time(), self._loop.spin_s
        spun_s = spin_s - self._spin_s
        worked_s = max(0.0, cpu_s - self._cpu_s - spun_s)
        self._cpu_s, self._spin_s = cpu_s, spin_s
        self._pool.touched = True  # this was work, and no waiting for the next send
        self._say(self._recorder.take(WorkerGauges(self._pool.under_way, len(self._pool.waiting), worked_s, spun_s)))

    def _sweep(self) -> None:
        """Check for timeouts and the end, several times a second."""
        now_s = time.monotonic()
        self._pool.expire(now_s)
        if self._recorder is not None and self._recorder.phase is LoadPhase.MEASURE and self._loop.exhausted(now_s):
            self._is_done = not self._pool.under_way and not self._pool.waiting
            if not self._is_done and now_s >= self._begun_s + self._plan.duration_s + self._plan.drain_s:
                self._pool.give_up(now_s)
                self._is_done = True
            if self._is_done:
                self._over.set()
        self._timers.call_later(self._sweep_s, self._sweep)

    def _finish(self) -> None:
        """The last slice, the kept bodies, the end."""
        self._loop.stop()
        unanswered = 0 if self._is_done else self._pool.under_way + len(self._pool.waiting)
        self._flush()
        self._pool.close()
        for question, body in self._recorder.bodies.items() if self._recorder is not None else ():
            self._say(KeptAnswer(question, body))
        for found in self._recorder.bad.values() if self._recorder is not None else ():
            self._say(found)
        self._say(WorkerDone(not self._is_done, unanswered, {phase: one.taken for phase, one in self._asked.items()}))


def _say(message: FromWorker) -> None:
    sys.stdout.buffer.write(line(message))
    sys.stdout.buffer.flush()


async def _serve(make_sender: MakeSender) -> None:
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader(limit=PLAN_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin.buffer)
    worker = Worker(msgspec.json.decode(await stdin.readline(), type=WorkerPlan), _say, make_sender)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    await worker.run(stdin)


def main(make_sender: MakeSender = ConnectionPool) -> None:
    """Execute the plan on stdin."""
    with contextlib.suppress(BrokenPipeError):  # the parent is gone, and with it who would read
        uvloop.run(_serve(make_sender))


if __name__ == "__main__":
    main()
