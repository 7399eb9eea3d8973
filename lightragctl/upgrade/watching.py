"""The observation of canaries: the state between two samples, and the verdicts. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lightragctl.upgrade.gate import Gate, shown
from lightragctl.upgrade.gates import Judgement, Verdict, Watch, judge, look
from lightragctl.upgrade.gates import from_data as watch_from
from lightragctl.upgrade.gates import to_data as watch_data
from lightragctl.upgrade.samples import Flow, Interval, PodSample, interval, quantile
from lightragctl.upgrade.samples import from_data as sample_from
from lightragctl.upgrade.samples import to_data as sample_data

KEPT_LOOKS = 240
"""Rows of figures that are kept in the record."""
_P99 = 0.01
NOTHING = Flow()
_SUMMARY = {"errors": "%", "slow": "%", "mean": "ms"}


@dataclass(frozen=True)
class Watching:
    """What is known of one component.

    Attributes:
        samples: of the last look, from which the next one counts.
        watch: the states of its gates.
        history: rows of unix seconds, then requests, errors, mean and p99 in seconds of canary and stable pods.
        answers: the verdicts on the answers, of the last probe.
    """

    samples: tuple[PodSample, ...] = ()
    watch: Watch = field(default_factory=Watch)
    history: tuple[tuple[float, ...], ...] = ()
    answers: tuple[Judgement, ...] = ()

    def after(
        self,
        samples: Sequence[PodSample],
        gates: Sequence[Gate],
        warming_up: bool = False,
        before: Flow = NOTHING,
        values: Mapping[str, tuple[float | None, float | None]] | None = None,
    ) -> "Watching":
        """The same after another look; the first one only gives the counters to start from.

        Args:
            samples: of all pods.
            gates: of the component.
            warming_up: the canary has just started.
            before: what the stable pods did before the upgrade.
            values: of the gates with a query, for the canary and what it is compared with.
        """
        if not self.samples:
            return replace(self, samples=tuple(samples))
        seen = replace(interval(self.samples, samples), before=before, values=values or {})
        history = thinned((*self.history, _figures(seen)))
        return replace(self, samples=tuple(samples), watch=look(self.watch, seen, gates, warming_up), history=history)

    def verdicts(
        self, gates: Sequence[Gate], planned_looks: int, components: int, is_last: bool = False
    ) -> list[Judgement]:
        """The verdicts of every gate, those on answers last."""
        return [*judge(self.watch, gates, planned_looks, components, is_last), *self.answers]


def _figures(seen: Interval) -> tuple[float, ...]:
    return (round(seen.at_s, 1), *(round(value, 5) for flow in (seen.canary, seen.stable) for value in _track(flow)))


def _track(flow: Flow) -> tuple[float, float, float, float]:
    mean = flow.seconds / flow.requests if flow.requests else 0.0
    return flow.requests, flow.errors, mean, quantile(flow, _P99) if flow.requests else 0.0


def thinned(rows: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    """The history with half of its rows once it is too long, each of two looks; the whole time stays in it."""
    if len(rows) <= KEPT_LOOKS:
        return rows
    pairs = zip(rows[::2], rows[1::2], strict=False)
    odd = rows[-1:] if len(rows) % 2 else ()
    return (*(_both(*pair) for pair in pairs), *odd)


def _both(one: tuple[float, ...], other: tuple[float, ...]) -> tuple[float, ...]:
    """Two looks as one: sums of requests and errors, the mean by requests, the larger p99."""
    found = [other[0]]
    for at in (1, 5):
        requests = one[at] + other[at]
        seconds = one[at] * one[at + 2] + other[at] * other[at + 2]
        mean = round(seconds / requests, 5) if requests else 0.0
        found += [requests, one[at + 1] + other[at + 1], mean, max(one[at + 3], other[at + 3])]
    return tuple(found)


def failed(verdicts: Mapping[str, Sequence[Judgement]]) -> list[str]:
    """The reasons of gates that failed, with their component."""
    return _reasons(verdicts, Verdict.FAILED)


def without_data(verdicts: Mapping[str, Sequence[Judgement]]) -> list[str]:
    """The reasons of gates that have less than their minimum, with their component."""
    return _reasons(verdicts, Verdict.NO_DATA)


def unsettled(verdicts: Mapping[str, Sequence[Judgement]]) -> str:
    """What is undecided, and what has no data, for a person; empty when every gate has passed or failed."""
    kinds = (("undecided", Verdict.UNDECIDED), ("not enough data", Verdict.NO_DATA))
    return "; ".join(f"{title}: {', '.join(found)}" for title, kind in kinds if (found := _reasons(verdicts, kind)))


def _reasons(verdicts: Mapping[str, Sequence[Judgement]], kind: Verdict) -> list[str]:
    return [
        f"{component} {one.gate} ({one.reason})" for component, all_of in verdicts.items() for one in all_of
        if one.verdict is kind
    ]  # fmt: skip


def summary(verdicts: Mapping[str, Sequence[Judgement]]) -> str:
    """The figures that a user watches, in one line."""
    return "; ".join(f"{name}: {_figures_of({one.gate: one for one in found})}" for name, found in verdicts.items())


def _figures_of(found: Mapping[str, Judgement]) -> str:
    requests = next((one.samples for one in found.values()), 0.0)
    parts = [f"{requests:.0f} requests to the canary"]
    for gate, unit in _SUMMARY.items():
        one = found.get(gate)
        if one is not None and one.canary is not None and one.stable is not None and one.samples:
            parts.append(f"{gate} {shown(one.canary, unit)} (stable {shown(one.stable, unit)})")
    return ", ".join(parts)


def to_data(one: Watching) -> dict[str, Any]:
    """The watching as JSON values."""
    return {
        "samples": [sample_data(sample) for sample in one.samples],
        "watch": watch_data(one.watch),
        "history": [list(row) for row in one.history],
        "answers": [judgement_data(answer) for answer in one.answers],
    }


def from_data(data: Mapping[str, Any]) -> Watching:
    """The watching that `to_data` described."""
    answers = tuple(Judgement(**{**answer, "verdict": Verdict(answer["verdict"])}) for answer in data["answers"])
    samples = tuple(sample_from(sample) for sample in data["samples"])
    return Watching(samples, watch_from(data["watch"]), tuple(map(tuple, data["history"])), answers)


def judgement_data(one: Judgement) -> dict[str, Any]:
    """The judgement as JSON values; infinite bounds are None."""
    bounds = {name: None if value is None or math.isinf(value) else value for name, value in _bounds(one).items()}
    return {**vars(one), "verdict": str(one.verdict), **bounds}


def _bounds(one: Judgement) -> dict[str, float | None]:
    return {"bound": one.bound, "upper": one.upper}
