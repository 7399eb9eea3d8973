"""The plan of a run, and the plans of its workers. Pure."""

from collections.abc import Sequence

import msgspec

from lightragctl.bench.schedule import (
    Closed,
    Constant,
    Offsets,
    Shape,
    check_closed,
    duration_s,
    first_rate_qps,
    offsets,
    split,
)
from lightragctl.bench.targets import Target, endpoint, request_bytes
from lightragctl.bench.worker_protocol import KeepLimits, QuestionCursor, Schedule, WorkerPlan, packed
from lightragctl.core.errors import UsageError

LEAD_S = 0.2
"""Between the word to begin and the begin: long enough to reach every worker."""


HANDOVER_S = 1.0
"""The warm-up has requests for this long beyond its end: the measurement takes over when its time has come."""


class WarmUp(msgspec.Struct, frozen=True):
    """The warm-up before the measurement: until the service has settled, at most `most_s`.

    `fixed`: for the whole of `most_s`. 0: not at all.
    """

    most_s: float = 30.0
    fixed: bool = False


class LoadPlan(msgspec.Struct, frozen=True):
    """One run.

    Attributes:
        target: what to load-test.
        questions: sent in turn, repeatedly.
        requests: what is sent for them, where it is not made of the target and their texts: Milvus's own messages.
        shape: when.
        connections: of all workers together: the closed loop keeps them busy, the open loop opens no more.
        workers: processes that share the load; one for each processor core that may be used.
        seed: of the instants; the same seed and shape give the same instants.
        timeout_s: how long an answer may take from the send.
        drain_s: how long answers are waited for after the last request was due; None: as long as the timeout.
        spin: burn the last millisecond before a send. Not on a machine that others share: the timer that is used
            instead is late by 0.05 to 0.3 ms, which is charged to the answers.
        keep: bodies that each worker keeps.
        distinct: no question is to be asked twice, so that no cache knows an answer: the runs of a series go on in the
            list where the one before has ended.
        place: where in the list of questions the run begins.
    """

    target: Target
    questions: Sequence[str]
    shape: Shape
    connections: int = 64
    workers: int = 1
    seed: int = 1
    warm_up: WarmUp = WarmUp()
    timeout_s: float = 30.0
    drain_s: float | None = None
    spin: bool = True
    keep: KeepLimits = KeepLimits()
    requests: Sequence[bytes] = ()
    distinct: bool = False
    place: QuestionCursor = QuestionCursor()


def worker_plans(plan: LoadPlan) -> list[WorkerPlan]:
    """What each worker does.

    Raises:
        UsageError: something in the plan cannot be.
    """
    _check(plan)
    requests = plan.requests or [request_bytes(plan.target, question) for question in plan.questions]
    schedules = _schedules(plan)
    return [
        WorkerPlan(
            endpoint=endpoint(plan.target),
            kind=plan.target.kind,
            requests=requests,
            connections=_part(plan.connections, plan.workers, share),
            duration_s=duration_s(plan.shape),
            timeout_s=plan.timeout_s,
            drain_s=plan.timeout_s if plan.drain_s is None else plan.drain_s,
            share=share,
            shares=plan.workers,
            spin=plan.spin,
            schedule=schedules[share],
            keep=plan.keep,
            place=plan.place,
        )
        for share in range(plan.workers)
    ]


def repeated(plan: LoadPlan, place: QuestionCursor) -> str:
    """A note when questions were repeated although they should be distinct; empty otherwise.

    Args:
        plan: the plan.
        place: the final position in the list.
    """
    asked = place.front + place.back
    if not plan.distinct or asked <= len(plan.questions):
        return ""
    repeated = f"the {len(plan.questions)} distinct questions ran out: some were repeated and may come from a cache"
    return f"{repeated}; use --distinct {asked} or more"


def _schedules(plan: LoadPlan) -> Sequence[Schedule | None]:
    """Each worker's instants. The warm-up has the rate that the measurement begins with."""
    if isinstance(plan.shape, Closed):
        check_closed(plan.shape)
        return [None] * plan.workers
    measure = offsets(plan.shape, plan.seed)
    rate_qps = first_rate_qps(measure)
    warm_up = offsets(Constant(rate_qps, plan.warm_up.most_s + HANDOVER_S), plan.seed)
    return [Schedule(packed(warm), packed(sends)) for warm, sends in zip(*_split(plan, warm_up, measure), strict=True)]


def _split(plan: LoadPlan, *schedules: Offsets) -> list[list[Offsets]]:
    return [split(sends, plan.workers) for sends in schedules]


def _part(whole: int, parts: int, number: int) -> int:
    return whole // parts + (number < whole % parts)


def _check(plan: LoadPlan) -> None:
    if not plan.questions:
        raise UsageError("there are no questions", "provide at least one")
    if plan.workers < 1:
        raise UsageError(f"invalid number of workers: {plan.workers}", "use 1 or more")
    if plan.connections < plan.workers:
        raise UsageError(
            f"{plan.connections} connections are too few for {plan.workers} workers", "each worker needs at least one"
        )
    if plan.timeout_s <= 0 or plan.warm_up.most_s < 0 or (plan.drain_s or 0) < 0:
        raise UsageError("a duration is negative, or the timeout is 0", "set positive seconds")
