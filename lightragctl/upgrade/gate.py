"""The gates of a canary as data: the built-in ones, and what the profile adds and changes. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from lightragctl.core.errors import ProfileError
from lightragctl.core.gates import Comparison, GateSettings, Missing, UpgradeSettings
from lightragctl.upgrade.samples import Flow, quantile, share_above

_SLOW_SHARE = 0.01
"""A request is slow when it takes longer than the p99 of the stable pods in the same block, so that what slows all pods
at once, such as the backend, cancels out."""


class Rule(StrEnum):
    """How a gate judges.

    `compared`: the mean of a measure on the canary against `ratio` times that of what it is compared with plus
    `limit`. `sustained`: a measure stays above the limit for some time. `available`: the share of looks at which all
    of the canary's pods were ready. `restarts`: more restarts than the limit. `answers`: by the golden set.
    """

    COMPARED = "compared"
    SUSTAINED = "sustained"
    AVAILABLE = "available"
    RESTARTS = "restarts"
    ANSWERS = "answers"


Measure = Callable[[Flow, Flow], tuple[Any, Any]]
"""The measure on the canary and on the other pods, given what each did in a block; None: a look has no value of it."""


@dataclass(frozen=True)
class Metric:
    """What a gate can judge.

    Attributes:
        title: for a person.
        rule: how it is judged.
        unit: of figures: `%` for shares, `ms` for seconds, or empty.
        measure: of `compared`.
        block: requests that each side needs in a block; 0: each look is one, and samples are looks.
        is_share: of requests, whose variance by chance is known.
        needs_bounds: uses the histogram of response times.
    """

    title: str
    rule: Rule
    unit: str = "%"
    measure: Measure | None = None
    block: int = 20
    is_share: bool = False
    needs_bounds: bool = False


def _per_request(name: str) -> Measure:
    """The mean of a figure for each request."""

    def measure(canary: Flow, other: Flow) -> tuple[float, float]:
        ours, theirs = (getattr(flow, name) / flow.requests if flow.requests else 0.0 for flow in (canary, other))
        return ours, theirs

    return measure


def _slow(canary: Flow, other: Flow) -> tuple[float, float]:
    return share_above(canary, quantile(other, _SLOW_SHARE)), _SLOW_SHARE


def _queue(canary: Flow, other: Flow) -> tuple[float, float]:
    return canary.queue, other.queue


def _memory_growth(canary: Flow, other: Flow) -> tuple[float | None, float | None]:
    return canary.memory_growth, other.memory_growth


METRICS: Mapping[str, Metric] = {
    "errors": Metric("error rate", Rule.COMPARED, measure=_per_request("errors"), is_share=True),
    "refused": Metric("share of 4xx responses", Rule.COMPARED, measure=_per_request("refused"), is_share=True),
    "slow": Metric(
        "share of requests slower than the stable p99", Rule.COMPARED, measure=_slow, block=100, is_share=True,
        needs_bounds=True,
    ),
    "mean": Metric("mean latency", Rule.COMPARED, "ms", _per_request("seconds")),
    "shed": Metric("share of rejected requests", Rule.COMPARED, measure=_per_request("shed"), is_share=True),
    "queue": Metric("queued items", Rule.COMPARED, "", _queue),
    "memory-growth": Metric("memory growth in an hour, share of the limit", Rule.COMPARED, "%", _memory_growth, 0),
    "cpu": Metric("CPU, share of the limit", Rule.SUSTAINED),
    "memory": Metric("memory, share of the limit", Rule.SUSTAINED),
    "ready": Metric("share of samples with all canary pods ready", Rule.AVAILABLE),
    "restarts": Metric("restarts of the canary", Rule.RESTARTS, ""),
    "recall": Metric("recall of the golden set", Rule.ANSWERS),
    "overlap": Metric("results as from the stable pods", Rule.ANSWERS),
}  # fmt: skip
"""By name. A gate with a `query` has a metric of its own."""
QUERY = Metric("", Rule.COMPARED, "", block=0)


@dataclass(frozen=True)
class Gate:
    """One gate; see `GateSettings` for the attributes that the two have in common."""

    name: str
    metric: str
    compare: Comparison
    limit: float
    ratio: float = 1.0
    tolerance: float = 0.0
    minimum: int = 300
    for_s: float = 0.0
    missing: Missing = Missing.UNDECIDED
    query: str = ""
    component: str = ""

    @property
    def of(self) -> Metric:
        """What it judges."""
        return replace(QUERY, title=self.name) if self.query else METRICS[self.metric]

    @property
    def rule(self) -> Rule:
        """How it judges."""
        return self.of.rule

    @property
    def factor(self) -> float:
        """The ratio; 0 where the limit is absolute."""
        return 0.0 if self.compare is Comparison.ABSOLUTE else self.ratio

    def applies_to(self, component: str) -> bool:
        """Whether the canary of a component has this gate."""
        is_asked = self.rule is not Rule.ANSWERS or component == ASKED
        return is_asked and self.component in ("", component)


ASKED = "lightrag-api"
"""The component whose answers are compared."""
OVERLAP_FLOOR = 0.90
"""Of the results of a canary, as many must be those of the stable pods."""
_STABLE, _ABSOLUTE = Comparison.STABLE, Comparison.ABSOLUTE

BUILT_IN = (
    Gate("errors", "errors", _STABLE, 0.005, 1.0, 0.005),
    Gate("refused", "refused", _STABLE, 0.02, 1.0, 0.02),
    Gate("slow", "slow", _STABLE, 0.0005, 1.15, 0.015, 1000),
    Gate("mean", "mean", _STABLE, 0.002, 1.15, 0.01),
    Gate("mean-absolute", "mean", _ABSOLUTE, 0.5, tolerance=0.5),
    Gate("shed", "shed", _STABLE, 0.005, 1.0, 0.005),
    Gate("queue", "queue", _STABLE, 8.0, 2.0, 8.0),
    Gate("memory-growth", "memory-growth", _STABLE, 2.0, 1.0, 30.0, 8, missing=Missing.PASS),
    Gate("cpu", "cpu", _ABSOLUTE, 0.85, minimum=1, for_s=300.0),
    Gate("memory", "memory", _ABSOLUTE, 0.85, minimum=1, for_s=300.0),
    Gate("ready", "ready", _ABSOLUTE, 0.95, minimum=12),
    Gate("restarts", "restarts", _ABSOLUTE, 0.0, minimum=1),
    Gate("recall", "recall", _STABLE, 0.05, minimum=1, missing=Missing.PASS),
    Gate("overlap", "overlap", _ABSOLUTE, OVERLAP_FLOOR, minimum=1, missing=Missing.PASS),
)
"""The built-in gates, in the order in which they are shown."""


def gates_of(settings: UpgradeSettings) -> tuple[Gate, ...]:
    """The gates in effect: the built-in ones as the profile changes them, then its own.

    Raises:
        ProfileError: a gate has no metric, an unknown one, no limit, or a query and there is no Prometheus.
    """
    built_in = {one.name: one for one in BUILT_IN}
    names = [*built_in, *(name for name in settings.gates if name not in built_in)]
    found = []
    for name in names:
        wanted = settings.gates.get(name, GateSettings())
        if wanted.enabled:
            gate = _made(name, built_in.get(name), wanted)
            if gate.query and settings.prometheus is None:
                raise ProfileError(f"upgrade.gates.{name}: a query needs upgrade.prometheus, which is not set")
            found.append(gate)
    return tuple(found)


def _made(name: str, base: Gate | None, wanted: GateSettings) -> Gate:
    given: dict[str, Any] = {
        key: value
        for key, value in wanted.model_dump(exclude={"enabled"}, exclude_none=True).items()
        if key not in ("compare", "missing")
    }
    given |= {"compare": wanted.compare} if wanted.compare else {}
    given |= {"missing": wanted.missing} if wanted.missing else {}
    if base is None:
        if not (wanted.metric or wanted.query) or wanted.limit is None:
            raise ProfileError(f"upgrade.gates.{name}: a gate of your own needs limit, and metric or query")
        base = Gate(name, wanted.metric or "", Comparison.STABLE, wanted.limit, minimum=8 if wanted.query else 300)
    made = replace(base, **given)
    if not made.query and made.metric not in METRICS:
        raise ProfileError(f"upgrade.gates.{name}: there is no metric '{made.metric}'; known: {', '.join(METRICS)}")
    return made


def share_of_alarms(gates: Sequence[Gate]) -> int:
    """Among how many gates the probability of a false alarm is divided."""
    return max(1, sum(one.rule is Rule.COMPARED for one in gates))


def shown(value: float, unit: str) -> str:
    """A figure for a person."""
    if unit == "%":
        return f"{value * 100:.2f} %"
    return f"{value * 1000:.1f} ms" if unit == "ms" else f"{value:.1f}"


def told(gate: Gate) -> str:
    """When a gate fails, for a person."""
    unit, limit = gate.of.unit, shown(gate.limit, gate.of.unit)
    match gate.rule:
        case Rule.AVAILABLE:
            return f"below {limit}"
        case Rule.ANSWERS:
            return f"below {limit}" if gate.metric == "overlap" else f"{limit} lower than from the stable pods"
        case Rule.SUSTAINED:
            return f"above {limit} for {gate.for_s:.0f} s"
        case Rule.RESTARTS:
            return f"more than {gate.limit:.0f}"
    other = {"stable": "that of the stable pods", "before": "that before the upgrade"}.get(str(gate.compare), "")
    base = f"{gate.factor:g} x {other} + " if gate.factor and gate.factor != 1 else f"{other} + " if other else ""
    passes = shown(gate.limit + gate.tolerance, unit)
    return f"above {base}{limit}; passes below {base}{passes}"
