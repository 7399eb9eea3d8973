"""A load run: starts workers, runs the phases, aggregates and evaluates. Starts and ends processes.

    connect -> warm-up -> measure -> drain

Ctrl-C or SIGTERM while it measures ends the run early with what there is; before that, and a second time, it goes
through. The workers end with the run, whatever happens: they get a message, they see the end of their stdin, they are
killed.
"""

import asyncio
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from lightragctl.bench.aggregate import PhaseTotals, is_settled, summed_up
from lightragctl.bench.bad_answers import BadAnswer, example
from lightragctl.bench.plan import LEAD_S, LoadPlan, worker_plans
from lightragctl.bench.result import LiveSample, LoadReport, Timeline
from lightragctl.bench.targets import kind_named
from lightragctl.bench.worker_protocol import (
    BeginPhase,
    FromWorker,
    KeptAnswer,
    LoadPhase,
    QuestionCursor,
    TimeSlice,
    WorkerDone,
    WorkerFailed,
    WorkerPlan,
    WorkerReady,
    line,
)
from lightragctl.core.errors import LightragctlError, UnavailableError, WaitExpired
from lightragctl.core.hint import hint_of

OnSample = Callable[[LiveSample], None]
StopEarly = Callable[[LiveSample], bool]
"""Whether to end a measurement early."""

START_S = 30.0
"""For a worker to start: half a second of imports on an idle machine, more on a busy one."""
MARGIN_S = 15.0
"""After the drain, for the last slices and the kept bodies."""
STOP_S = 5.0
"""From SIGTERM to SIGKILL; a worker needs a few milliseconds."""


def run(
    plan: LoadPlan,
    progress: OnSample,
    enough: StopEarly = lambda _: False,
    on_measure_start: Callable[[], None] = lambda: None,
) -> LoadReport:
    """Load-test the target.

    Args:
        plan: what is measured.
        progress: called each half second.
        enough: called each half second of the measurement; true ends it.
        at_border: called in a thread where the warm-up ends and the measurement begins, within `LEAD_S` or so.

    Raises:
        UsageError: something in the plan cannot be.
        UnavailableError: nothing answers at the target.
        WaitExpired: a worker did not do what it should in time.
        LightragctlError: a worker ended by itself.
        KeyboardInterrupt: Ctrl-C before the measurement.
    """
    with terminated_as_interrupted():
        return asyncio.run(_Run(plan, RunObserver(progress, enough, on_measure_start)).report())


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Treat SIGTERM, as `timeout` and CI systems send it, as Ctrl-C, unless that is ignored.

    Around all that has measured something which an end without warning would lose: a run, the pauses of a series.
    """
    is_heard = (
        threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) != signal.SIG_IGN
    )
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT)) if is_heard else None
    try:
        yield
    finally:
        if is_heard:
            signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True)
class RunObserver:
    """The callbacks of a run, as in `run`."""

    progress: OnSample
    enough: StopEarly
    on_measure_start: Callable[[], None]


class _StoppedEarlyError(Exception):
    """The measurement was ended early."""


class _Process:
    """A worker process."""

    def __init__(self, number: int, child: asyncio.subprocess.Process) -> None:
        self.number = number
        self.child = child
        self.done: WorkerDone | None = None

    def say(self, message: WorkerPlan | BeginPhase) -> None:
        """Send a message; one to a worker that has ended is lost, and its end is reported elsewhere."""
        assert self.child.stdin is not None
        with contextlib.suppress(ConnectionError):
            self.child.stdin.write(line(message))

    async def read(self, inbox: "asyncio.Queue[tuple[_Process, FromWorker | None]]") -> None:
        """Put what it says into the inbox, and None for its end."""
        assert self.child.stdout is not None
        decoder = msgspec.json.Decoder(FromWorker)
        async for text in self.child.stdout:
            inbox.put_nowait((self, decoder.decode(text)))
        inbox.put_nowait((self, None))

    def terminate(self) -> None:
        """Send SIGTERM, if it lives."""
        if self.child.returncode is None:
            self.child.terminate()

    async def end(self) -> None:
        """SIGTERM, SIGKILL if need be, and its exit status."""
        self.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await self.child.wait()
        except TimeoutError:
            self.child.kill()
            await self.child.wait()


class _Run:
    def __init__(self, plan: LoadPlan, watching: RunObserver) -> None:
        self._plan = plan
        self._watching = watching
        self._plans = worker_plans(plan)
        self._processes: list[_Process] = []
        self._readers: list[asyncio.Task[None]] = []
        self._inbox: asyncio.Queue[tuple[_Process, FromWorker | None]] = asyncio.Queue()
        self._totals = PhaseTotals(LoadPhase.MEASURE, plan.workers, self._plans[0].duration_s)
        self._bodies: dict[int, bytes] = {}
        self._bad_answers: dict[str, BadAnswer] = {}
        self._settled = False
        self._stopped = self._interrupted = False

    async def report(self) -> LoadReport:
        """The whole run."""
        try:
            await self._start()
            connected = await self._connect()
            warm_up_s = await self._warm_up()
            duration_s = await self._measure()
        finally:
            await self._end()
        unanswered = sum(process.done.unanswered for process in self._processes if process.done)
        timeline = Timeline(
            connected=connected,
            warm_up_s=warm_up_s,
            settled=self._settled,
            duration_s=duration_s,
            stopped=self._stopped,
            unanswered=unanswered,
            interrupted=self._interrupted,
            place=self._place(),
            bad_answers=[example(one, self._plan.target.secrets) for one in self._bad_answers.values()],
        )
        return summed_up(self._plan, self._totals, timeline, self._bodies)

    def _place(self) -> QuestionCursor:
        """The position in the list of questions, over all workers."""
        taken = [process.done.asked for process in self._processes if process.done]
        front, back = (
            max((one.get(phase, 0) for one in taken), default=0) for phase in (LoadPhase.MEASURE, LoadPhase.WARM_UP)
        )
        before, workers = self._plan.place, self._plan.workers
        return QuestionCursor(before.front + workers * front, before.back + workers * back)

    async def _start(self) -> None:
        for number, plan in enumerate(self._plans):
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # the modules of the working directory are none of its own
                "-m",
                kind_named(self._plan.target.kind).worker,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for the parent alone
                limit=2 * self._plan.keep.size_bytes + 2**20,
            )
            process = _Process(number, child)
            self._processes.append(process)
            self._readers.append(asyncio.ensure_future(process.read(self._inbox)))
            process.say(plan)

    async def _connect(self) -> int:
        """How many connections stand."""
        until_s = time.monotonic() + START_S + self._plan.timeout_s
        connected = 0
        for _ in self._processes:
            _, ready = await self._next(until_s, "workers to connect")
            assert isinstance(ready, WorkerReady)
            connected += ready.connections
        return connected

    async def _warm_up(self) -> float:
        """How many seconds it took."""
        wanted = self._plan.warm_up
        if not wanted.most_s:
            return 0.0
        totals = PhaseTotals(LoadPhase.WARM_UP, self._plan.workers)
        begun_s = self._begin(LoadPhase.WARM_UP)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(_on_loop(begun_s + wanted.most_s)):
                while wanted.fixed or not self._settled:
                    process, message = await self._message()
                    if isinstance(message, TimeSlice) and (sample := totals.add(process.number, message)):
                        self._watching.progress(sample)
                    self._settled = is_settled(totals.seconds)
        return max(0.0, time.monotonic() - begun_s)

    async def _measure(self) -> float:
        """For how many seconds requests were sent."""
        begun_s = self._begin(LoadPhase.MEASURE)
        planned_s = self._plans[0].duration_s
        end_s = begun_s + planned_s + self._plans[0].drain_s
        try:
            await asyncio.to_thread(self._watching.on_measure_start)
            await self._collect(end_s + MARGIN_S)
        except (asyncio.CancelledError, _StoppedEarlyError) as reason:
            sent_s = min(planned_s, max(0.0, time.monotonic() - begun_s))
            self._stopped = True
            self._interrupted = isinstance(reason, asyncio.CancelledError)
            for process in self._processes:
                process.terminate()
            await self._collect(time.monotonic() + STOP_S)
            return sent_s
        return planned_s

    async def _collect(self, until_s: float) -> None:
        """Process messages of the workers until all are done."""
        while not all(process.done for process in self._processes):
            process, message = await self._next(until_s, "workers to exit")
            if isinstance(message, TimeSlice) and message.phase is LoadPhase.MEASURE:
                if sample := self._totals.add(process.number, message):
                    self._watching.progress(sample)
                    if not self._stopped and self._watching.enough(sample):
                        raise _StoppedEarlyError
            elif isinstance(message, KeptAnswer):
                self._bodies.setdefault(message.question, message.body)
            elif isinstance(message, BadAnswer):
                self._bad_answers.setdefault(message.outcome, message)
            elif isinstance(message, WorkerDone):
                process.done = message

    def _begin(self, phase: LoadPhase) -> float:
        at_s = time.monotonic() + LEAD_S
        for process in self._processes:
            process.say(BeginPhase(phase, at_s))
        return at_s

    async def _next(self, until_s: float, what: str) -> tuple[_Process, FromWorker]:
        """The next message; WaitExpired when none comes in time."""
        try:
            async with asyncio.timeout_at(_on_loop(until_s)):
                return await self._message()
        except TimeoutError as error:
            message = f"timed out waiting for {what}"
            raise WaitExpired(message, "the machine may be too busy: use fewer --workers and --no-spin") from error

    async def _message(self) -> tuple[_Process, FromWorker]:
        """The next message of a worker that lives and can do its work."""
        while True:
            process, message = await self._inbox.get()
            if isinstance(message, WorkerFailed):
                raise UnavailableError(message.message, hint_of(message.hint, message.hint_parts))
            if message is not None:
                return process, message
            if process.done is None:
                status = await process.child.wait()
                raise LightragctlError(
                    f"worker {process.number} exited with status {status}", "its output, if any, is above"
                )

    async def _end(self) -> None:
        """Leave no process and no pipe behind."""
        await asyncio.gather(*(process.end() for process in self._processes))
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)


def _on_loop(instant_s: float) -> float:
    """An instant of the clock that all processes share, on the running loop's clock."""
    return asyncio.get_running_loop().time() + instant_s - time.monotonic()
