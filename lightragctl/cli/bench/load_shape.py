"""Load shapes from the options of bench commands; rejects incompatible options. Pure."""

from collections.abc import Callable, Sequence

from lightragctl.bench.schedule import Closed, Constant, Poisson, Ramp, Replay, Shape
from lightragctl.cli.bench.options import ShapeOptions
from lightragctl.core.errors import UsageError

DURATION_S = 20.0
TOPICS_QPS = 10.0
TOPICS_S = 10.0
"""100 requests, as in the script of the original guide."""


def shape(given: ShapeOptions, is_topics: bool, instants_s: Callable[[], Sequence[float]]) -> Shape:
    """The load shape of a run.

    Args:
        given: the options.
        is_topics: whether the scenario is `topics`, which has its own default shape.
        instants_s: times of recorded questions; empty for others.

    Raises:
        UsageError: incompatible options, or there is nothing to replay.
    """
    _check(given)
    if given.arrivals == "replay":
        if not (found := instants_s()):
            raise UsageError("only recorded questions can be replayed", "use --scenario recordings")
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
                raise UsageError(f"{name} and --arrivals replay are mutually exclusive", "use --speed N")
        return
    if given.speed is not None:
        raise UsageError("--speed needs a replay", "use --scenario recordings --arrivals replay")
    if given.arrivals is not None and given.rate is None:
        raise UsageError(f"--arrivals {given.arrivals} needs a rate", "set --rate N")
    if given.rate is not None and given.concurrency is not None:
        message = "--rate (open loop) and --concurrency (closed loop) are mutually exclusive"
        raise UsageError(message, "use one of them")
