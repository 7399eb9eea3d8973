"""When the requests of a bench command go: from its options to a load shape; combinations that mean nothing. Pure."""

from collections.abc import Callable, Sequence

from lightragctl.bench.schedule import Closed, Constant, Poisson, Ramp, Replay, Shape
from lightragctl.cli.bench.options import ShapeOptions
from lightragctl.core.errors import UsageError

DURATION_S = 20.0
TOPICS_QPS = 10.0
TOPICS_S = 10.0
"""The guide's own script: 100 requests."""


def shape(given: ShapeOptions, is_topics: bool, instants_s: Callable[[], Sequence[float]]) -> Shape:
    """When requests go.

    Args:
        given: the options.
        is_topics: whether the shipped questions about three topics are asked, which have a shape of their own.
        instants_s: when recorded questions came; empty of others.

    Raises:
        UsageError: options contradict each other, or there is nothing to replay.
    """
    _check(given)
    if given.arrivals == "replay":
        if not (found := instants_s()):
            raise UsageError("only recorded questions have instants to replay", "say --scenario recordings")
        return Replay(found, given.speed or 1.0)
    if given.rate is None:
        if is_topics and given.concurrency is None:
            return Constant(TOPICS_QPS, given.duration or TOPICS_S)
        return Closed(given.duration or DURATION_S)
    return _open(given.rate, given.duration or DURATION_S, given.arrivals or ("constant" if is_topics else "poisson"))


def steady(rate_qps: float | None, concurrency: int | None, seconds: float) -> Shape:
    """The shape of each round of a comparison.

    Raises:
        UsageError: both are given.
    """
    _check(ShapeOptions(rate_qps, concurrency))
    return Closed(seconds) if rate_qps is None else Poisson(rate_qps, seconds)


def _open(rate_qps: float, seconds: float, arrivals: str) -> Shape:
    match arrivals:
        case "ramp":
            return Ramp(0.0, rate_qps, seconds)
        case "constant":
            return Constant(rate_qps, seconds)
        case _:
            return Poisson(rate_qps, seconds)


def _check(given: ShapeOptions) -> None:
    if given.arrivals == "replay":
        others = {"--rate": given.rate, "--concurrency": given.concurrency, "--duration": given.duration}
        for name, value in others.items():
            if value is not None:
                raise UsageError(f"a replay comes as it was recorded, whatever {name} says", "say --speed N instead")
        return
    if given.speed is not None:
        raise UsageError("--speed is of a replay", "say --scenario recordings --arrivals replay")
    if given.arrivals is not None and given.rate is None:
        raise UsageError(f"--arrivals {given.arrivals} needs a rate", "say --rate N")
    if given.rate is not None and given.concurrency is not None:
        message = "--rate sends whatever is under way, --concurrency only what was answered: they contradict each other"
        raise UsageError(message, "give one of them")
