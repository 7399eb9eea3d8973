"""One look at the canaries after the other, and what it decides. I/O through the site.

What is known is in the record between two looks, so that another driver goes on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from lightragctl.core.gates import Comparison, UpgradeSettings
from lightragctl.core.result import Event
from lightragctl.operations.kind import Context, Pause, Wait
from lightragctl.upgrade.canary import track_of
from lightragctl.upgrade.gate import ASKED, Gate, Rule, gates_of
from lightragctl.upgrade.gates import Judgement, look_seconds
from lightragctl.upgrade.promotion import RegressionError
from lightragctl.upgrade.samples import Flow, PodSample, Track, flow_data, flow_from, interval
from lightragctl.upgrade.samples import from_data as sample_from
from lightragctl.upgrade.samples import to_data as sample_data
from lightragctl.upgrade.site import Site, read_pods, read_samples, target_plan
from lightragctl.upgrade.watching import (
    Watching,
    failed,
    from_data,
    judgement_data,
    summary,
    to_data,
    unsettled,
    without_data,
)

BASELINE_S = 30.0
"""How long the stable pods are measured before the canary starts, where a gate compares with that."""
_WARM_UP_S = 60.0
"""After the start of canary pods, at most a quarter of the stage: their caches and connections are cold."""
_GAP_LOOKS = 4
"""Looks without a driver or in a pause: at most this many count as observation."""

Verdicts = Mapping[str, Sequence[Judgement]]
"""By component."""


@dataclass(frozen=True)
class Stage:
    """A stage of the observation.

    Attributes:
        number: from 0.
        seconds: how long it lasts without an extension.
        components: that are watched.
    """

    number: int
    seconds: float
    components: Sequence[str]


@dataclass(frozen=True)
class _Looking:
    """What a look works with."""

    context: Context
    site: Site

    @cached_property
    def settings(self) -> UpgradeSettings:
        """Those of the profile that the upgrade leads to."""
        return target_plan(self.context).profile.upgrade

    @cached_property
    def gates(self) -> tuple[Gate, ...]:
        """Of every component."""
        return gates_of(self.settings)

    def of(self, component: str) -> list[Gate]:
        """The gates of a component."""
        return [one for one in self.gates if one.applies_to(component)]

    def asked(self, gates: Sequence[Gate], pods: Sequence[str]) -> dict[str, float | None]:
        """What the queries of gates say of these pods."""
        address = self.settings.prometheus or ""
        return {one.name: self.site.query(address, one.query, pods) if pods else None for one in gates if one.query}

    @property
    def observe_s(self) -> float:
        """Of all stages."""
        return float(self.context.record.parameters["observe_s"])


def measure_before(context: Context, site: Site, components: Sequence[str]) -> Wait | None:
    """Measure the stable pods before the canary starts, for the gates that compare with that."""
    looking = _Looking(context, site)
    compared = {name: [one for one in looking.of(name) if one.compare is Comparison.BEFORE] for name in components}
    needed = [name for name, gates in compared.items() if gates]
    if not needed:
        context.save_result("before", {})
        return None
    begun = context.record.results.get("before_begun")
    now_s = context.now().timestamp()
    samples = {name: read_samples(site, name, now_s) for name in needed}
    if begun is None:
        context.save_result(
            "before_begun", {name: [sample_data(one) for one in found] for name, found in samples.items()}
        )
        return Wait(BASELINE_S, "measuring the stable pods")
    context.save_result("before", {
        name: {
            "flow": flow_data(interval([sample_from(one) for one in begun[name]], samples[name]).stable),
            "values": looking.asked(compared[name], _pods(samples[name], Track.STABLE)),
        }
        for name in needed
    })  # fmt: skip
    return None


def _pods(samples: Iterable[PodSample], track: Track) -> list[str]:
    return [one.pod for one in samples if one.track is track]


def watched(context: Context, stage: int) -> bool:
    """Whether a stage has ended with a verdict."""
    return str(stage) in context.record.results.get("verdicts", {})


def skip(context: Context, stage: int) -> None:
    """Note that a stage is not observed."""
    _conclude(context, stage, {})


def watch(context: Context, site: Site, stage: Stage) -> Wait | Pause | None:
    """One look at the pods, and what it decides.

    Raises:
        RegressionError: a gate failed.
    """
    looking = _Looking(context, site)
    state = _state(looking, stage)
    known = {name: from_data(one) for name, one in state.get("components", {}).items()}
    cold = state["watched_s"] < min(_WARM_UP_S, stage.seconds / 4)
    now = {name: _after(looking, known.get(name, Watching()), name, cold) for name in stage.components}
    if state.get("asked") != stage.number:
        now = _with_answers(looking, now)
        state["asked"] = stage.number
    state["components"] = {name: to_data(one) for name, one in now.items()}
    context.save_result("watch", state)
    planned = int(looking.observe_s / look_seconds(looking.observe_s))
    verdicts = {
        name: one.verdicts(looking.of(name), planned, len(stage.components), _is_last(state, stage))
        for name, one in now.items()
    }
    return _decided(looking, stage, state, verdicts)


def _state(looking: _Looking, stage: Stage) -> dict[str, Any]:
    """What is known of the stage, with the time that it has been observed."""
    state, now_s = dict(looking.context.record.results.get("watch", {})), looking.context.now().timestamp()
    if state.get("stage") != stage.number:
        state |= {"stage": stage.number, "watched_s": 0.0, "pauses": 0, "settled": False}
    else:
        state["watched_s"] += min(now_s - state["at_s"], _GAP_LOOKS * look_seconds(looking.observe_s))
    return {**state, "at_s": now_s}


def _after(looking: _Looking, known: Watching, component: str, cold: bool) -> Watching:
    """What is known of a component after a look at its pods."""
    samples = read_samples(looking.site, component, looking.context.now().timestamp())
    gates, before = looking.of(component), looking.context.record.results.get("before", {}).get(component)
    ours, theirs = (looking.asked(gates, _pods(samples, track)) for track in (Track.CANARY, Track.STABLE))
    earlier = before["values"] if before else {}
    values = {
        one.name: (ours[one.name], (earlier if one.compare is Comparison.BEFORE else theirs).get(one.name))
        for one in gates
        if one.query
    }
    flow = flow_from(before["flow"]) if before else Flow()
    return known.after(samples, gates, cold, flow, values)


def _with_answers(looking: _Looking, now: Mapping[str, Watching]) -> dict[str, Watching]:
    """The same with the answers of lightrag-api's canary, where it has one."""
    gates = [one for one in looking.of(ASKED) if one.rule is Rule.ANSWERS]
    if ASKED not in now or not gates:
        return dict(now)
    names: dict[Track, list[str]] = {track: [] for track in Track}
    for pod in read_pods(looking.site, ASKED):
        if track := track_of(pod):
            names[track].append(pod["metadata"]["name"])
    found = looking.site.answers(names[Track.STABLE], names[Track.CANARY], gates)
    return {**now, ASKED: replace(now[ASKED], answers=tuple(found))}


def _is_last(state: Mapping[str, Any], stage: Stage) -> bool:
    """Whether the observation and its extensions end with this look."""
    return bool(state["watched_s"] >= (2 + state["pauses"]) * stage.seconds)


def _decided(looking: _Looking, stage: Stage, state: Mapping[str, Any], verdicts: Verdicts) -> Wait | Pause | None:
    """What follows from the verdicts of a look.

    A gate passes at two looks at most: the first after the stage's time at which every gate has its minimum of data,
    and the last of the extension. The second is only needed by gates that could not tell at the first.
    """
    context, seconds = looking.context, stage.seconds
    if reasons := failed(verdicts):
        _save_verdicts(context, "failed", verdicts)
        raise RegressionError(f"the new version is worse: {'; '.join(reasons)}")
    elapsed, again_s = float(state["watched_s"]), look_seconds(looking.observe_s)
    context.report(round(min(elapsed, seconds)), round(seconds), "s", summary(verdicts))
    if elapsed < seconds:
        return Wait(again_s, f"watching, {seconds - elapsed:.0f} s left")
    is_last, is_first = _is_last(state, stage), not state["settled"] and not without_data(verdicts)
    open_gates = unsettled(verdicts)
    if open_gates and is_last:
        _save_verdicts(context, "undecided", verdicts)
        context.save_result("watch", {**state, "pauses": state["pauses"] + 1})
        return Pause(f"the observation ends without a verdict: {open_gates}")
    if open_gates or not (is_first or is_last):
        if is_first:
            context.save_result("watch", {**state, "settled": True})
        left = (2 + state["pauses"]) * seconds - elapsed
        return Wait(again_s, f"extended, {left:.0f} s left; {open_gates or 'no gate is undecided'}")
    _conclude(context, stage.number, verdicts)
    return None


def _conclude(context: Context, stage: int, verdicts: Verdicts) -> None:
    _save_verdicts(context, str(stage), verdicts)
    if verdicts:
        context.notify(Event(f"passed: {summary(verdicts)}", f"watch-{stage + 1}"))


def _save_verdicts(context: Context, key: str, verdicts: Verdicts) -> None:
    data = {name: [judgement_data(one) for one in all_of] for name, all_of in verdicts.items()}
    context.save_result("verdicts", {**context.record.results.get("verdicts", {}), key: data})
