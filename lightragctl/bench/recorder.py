"""Recording of answers in a worker, and their aggregation into time slices. Pure."""

from array import array
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from lightragctl.bench.bad_answers import BadAnswer
from lightragctl.bench.histogram import Histogram
from lightragctl.bench.targets import RequestOutcome
from lightragctl.bench.worker_protocol import KeepLimits, LoadPhase, TimeSlice, WorkerPlan


class PendingRequest(NamedTuple):
    """One request: its question, its intended send time, and the recorder of its answer."""

    question: int
    due_s: float
    recorder: "AnswerRecorder"


class RequestTimes(NamedTuple):
    """Seconds of an answer: from the intended send, from the actual send, and to the first token (0: none)."""

    latency_s: float
    service_s: float
    first_token_s: float = 0.0


class WorkerGauges(NamedTuple):
    """Gauges of the worker at the end of a slice, as in `TimeSlice`."""

    under_way: int
    waiting: int
    cpu_s: float
    spin_s: float


class AnswerRecorder:
    """Answers of one phase. Times go into arrays, which cost 0.04 us each; they are counted slice by slice.

    Attributes:
        bodies: of the first good answer to a question, as far as there is room.
        bad: the first answer of each outcome that was not good.

    Args:
        phase: what its requests are for.
        keep: the bodies that it may keep.
    """

    def __init__(self, phase: LoadPhase, keep: KeepLimits) -> None:
        self.phase = phase
        self.bodies: dict[int, bytes] = {}
        self.bad: dict[RequestOutcome, BadAnswer] = {}
        self._room = keep
        self._number = 0
        self._empty()

    def _empty(self) -> None:
        self._good = array("d")
        self._failed = array("d")
        self._service = array("d")
        self._lateness = array("d")
        self._first_token = array("d")
        self._outcomes: Counter[RequestOutcome] = Counter()
        self._statuses: Counter[int] = Counter()

    def looked(self, late_s: float) -> None:
        """Record how late the generator processed a due request."""
        self._lateness.append(late_s)

    def good(self, question: int, body: bytes, took: RequestTimes) -> None:
        """A good answer."""
        self._good.append(took.latency_s)
        self._service.append(took.service_s)
        if took.first_token_s:
            self._first_token.append(took.first_token_s)
        if question not in self.bodies:
            self._keep(question, body)

    def failed(self, outcome: RequestOutcome, status: int, took: RequestTimes) -> None:
        """Any other end of a request; `status` counts where the status is what was wrong."""
        self._failed.append(took.latency_s)
        self._service.append(took.service_s)
        self._outcomes[outcome] += 1
        if outcome is RequestOutcome.HTTP:
            self._statuses[status] += 1

    def example(self, found: BadAnswer) -> None:
        """A failed answer; only the first of its outcome is kept."""
        self.bad.setdefault(RequestOutcome(found.outcome), found)

    def take(self, standing: WorkerGauges) -> TimeSlice:
        """The next slice: what was recorded since the last one."""
        if self._good:
            self._outcomes[RequestOutcome.OK] += len(self._good)
        times = (self._good, self._failed, self._service, self._lateness, self._first_token)
        good, failed, service, lateness, first_token = (_encoded(seconds) for seconds in times)
        taken = TimeSlice(
            phase=self.phase,
            number=self._number,
            outcomes={str(outcome): count for outcome, count in self._outcomes.items()},
            statuses=dict(self._statuses),
            good=good,
            failed=failed,
            service=service,
            lateness=lateness,
            first_token=first_token,
            under_way=standing.under_way,
            waiting=standing.waiting,
            cpu_s=standing.cpu_s,
            spin_s=standing.spin_s,
        )
        self._number += 1
        self._empty()
        return taken

    def _keep(self, question: int, body: bytes) -> None:
        if self._room.bodies > 0 and len(body) <= self._room.size_bytes:
            self.bodies[question] = body
            self._room = KeepLimits(self._room.bodies - 1, self._room.size_bytes - len(body))


class QuestionSequence(Iterator[int]):
    """The questions of one worker, in an endless sequence; the warm-up starts from the end of the list.

    Attributes:
        taken: how many it has given out.
    """

    def __init__(self, phase: LoadPhase, plan: WorkerPlan) -> None:
        is_measured, self._count = phase is LoadPhase.MEASURE, len(plan.requests)
        self._step = plan.shares if is_measured else -plan.shares
        self._first = plan.place.front + plan.share if is_measured else -1 - plan.place.back - plan.share
        self.taken = 0

    def __next__(self) -> int:
        question = (self._first + self.taken * self._step) % self._count
        self.taken += 1
        return question


def _encoded(seconds: "array[float]") -> str:
    histogram = Histogram()
    histogram.record(seconds)
    return histogram.encode()
