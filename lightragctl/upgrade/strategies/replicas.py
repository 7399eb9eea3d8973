"""The upgrade of stateless pods: one canary pod first, more of them, then the stable pods. A kind of operation.

Without a canary the steps that concern one do nothing, and what remains is a rolling upgrade with the same checks.
Components that change together have their canaries at the same time; each is judged by its own pods.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from lightragctl.core.result import Event
from lightragctl.operations.kind import Context, Hold, OperationKind, Pause, Step, Wait
from lightragctl.upgrade.canary import track_of
from lightragctl.upgrade.deployed import apply_canary, canary_obstacle, delete_canaries, has_canary
from lightragctl.upgrade.gates import Judgement, look_seconds
from lightragctl.upgrade.held_autoscaler import give_back, hold, is_held, scale_down_policy, scaler_ref
from lightragctl.upgrade.plan import canary_stages, stage_seconds
from lightragctl.upgrade.preflight import check_release, stable_pods
from lightragctl.upgrade.promotion import (
    RIGHTS,
    RegressionError,
    binder,
    demote,
    is_promoted,
    noted,
    promote,
    since_begun,
    verify,
)
from lightragctl.upgrade.samples import Track
from lightragctl.upgrade.site import Site, read_pods, read_samples, target
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

STAGES = 3
_API = "lightrag-api"
_POLL_S = 2.0
_WARM_UP_S = 60.0
"""After the start of canary pods, at most a quarter of the stage: their caches and connections are cold."""
_DAY_S = 24 * 3600.0
_GAP_LOOKS = 4
"""Looks without a driver or in a pause: at most this many count as observation."""


def replicas_kind(open_site: Callable[[Any], Site]) -> OperationKind:
    """The kind of operation, given how its steps reach a release."""

    bound = binder(open_site)
    steps = [
        Step("preflight", "check the release", 120.0, bound(_preflight), noted("preflight")),
        Step(
            "hold", "hold the autoscalers", 120.0, bound(_hold), bound(_is_held), bound(_give_back),
            Hold(f"watch-{STAGES}"),
        ),
        Step("canary", "start one pod of the new version", 900.0, bound(_widen, 0), bound(_widened, 0), bound(_retire)),
        Step("watch-1", "watch the canary", _DAY_S, bound(_watch, 0), partial(_watched, stage=0)),
    ]  # fmt: skip
    for stage in range(1, STAGES):
        steps += [
            Step(
                f"widen-{stage + 1}", "start more pods of the new version", 900.0, bound(_widen, stage),
                bound(_widened, stage),
            ),
            Step(
                f"watch-{stage + 1}", "watch the canaries", _DAY_S, bound(_watch, stage),
                partial(_watched, stage=stage),
            ),
        ]  # fmt: skip
    steps += [
        Step("promote", "upgrade the stable pods", 7200.0, bound(promote), bound(is_promoted), bound(demote)),
        Step("retire", "delete the canary", 300.0, bound(_retire_and_wait), bound(_is_retired)),
        Step("verify", "verify the release", 600.0, bound(verify), noted("verified")),
    ]
    return OperationKind(
        "upgrade", 1, tuple(steps), limit_s=2 * _DAY_S, abort_on_failure=True, rights=RIGHTS, promotable=True
    )


def _components(context: Context) -> list[str]:
    """The components that have a canary; none without one."""
    given = context.record.parameters
    return list(given["components"]) if given["canary"] else []


def _pods(context: Context, component: str) -> int:
    return int(context.record.originals[f"pods of {component}"])


def _stages(context: Context) -> int:
    return max((len(canary_stages(_pods(context, one))) for one in _components(context)), default=0)


def _wanted(context: Context, component: str, stage: int) -> int:
    stages = canary_stages(_pods(context, component))
    return stages[min(stage, len(stages) - 1)]


def _preflight(context: Context, site: Site) -> None:
    inventory = check_release(site.scope, context.record.id, target(context), _components(context))
    context.save_original("revision", inventory.revision)
    for component in context.record.parameters["components"]:
        context.save_original(f"pods of {component}", stable_pods(site.scope, component))
    context.save_result("preflight", "passed")


def _hold(context: Context, site: Site) -> None:
    for component in _components(context):
        there = site.scope.cluster.get(scaler_ref(site.scope, component))
        if there is not None:
            context.save_original(f"autoscaler of {component}", scale_down_policy(there) or "")
            hold(site.guarded(context), component)


def _is_held(context: Context, site: Site) -> bool:
    return all(is_held(site.scope, one) for one in _components(context))


def _give_back(context: Context, site: Site) -> None:
    for component in _components(context):
        policy = context.record.originals.get(f"autoscaler of {component}")
        if policy is not None:
            give_back(site.guarded(context), component, policy or None)


def _widen(context: Context, site: Site, stage: int) -> Wait | None:
    """Bring the canaries to the size of the stage; waits until their pods are ready."""
    objects = target(context).objects if _components(context) else ()
    for component in _components(context):
        wanted = _wanted(context, component, stage)
        if not has_canary(site.scope, component, wanted):
            apply_canary(site.guarded(context), objects, (component, wanted), context.record.id)
        if reason := canary_obstacle(site.scope, component, since_begun(context)):
            return Wait(_POLL_S, reason)
    return None


def _widened(context: Context, site: Site, stage: int) -> bool:
    """Whether the canaries are as large, or no longer needed."""
    if context.record.step("promote").is_begun:
        return True
    return all(has_canary(site.scope, one, _wanted(context, one, stage), True) for one in _components(context))


def _watched(context: Context, stage: int) -> bool:
    return str(stage) in context.record.results.get("verdicts", {})


def _watch(context: Context, site: Site, stage: int) -> Wait | Pause | None:
    """One look at the pods, and what it decides.

    Raises:
        RegressionError: a gate failed.
    """
    components = _components(context)
    if stage >= _stages(context) or context.record.promoted_by:
        _conclude(context, stage, {})
        return None
    observe_s, now_s = float(context.record.parameters["observe_s"]), context.now().timestamp()
    state = dict(context.record.results.get("watch", {}))
    if state.get("stage") != stage:
        state |= {"stage": stage, "watched_s": 0.0, "pauses": 0, "settled": False}
    else:
        state["watched_s"] += min(now_s - state["at_s"], _GAP_LOOKS * look_seconds(observe_s))
    state["at_s"] = now_s
    seconds = stage_seconds(_stages(context), observe_s)[stage]
    known = {name: from_data(one) for name, one in state.get("components", {}).items()}
    cold = state["watched_s"] < min(_WARM_UP_S, seconds / 4)
    now = {one: known.get(one, Watching()).after(read_samples(site, one, now_s), cold) for one in components}
    if state.get("asked") != stage:
        now = _with_answers(context, site, now)
        state["asked"] = stage
    state["components"] = {name: to_data(one) for name, one in now.items()}
    context.save_result("watch", state)
    planned = int(observe_s / look_seconds(observe_s))
    verdicts = {name: one.verdicts(planned, len(components)) for name, one in now.items()}
    return _decided(context, stage, (state, seconds), verdicts)


def _with_answers(context: Context, site: Site, now: Mapping[str, Watching]) -> dict[str, Watching]:
    """The same with the answers of lightrag-api's canary, where it has one."""
    if _API not in now:
        return dict(now)
    names: dict[Track, list[str]] = {track: [] for track in Track}
    for pod in read_pods(site, _API):
        if track := track_of(pod):
            names[track].append(pod["metadata"]["name"])
    found = site.answers(names[Track.STABLE], names[Track.CANARY], context.notify)
    one = now[_API]
    return {**now, _API: Watching(one.samples, one.watch, one.history, tuple(found))}


def _decided(
    context: Context, stage: int, about: tuple[dict[str, Any], float], verdicts: Mapping[str, Sequence[Judgement]]
) -> Wait | Pause | None:
    """What follows from the verdicts of a look.

    A gate passes at two looks at most: the first after the stage's time at which every gate has its minimum of data,
    and the last of the extension. The second is only needed by gates that could not tell at the first.
    """
    (state, seconds), observe_s = about, float(context.record.parameters["observe_s"])
    if reasons := failed(verdicts):
        _save_verdicts(context, "failed", verdicts)
        raise RegressionError(f"the new version is worse: {'; '.join(reasons)}")
    elapsed, again_s = float(state["watched_s"]), look_seconds(observe_s)
    context.report(round(min(elapsed, seconds)), round(seconds), "s", summary(verdicts))
    if elapsed < seconds:
        return Wait(again_s, f"watching, {seconds - elapsed:.0f} s left")
    is_last = elapsed >= (2 + state["pauses"]) * seconds
    is_first = not state["settled"] and not without_data(verdicts)
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
    _conclude(context, stage, verdicts)
    return None


def _conclude(context: Context, stage: int, verdicts: Mapping[str, Sequence[Judgement]]) -> None:
    _save_verdicts(context, str(stage), verdicts)
    if verdicts:
        context.notify(Event(f"passed: {summary(verdicts)}", f"watch-{stage + 1}"))


def _save_verdicts(context: Context, key: str, verdicts: Mapping[str, Sequence[Judgement]]) -> None:
    data = {name: [judgement_data(one) for one in all_of] for name, all_of in verdicts.items()}
    context.save_result("verdicts", {**context.record.results.get("verdicts", {}), key: data})


def _retire(context: Context, site: Site) -> None:
    """Delete the canaries; the Service sends no more requests to their pods, which finish those that they have."""
    delete_canaries(site.guarded(context), context.record.id)


def _retire_and_wait(context: Context, site: Site) -> Wait | None:
    _retire(context, site)
    return (
        None if _is_retired(context, site) else Wait(_POLL_S, "waiting for the canary's pods to finish their requests")
    )


def _is_retired(context: Context, site: Site) -> bool:
    for component in context.record.parameters["components"]:
        if any(track_of(pod) is Track.CANARY for pod in read_pods(site, component)):
            return False
    return True
