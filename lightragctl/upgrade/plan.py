"""Plans an upgrade: strategy, steps, detectable effects and point of no return of each component. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from lightragctl.checks.versions import Changed, version
from lightragctl.components import all_components
from lightragctl.core.component import Component, Plan, Values
from lightragctl.core.errors import RefusedError, UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject
from lightragctl.core.versions import HopKind, Verdict, judge_change
from lightragctl.kube.labels import ROLE, component_of
from lightragctl.kube.objects import WORKLOAD_KINDS, labels_of
from lightragctl.upgrade.compared import smallest_loss
from lightragctl.upgrade.data_plans import DataPlan, roles_plan, shadow_plan, writer_plan
from lightragctl.upgrade.gate import BUILT_IN, OVERLAP_FLOOR, Gate, share_of_alarms, told
from lightragctl.upgrade.gates import FALSE_ALARMS, LOOK_S
from lightragctl.upgrade.sequential import smallest_share

WIDENED = (0.25, 0.5)
"""After one pod: canary pods as a share of the stable ones."""
FIRST_STAGE = 0.5
"""Of the time that a canary is watched: with one pod; the rest in equal parts with more."""


class Strategy(StrEnum):
    """How a component is upgraded."""

    REPLICAS = "replicas"
    """Stateless pods behind one Service: one pod of the new version first."""
    ROLLING = "rolling"
    """Stateless pods without metrics of ours: their Deployment replaces them."""
    ROLES = "roles"
    """The roles of a cluster, one after the other."""
    SHADOW = "shadow"
    """A store with one server: the new version beside it, on a copy."""
    WRITER = "writer"
    """The only writer: compare on a copy, then stop, back up and start."""
    STORE = "store"
    """Servers with their own volumes and no other strategy."""


MISSING = frozenset({Strategy.STORE})
"""Strategies that this version does not have: their components are refused."""
ALONE = frozenset({Strategy.ROLES, Strategy.SHADOW, Strategy.WRITER})
"""Strategies of data: the component is upgraded by itself."""
_ENTRY = "proxy"
"""The role of a cluster that requests come to, of which one pod joins first."""


@dataclass(frozen=True)
class Traffic:
    """What a component serves now: requests per second, and the share of errors; None: it could not be read."""

    requests_per_s: float | None = None
    errors: float = 0.0


@dataclass(frozen=True)
class Effect:
    """The smallest value on the canary that a gate detects in the planned time with a probability of 95 %."""

    gate: str
    limit: float
    detectable: float | None


@dataclass(frozen=True)
class Condition:
    """A gate, for a person: when it fails and passes, its minimum of data, and what less than that means."""

    gate: str
    metric: str
    fails: str
    minimum: int
    missing: str


@dataclass(frozen=True)
class ComponentPlan:
    """What an upgrade would do to one component.

    Attributes:
        images: image before and after, of each container that changes; empty: only settings.
        kind: of the change of versions, `rolling` where no version changes.
        reason: why it is not simply rolling.
        path: versions to go through where the change is refused.
        pods: stable pods now.
        stages: canary pods at each stage; empty without a canary.
        shares: of requests to the canary at each stage.
        conditions: the gates of a canary.
        outage: expected for its clients.
        point_of_no_return: the step after which the older image cannot be used; empty: none.
        compared: what is compared instead of traffic, and for how many searches `effects` hold; empty: nothing.
        refusal: why it is not done; empty: it is.
    """

    component: str
    strategy: Strategy
    images: tuple[tuple[str, str], ...]
    kind: HopKind
    pods: int
    stages: tuple[int, ...] = ()
    shares: tuple[float, ...] = ()
    steps: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    effects: tuple[Effect, ...] = ()
    requests_per_s: float | None = None
    reason: str = ""
    path: tuple[str, ...] = ()
    downgrade: bool = False
    outage: str = ""
    point_of_no_return: str = ""
    compared: str = ""
    refusal: str = ""


@dataclass(frozen=True)
class UpgradePlan:
    """What an upgrade would do.

    Attributes:
        components: whose pods change, in the order of the changes.
        others: objects that change and run no pods.
        observe_s: how long canaries are watched in all.
        canary: whether one is used.
        warnings: of the checks.
    """

    components: tuple[ComponentPlan, ...]
    others: tuple[str, ...] = ()
    observe_s: float = 0.0
    canary: bool = False
    warnings: tuple[str, ...] = field(default=())


def override(plan: Plan, image: str) -> str:
    """The assignment of a profile's key that `--image COMPONENT=TAG` stands for.

    Raises:
        UsageError: no such component, or none with a tag.
    """
    name, _, tag = image.partition("=")
    if not tag or name not in plan.components:
        known = ", ".join(sorted(plan.components))
        raise UsageError(f"--image {image} is not COMPONENT=TAG of a component of the release", f"it has: {known}")
    values: Values = plan.values(name)
    if hasattr(values, "image"):
        return f"components.{name}.image.tag={tag}"
    if hasattr(values, "tag"):
        return f"components.{name}.tag={tag}"
    raise UsageError(f"{name} has no image tag of its own", "change the profile instead")


def plan_upgrade(
    changes: Iterable[Changed],
    traffic: Mapping[str, Traffic],
    observe_s: float,
    canary: bool,
    gates: Sequence[Gate] = BUILT_IN,
) -> UpgradePlan:
    """The plan for the changes of a release's objects.

    Args:
        changes: of all objects, before and after.
        traffic: by component.
        observe_s: how long a canary is watched.
        canary: whether one is used; without it pods are replaced in their usual order.
        gates: of canaries.
    """
    found: dict[str, ComponentPlan] = {}
    others = []
    known = {one.name: one for one in all_components()}
    for change in changes:
        if change.before == change.after:
            continue
        name = component_of(change.after or change.before or {})
        if change.identity.kind in WORKLOAD_KINDS and name in known and _changes_pods(change):
            seen = traffic.get(name, Traffic())
            made = _component(known[name], change, seen, (observe_s, canary), gates)
            found[name] = _merged(found.get(name), made)
        elif change.identity.kind in WORKLOAD_KINDS or name not in known:
            others.append(str(change.identity))
    return UpgradePlan(tuple(found.values()), tuple(others), observe_s if canary else 0.0, canary)


def refuse(plan: UpgradePlan) -> None:
    """Stop where a component cannot be upgraded.

    Raises:
        RefusedError: names each with the reason.
    """
    refused = [one for one in plan.components if one.refusal]
    if not refused:
        return
    lines = "\n".join(f"    {one.component}: {one.refusal}" for one in refused)
    if any(one.kind is HopKind.REFUSED for one in refused):
        hint = Hint("see which changes of versions are known: ", Command("upgrade matrix"))
    else:
        hint = Hint("back up its data, then: ", Command("up"), ", which replaces its pods in order")
    raise RefusedError(f"these components cannot be upgraded this way:\n{lines}", hint)


def the_strategy(plan: UpgradePlan) -> Strategy:
    """The strategy of the whole upgrade: that of the component with data, if there is one.

    Raises:
        RefusedError: a component with data changes together with others.
    """
    alone = [one for one in plan.components if one.strategy in ALONE]
    if not alone:
        return Strategy.REPLICAS
    if len(plan.components) > 1:
        names = ", ".join(one.component for one in plan.components)
        first = alone[0].component
        command = Command("upgrade", f"--image {first}=TAG")
        hint = Hint("keep the others in the profile as they are deployed, and upgrade this one first: ", command)
        raise RefusedError(f"{first} keeps data and is upgraded by itself; these would change together: {names}", hint)
    return alone[0].strategy


def canary_stages(pods: int) -> tuple[int, ...]:
    """The number of canary pods at each stage: one, then a quarter and half of the stable pods."""
    return tuple(sorted({max(1, math.ceil(pods * share)) for share in (0.0, *WIDENED)}))


def stage_seconds(stages: int, observe_s: float) -> tuple[float, ...]:
    """How long each stage is watched."""
    if stages == 1:
        return (observe_s,)
    rest = observe_s * (1 - FIRST_STAGE) / (stages - 1)
    return (observe_s * FIRST_STAGE, *[rest] * (stages - 1))


def strategy_of(component: Component, workload: KubernetesObject) -> Strategy:
    """How the component's workload is upgraded."""
    if not component.stateful:
        ours = component.settings is not None and workload["kind"] == "Deployment"
        return Strategy.REPLICAS if ours else Strategy.ROLLING
    if component.settings is not None:
        return Strategy.WRITER
    if component.update_order and labels_of(workload["spec"]["template"]).get(ROLE) in component.update_order:
        return Strategy.ROLES
    return Strategy.SHADOW if component.store and workload["kind"] == "StatefulSet" else Strategy.STORE


def _changes_pods(change: Changed) -> bool:
    before, after = change.before, change.after
    return bool(before and after and before["spec"]["template"] != after["spec"]["template"])


def _images(workload: KubernetesObject) -> dict[str, str]:
    return {one["name"]: str(one.get("image", "")) for one in workload["spec"]["template"]["spec"]["containers"]}


def _component(
    component: Component, change: Changed, traffic: Traffic, wanted: tuple[float, bool], gates: Sequence[Gate]
) -> ComponentPlan:
    assert change.before is not None
    assert change.after is not None
    strategy = strategy_of(component, change.after)
    before, after = _images(change.before), _images(change.after)
    images = tuple((before[name], image) for name, image in after.items() if before.get(name, image) != image)
    verdict = _verdict(component, images)
    (observe_s, canary), pods = wanted, int(change.before["spec"].get("replicas", 1))
    is_watched = canary and strategy is Strategy.REPLICAS
    stages = canary_stages(pods) if is_watched else ()
    shares = tuple(round(count / (pods + count), 4) for count in stages)
    ours = [one for one in gates if is_watched and one.applies_to(component.name)]
    refusal = _refusal(strategy, verdict)
    one_way = verdict.kind is HopKind.ONE_WAY and not refusal
    made = ComponentPlan(
        component=component.name,
        strategy=strategy,
        images=images,
        kind=verdict.kind,
        pods=pods,
        stages=stages,
        shares=shares,
        steps=() if refusal else _steps(stages, stage_seconds(len(stages), observe_s) if stages else ()),
        gates=tuple(gate.name for gate in ours),
        conditions=tuple(_condition(gate) for gate in ours),
        effects=_effects(traffic, shares, observe_s, ours) if is_watched else (),
        requests_per_s=traffic.requests_per_s,
        reason=verdict.reason,
        path=verdict.path,
        downgrade=verdict.downgrade,
        outage="none" if pods > 1 or is_watched else "none expected: the new pod is ready before the old one stops",
        point_of_no_return="promote" if one_way else "",
        refusal=refusal,
    )
    if refusal or strategy not in ALONE:
        return made
    is_entry = labels_of(change.after["spec"]["template"]).get(ROLE) == _ENTRY
    shares = (round(1 / (pods + 1), 4),) if canary and is_entry else ()
    return _of_data(replace(made, shares=shares), canary, one_way)


def _of_data(made: ComponentPlan, canary: bool, one_way: bool) -> ComponentPlan:
    """The plan with what its strategy does instead of replacing stateless pods."""
    found = _data_plan(made, canary, one_way)
    loss = smallest_loss(found.queries, not found.is_sample)
    return replace(
        made,
        steps=found.steps,
        gates=found.gates,
        outage=found.outage,
        compared=found.compared,
        effects=(Effect("overlap", round(1 - OVERLAP_FLOOR, 5), round(loss, 5)),),
        point_of_no_return=found.final if one_way or made.strategy is Strategy.WRITER else "",
    )


def _data_plan(made: ComponentPlan, canary: bool, one_way: bool) -> DataPlan:
    match made.strategy:
        case Strategy.ROLES:
            return roles_plan(canary, one_way, made.downgrade)
        case Strategy.WRITER:
            return writer_plan(canary)
        case _:
            return shadow_plan(canary, one_way)


def _verdict(component: Component, images: Sequence[tuple[str, str]]) -> Verdict:
    """What the matrix says of the change of images; of data, an image whose version is unknown is refused."""
    for before, after in images:
        was, will = version(before), version(after)
        if was and will and was[0] == will[0]:
            return judge_change(component.upgrades, was[1], will[1])
        if component.stateful:
            return Verdict(HopKind.REFUSED, f"the versions of {before} and {after} cannot be compared")
    return Verdict(HopKind.ROLLING)


def _refusal(strategy: Strategy, verdict: Verdict) -> str:
    if verdict.kind is HopKind.REFUSED:
        through = f"; upgrade in steps: {' -> '.join(verdict.path)}" if verdict.path else ""
        return f"no supported change of versions: {verdict.reason}{through}"
    if strategy in MISSING:
        return "its pods have their own volumes, which `upgrade` does not support yet"
    return ""


def _steps(stages: Sequence[int], seconds: Sequence[float]) -> tuple[str, ...]:
    pairs = list(zip(stages, seconds, strict=True))
    watched = [f"{count} canary pod{'s' if count > 1 else ''}, watch for {part:.0f} s" for count, part in pairs]
    first = ["check health, drift and quota", *(["hold the autoscaler"] if stages else [])]
    last = ["delete the canary"] if stages else []
    return (*first, *watched, "promote: apply the new version to the stable pods", *last, "verify by a search")


def _condition(gate: Gate) -> Condition:
    return Condition(gate.name, gate.query or gate.of.title, told(gate), gate.minimum, str(gate.missing))


def _effects(traffic: Traffic, shares: Sequence[float], observe_s: float, gates: Sequence[Gate]) -> tuple[Effect, ...]:
    """What the traffic of the first stage alone reveals; later stages reveal more."""
    rate, blocks = traffic.requests_per_s, int(observe_s / LOOK_S)
    alpha = FALSE_ALARMS / share_of_alarms(gates)
    bases, found = {"errors": traffic.errors, "slow": 0.01}, []
    for gate in (one for one in gates if one.metric in bases):
        name, base = gate.name, bases[gate.metric]
        limit, least = gate.factor * base + gate.limit, None
        if rate:
            canary = rate * LOOK_S * shares[0]
            share = smallest_share(base, limit, (canary, rate * LOOK_S - canary), (blocks, alpha))
            least = round(share, 5) if share <= 1 else None
        found.append(Effect(name, round(limit, 5), least))
    return tuple(found)


def _merged(one: ComponentPlan | None, other: ComponentPlan) -> ComponentPlan:
    """Of two workloads of a component, the one that is refused, else the first, with all pods and the shares of any."""
    if one is None:
        return other
    worst = other if other.refusal and not one.refusal else one
    return replace(worst, pods=one.pods + other.pods, shares=one.shares or other.shares)
