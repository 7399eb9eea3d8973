"""Messages between the parent of a run and its workers, one JSON document a line. Pure.

The parent sends a `WorkerPlan`, then `BeginPhase` for each phase. The worker answers with `WorkerReady`, a `TimeSlice`
each half second, `KeptAnswer` bodies, a `BadAnswer` of each outcome and `WorkerDone`, or with `WorkerFailed`. Instants
are of the clock that all processes of a machine share: CLOCK_MONOTONIC, which is `time.monotonic` on Linux.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TypeAlias

import msgspec
import numpy as np

from lightragctl.bench.bad_answers import BadAnswer
from lightragctl.bench.schedule import Offsets
from lightragctl.bench.targets import Endpoint
from lightragctl.core.errors import LightragctlError
from lightragctl.core.hint import hint_parts

SLICE_S = 0.5
"""The interval of time slices: short enough for a live view, 0.3 % of a worker's time at 20,000/s."""


class LoadPhase(StrEnum):
    """The phase of a request; only those of MEASURE count."""

    WARM_UP = "warm-up"
    MEASURE = "measure"


class KeepLimits(msgspec.Struct, frozen=True):
    """How many bodies of first good answers a worker keeps, and how many bytes they may take together."""

    bodies: int = 10_000
    size_bytes: int = 64_000_000


class QuestionCursor(msgspec.Struct, frozen=True):
    """Position in a list of questions: measurements use it from the start, warm-ups from the end.

    The next run of a series goes on there.
    """

    front: int = 0
    back: int = 0


class Schedule(msgspec.Struct, frozen=True):
    """When an open loop sends in each phase: offsets as `packed`."""

    warm_up: bytes
    measure: bytes


class WorkerPlan(msgspec.Struct, frozen=True, tag="plan"):
    """The plan of one worker.

    Attributes:
        kind: names one of `targets.KINDS`.
        requests: raw bytes, one for each question. They are asked in turn, over and over; the warm-up asks from the
            end of the list, so that a measurement always asks the same, and of a long list nothing that the warm-up
            has brought into a cache.
        connections: most that this worker opens.
        share: this worker's number of `shares`; of the questions it asks every `shares`-th.
        timeout_s: from the send to the end of the answer.
        drain_s: how long answers are waited for after the last request was due.
        spin: burn the last millisecond before a send, instead of sleeping through it.
        duration_s: how long requests are sent.
        schedule: of the open loop; None: the loop is closed.
        place: where in the list of questions it begins.
    """

    endpoint: Endpoint
    kind: str
    requests: Sequence[bytes]
    connections: int
    duration_s: float
    timeout_s: float
    drain_s: float
    share: int = 0
    shares: int = 1
    spin: bool = True
    schedule: Schedule | None = None
    keep: KeepLimits = KeepLimits()
    place: QuestionCursor = QuestionCursor()


class BeginPhase(msgspec.Struct, frozen=True, tag="begin"):
    """Start a phase at a time; ends the previous one."""

    phase: LoadPhase
    at_s: float


class WorkerReady(msgspec.Struct, frozen=True, tag="ready"):
    """The worker has connected."""

    connections: int


class TimeSlice(msgspec.Struct, frozen=True, tag="slice"):
    """Answers of one half second of a phase.

    Attributes:
        number: 0 for the first half second of the phase. The last one may be shorter.
        outcomes: answers by `targets.RequestOutcome`.
        statuses: answers by HTTP status, of those that were not 2xx.
        good: time from the intended send to the end, of good answers; this and the others are encoded histograms.
        failed: the same of all other answers.
        service: time from the actual send, of all answers.
        lateness: how late the generator was to look at a request, of those that fell due.
        first_token: time from the intended send to the first token, of streamed good answers.
        under_way: requests sent and not answered at the end of the slice.
        waiting: requests due that found no free connection yet.
        cpu_s: processor time of the worker in this slice, without `spin_s`.
        spin_s: processor time burnt in waiting for the next send.
    """

    phase: LoadPhase
    number: int
    outcomes: Mapping[str, int]
    statuses: Mapping[int, int]
    good: str
    failed: str
    service: str
    lateness: str
    first_token: str
    under_way: int
    waiting: int
    cpu_s: float
    spin_s: float


class KeptAnswer(msgspec.Struct, frozen=True, tag="kept"):
    """The body of the first good answer to a question, by its place in the list."""

    question: int
    body: bytes


class WorkerDone(msgspec.Struct, frozen=True, tag="done"):
    """The end: whether it was stopped before, how many requests then had no answer, how many questions it took.

    `asked` counts those by phase.
    """

    stopped: bool
    unanswered: int
    asked: Mapping[LoadPhase, int] = {}


class WorkerFailed(msgspec.Struct, frozen=True, tag="failed"):
    """The worker cannot measure. `hint_parts` as `core.hint.hint_parts` gives them."""

    message: str
    hint: str
    hint_parts: Sequence[str | dict[str, str]] = ()

    @classmethod
    def of(cls, error: LightragctlError) -> "WorkerFailed":
        """The error as a message."""
        return cls(error.message, str(error.hint), hint_parts(error.hint))


FromWorker: TypeAlias = WorkerReady | TimeSlice | KeptAnswer | BadAnswer | WorkerDone | WorkerFailed


def line(message: "WorkerPlan | BeginPhase | FromWorker") -> bytes:
    """A message as sent over a pipe."""
    return msgspec.json.encode(message) + b"\n"


def packed(sends: Offsets) -> bytes:
    """Offsets as bytes for a plan."""
    return sends.astype("<f8", copy=False).tobytes()


def unpacked(sends: bytes) -> list[float]:
    """Offsets out of a plan, as numbers of Python: a list of them is read five times as fast as an array."""
    return [float(offset) for offset in np.frombuffer(sends, dtype="<f8").tolist()]
