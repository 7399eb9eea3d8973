"""The upgrade of stateless pods: one canary pod first, more of them, then the stable pods. A kind of operation.

Without a canary the steps that concern one do nothing, and what remains is a rolling upgrade with the same checks.
Components that change together have their canaries at the same time; each is judged by its own pods.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from lightragctl.operations.kind import Context, Hold, OperationKind, Pause, Step, Wait
from lightragctl.upgrade.canary import track_of
from lightragctl.upgrade.deployed import apply_canary, canary_obstacle, delete_canaries, has_canary
from lightragctl.upgrade.held_autoscaler import give_back, hold, is_held, scale_down_policy, scaler_ref
from lightragctl.upgrade.observing import Stage, measure_before, skip, watch, watched
from lightragctl.upgrade.plan import canary_stages, stage_seconds
from lightragctl.upgrade.preflight import check_release, pending_rows, stable_pods, store_obstacle
from lightragctl.upgrade.promotion import (
    RIGHTS,
    binder,
    demote,
    is_promoted,
    noted,
    promote,
    since_begun,
    verify,
)
from lightragctl.upgrade.samples import Track
from lightragctl.upgrade.site import Site, read_pods, target

STAGES = 3
_POLL_S, _INDEX_S = 2.0, 15.0
"""Between two looks at pods, and at the builds of indexes."""
_DAY_S = 24 * 3600.0


def replicas_kind(open_site: Callable[[Any], Site]) -> OperationKind:
    """The kind of operation, given how its steps reach a release."""

    bound = binder(open_site)
    steps = [
        Step("preflight", "check the release", 600.0, bound(_preflight), noted("preflight")),
        Step(
            "hold", "hold the autoscalers", 120.0, bound(_hold), bound(_is_held), bound(_give_back),
            Hold(f"watch-{STAGES}"),
        ),
        Step(
            "baseline", "measure the stable pods", 600.0, bound(_measure_before), noted("before"),
        ),
        Step("canary", "start one pod of the new version", 900.0, bound(_widen, 0), bound(_widened, 0), bound(_retire)),
        Step("watch-1", "watch the canary", _DAY_S, bound(_watch, 0), partial(watched, stage=0)),
    ]  # fmt: skip
    for stage in range(1, STAGES):
        steps += [
            Step(
                f"widen-{stage + 1}", "start more pods of the new version", 900.0, bound(_widen, stage),
                bound(_widened, stage),
            ),
            Step(
                f"watch-{stage + 1}", "watch the canaries", _DAY_S, bound(_watch, stage),
                partial(watched, stage=stage),
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


def _preflight(context: Context, site: Site) -> Wait | None:
    collections = site.collections()
    waits = store_obstacle(context.record.results.get("pending rows"), collections)
    context.save_result("pending rows", pending_rows(collections))
    if waits:
        return Wait(_INDEX_S, waits)
    inventory = check_release(site.scope, context.record.id, target(context), _components(context))
    context.save_original("revision", inventory.revision)
    for component in context.record.parameters["components"]:
        context.save_original(f"pods of {component}", stable_pods(site.scope, component))
    context.save_result("preflight", "passed")
    return None


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


def _measure_before(context: Context, site: Site) -> Wait | None:
    return measure_before(context, site, _components(context))


def _watch(context: Context, site: Site, stage: int) -> Wait | Pause | None:
    """Observe the canaries, unless there are none or an operator has promoted them."""
    if stage >= _stages(context) or context.record.promoted_by:
        skip(context, stage)
        return None
    seconds = stage_seconds(_stages(context), float(context.record.parameters["observe_s"]))[stage]
    return watch(context, site, Stage(stage, seconds, _components(context)))


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
