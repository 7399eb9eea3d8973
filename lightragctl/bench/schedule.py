"""Load shapes: the send times of requests. Pure.

The closed loop keeps a number of connections busy, so a slow server gets fewer requests (coordinated omission). The
open loop sends at times that are fixed before the run, independent of the responses; they come from a seed, so a run
can be repeated.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from lightragctl.core.errors import UsageError

Offsets: TypeAlias = npt.NDArray[np.float64]
"""Seconds from the begin of a run, ascending."""

MOST_REQUESTS = 50_000_000
"""Offsets of this many requests take 400 MB; more is probably a typing error."""


class Closed(msgspec.Struct, frozen=True, tag="closed"):
    """Closed loop: every connection sends its next request when it has an answer."""

    duration_s: float


class Constant(msgspec.Struct, frozen=True, tag="constant"):
    """Requests at constant intervals."""

    rate_qps: float
    duration_s: float


class Poisson(msgspec.Struct, frozen=True, tag="poisson"):
    """Poisson arrivals: many independent clients."""

    rate_qps: float
    duration_s: float


class Ramp(msgspec.Struct, frozen=True, tag="ramp"):
    """A rate that changes linearly."""

    from_qps: float
    to_qps: float
    duration_s: float


class Replay(msgspec.Struct, frozen=True, tag="replay"):
    """Recorded times (seconds on any clock, in any order), replayed `speed` times as fast."""

    instants_s: Sequence[float]
    speed: float = 1.0


Open: TypeAlias = Constant | Poisson | Ramp | Replay
Shape: TypeAlias = Closed | Open


def offsets(shape: Open, seed: int) -> Offsets:
    """The send time of each request in seconds from the start; deterministic for a seed.

    Raises:
        UsageError: the shape has no requests, too many, or a number that cannot be.
    """
    _check(shape)
    drawn = _DRAW[type(shape)](shape, seed)
    if not drawn.size:
        raise UsageError(f"no request falls into {shape!r}", "use a higher rate or a longer duration")
    return drawn


def duration_s(shape: Shape) -> float:
    """How long requests are sent; a replay lasts until a mean distance after its last instant."""
    if not isinstance(shape, Replay):
        return shape.duration_s
    sends: list[float] = _replay(shape).tolist()
    return sends[-1] * len(sends) / (len(sends) - 1) if sends[-1] > 0 else 1.0


def first_rate_qps(sends: Offsets) -> float:
    """The rate that a schedule begins with: the requests of its first second."""
    return float(max(1, int(np.count_nonzero(sends < 1.0))))


def split(sends: Offsets, workers: int) -> list[Offsets]:
    """The schedule split round-robin: worker w of W has requests w, w + W, w + 2 W."""
    return [sends[worker::workers] for worker in range(workers)]


def check_closed(shape: Closed) -> None:
    """Raise UsageError when the time is none."""
    _positive("duration_s", shape.duration_s)


def _constant(shape: Constant, _: int) -> Offsets:
    return np.arange(round(shape.rate_qps * shape.duration_s), dtype=np.float64) / shape.rate_qps


def _poisson(shape: Poisson, seed: int) -> Offsets:
    """Given their number, the instants of a Poisson process are independent and uniform (Kingman 1993, 2.4)."""
    random = np.random.default_rng(seed)
    count = random.poisson(shape.rate_qps * shape.duration_s)
    drawn: Offsets = np.sort(random.uniform(0.0, shape.duration_s, count))
    return drawn


def _ramp(shape: Ramp, _: int) -> Offsets:
    """Request k goes when the area under the rate is k: a t + s t²/2 = k with the slope s, solved for t.

    The root is written with the sum below the line: the usual form subtracts near equals when the slope is small.
    """
    slope = (shape.to_qps - shape.from_qps) / shape.duration_s
    area = np.arange(round((shape.from_qps + shape.to_qps) / 2 * shape.duration_s), dtype=np.float64)
    root = np.sqrt(np.maximum(shape.from_qps**2 + 2 * slope * area, 0.0))
    below = shape.from_qps + root
    return np.divide(2 * area, below, out=np.zeros_like(area), where=below > 0)


def _replay(shape: Replay, _: int = 0) -> Offsets:
    instants: Offsets = np.sort(np.asarray(shape.instants_s, dtype=np.float64))
    return (instants - instants[:1]) / shape.speed


_DRAW: Mapping[type[Open], Callable[..., Offsets]] = {
    Constant: _constant,
    Poisson: _poisson,
    Ramp: _ramp,
    Replay: _replay,
}


def _check(shape: Open) -> None:
    match shape:
        case Constant(rate_qps, seconds) | Poisson(rate_qps, seconds):
            _positive("rate_qps", rate_qps)
            _positive("duration_s", seconds)
            _bounded(rate_qps * seconds)
        case Ramp(from_qps, to_qps, seconds):
            _positive("duration_s", seconds)
            _positive("the greater rate of a ramp", max(from_qps, to_qps))
            _not_negative("the smaller rate of a ramp", min(from_qps, to_qps))
            _bounded((from_qps + to_qps) / 2 * seconds)
        case Replay(instants_s, speed):
            _positive("speed", speed)
            if not all(math.isfinite(instant) for instant in instants_s):
                raise UsageError("a time to replay is not a number", "use seconds, as in 12.345")


def _positive(name: str, number: float) -> None:
    if not 0 < number < math.inf:
        raise UsageError(f"{name} is {number:g}", "use a number above 0")


def _not_negative(name: str, number: float) -> None:
    if not 0 <= number < math.inf:
        raise UsageError(f"{name} is {number:g}", "use 0 or more")


def _bounded(requests: float) -> None:
    if requests > MOST_REQUESTS:
        raise UsageError(
            f"{requests:.10g} requests are more than {MOST_REQUESTS}", "use a lower rate or a shorter duration"
        )
