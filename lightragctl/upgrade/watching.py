"""The observation of canaries: the state between two samples, and the verdicts. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lightragctl.upgrade.gates import Judgement, Verdict, Watch, judge, look, shown
from lightragctl.upgrade.gates import from_data as watch_from
from lightragctl.upgrade.gates import to_data as watch_data
from lightragctl.upgrade.samples import Interval, PodSample, interval
from lightragctl.upgrade.samples import from_data as sample_from
from lightragctl.upgrade.samples import to_data as sample_data

KEPT_LOOKS = 120
"""Looks of which figures are kept, for the record; older ones are in the states of the gates."""
_SUMMARY = {"errors": "%", "slow": "%", "mean": "ms"}


@dataclass(frozen=True)
class Watching:
    """What is known of one component.

    Attributes:
        samples: of the last look, from which the next one counts.
        watch: the states of its gates.
        history: of the last looks: unix seconds, then requests, errors and mean seconds of canary and stable pods.
        answers: the verdicts on the answers, of the last probe.
    """

    samples: tuple[PodSample, ...] = ()
    watch: Watch = field(default_factory=Watch)
    history: tuple[tuple[float, ...], ...] = ()
    answers: tuple[Judgement, ...] = ()

    def after(self, samples: Sequence[PodSample], warming_up: bool = False) -> "Watching":
        """The same after another look; the first one only gives the counters to start from."""
        if not self.samples:
            return replace(self, samples=tuple(samples))
        seen = interval(self.samples, samples)
        history = (*self.history, _figures(seen))[-KEPT_LOOKS:]
        return replace(self, samples=tuple(samples), watch=look(self.watch, seen, warming_up), history=history)

    def verdicts(self, planned_looks: int, components: int) -> list[Judgement]:
        """The verdicts of every gate, those on answers last."""
        return [*judge(self.watch, planned_looks, components), *self.answers]


def _figures(seen: Interval) -> tuple[float, ...]:
    flows = (seen.canary, seen.stable)
    each = ((one.requests, one.errors, one.seconds / one.requests if one.requests else 0.0) for one in flows)
    return (round(seen.at_s, 1), *(round(value, 5) for figures in each for value in figures))


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
