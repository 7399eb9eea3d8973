"""What the life-cycle rules of a profile ask for, from the state of indexes and what was observed of them. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from lightragctl.core.lifecycle import IndexLifecycle
from lightragctl.index.roles import Owner
from lightragctl.index.state import IndexState

_DAY_S, _HOUR_S = 86_400.0, 3600.0


class ActionKind(StrEnum):
    """What is done to a collection."""

    COMPACT = "compact"
    REBUILD = "rebuild"
    RELEASE = "release"
    MMAP = "mmap"
    ARCHIVE = "archive"
    DROP = "drop"


@dataclass(frozen=True)
class Action:
    """One action: the collection and its workspace, what is done, by which rule of the profile, and why."""

    collection: str
    workspace: str
    kind: ActionKind
    rule: str
    reason: str


class Observation(msgspec.Struct, frozen=True):
    """What is known of a collection over time; times in unix seconds.

    Attributes:
        seen_at: when it was first seen.
        rows: at that time, or when its index was rebuilt.
        queried_at: when it was last known to be searched, or may have been.
        counts: by replica of lightrag-api: when its process started, and its searches of the collection.
    """

    seen_at: float
    rows: int
    queried_at: float
    counts: dict[str, tuple[float, float]] = {}


Counts = Mapping[str, tuple[float, Mapping[str, float]]]
"""By replica: when its process started (unix seconds), and its searches by collection."""


def observed(
    before: Mapping[str, Observation], states: Sequence[IndexState], counts: Counts, now_s: float
) -> dict[str, Observation]:
    """The observations with what is seen now; collections that are gone are forgotten.

    A replica that started or ended since may have served searches that no one counted: then the collection counts as
    searched now, so that a cold one is found later, and never too early.
    """
    found = {}
    for one in states:
        now = {replica: (started, searches.get(one.name, 0.0)) for replica, (started, searches) in counts.items()}
        known = before.get(one.name)
        if known is None:
            found[one.name] = Observation(now_s, one.rows or 0, now_s, now)
            continue
        same = now.keys() == known.counts.keys() and all(now[key] == known.counts[key] for key in now)
        queried_at = known.queried_at if same and now else now_s
        found[one.name] = Observation(known.seen_at, known.rows, queried_at, now)
    return found


@dataclass(frozen=True)
class Surroundings:
    """What else decides.

    Attributes:
        has_upstream: the release runs lightrag-server, whose searches are not counted anywhere.
        is_lite: the store is Milvus Lite.
        open_tokens: of operations that are open.
        kept: collections that closed operations keep, until their date.
    """

    has_upstream: bool
    is_lite: bool
    open_tokens: Collection[str]
    kept: Collection[str]


@dataclass(frozen=True)
class LifecyclePlan:
    """The actions, in the order in which they are done, and why a rule does not apply, one sentence each."""

    actions: tuple[Action, ...]
    notes: tuple[str, ...]


def plan(
    states: Sequence[IndexState],
    known: Mapping[str, Observation],
    rules: IndexLifecycle,
    around: Surroundings,
    now_s: float,
) -> LifecyclePlan:
    """What the rules ask for now."""
    actions = [
        *_leftovers(states, known, rules, around, now_s),
        *_compactions(states, rules),
        *_rebuilds(states, known, rules),
        *_cold(states, known, rules, around, now_s),
    ]
    return LifecyclePlan(tuple(actions), tuple(_notes(states, rules, around)))


def _leftovers(
    states: Sequence[IndexState],
    known: Mapping[str, Observation],
    rules: IndexLifecycle,
    around: Surroundings,
    now_s: float,
) -> Iterator[Action]:
    if rules.drop_leftovers_hours is None:
        return
    for one in states:
        is_used = one.role.token in around.open_tokens or one.name in around.kept
        if one.role.owner is not Owner.OPERATION or is_used or one.name not in known:
            continue
        hours = (now_s - known[one.name].seen_at) / _HOUR_S
        if hours >= rules.drop_leftovers_hours:
            reason = f"no open operation uses it and none keeps it; seen for {hours:.0f} h"
            yield Action(one.name, "", ActionKind.DROP, "drop_leftovers_hours", reason)


def _compactions(states: Sequence[IndexState], rules: IndexLifecycle) -> Iterator[Action]:
    for one in states if rules.compact_small_segments is not None else ():
        small = one.small_segments or 0
        if one.role.workspace and rules.compact_small_segments and small >= rules.compact_small_segments:
            reason = f"{small} of {one.segments} segments are small"
            yield Action(one.name, one.role.workspace, ActionKind.COMPACT, "compact_small_segments", reason)


def _rebuilds(
    states: Sequence[IndexState], known: Mapping[str, Observation], rules: IndexLifecycle
) -> Iterator[Action]:
    """A FLAT index is the rows themselves, and does not age."""
    for one in states if rules.rebuild_growth_percent is not None else ():
        before = known[one.name].rows if one.name in known else 0
        if not one.role.live or one.role.kind == "control" or one.index_type in ("", "FLAT") or not before:
            continue
        growth = 100 * ((one.rows or 0) - before) / before
        if rules.rebuild_growth_percent is not None and growth >= rules.rebuild_growth_percent:
            reason = f"{one.rows} rows, {growth:.0f} % more than the {before} when it was built or first seen"
            yield Action(one.name, one.role.workspace, ActionKind.REBUILD, "rebuild_growth_percent", reason)


def _cold(
    states: Sequence[IndexState],
    known: Mapping[str, Observation],
    rules: IndexLifecycle,
    around: Surroundings,
    now_s: float,
) -> Iterator[Action]:
    """Workspaces that lightrag-api has not searched; those that lightrag-server may search are not cold."""
    if rules.cold_days is None:
        return
    for workspace in sorted({one.role.workspace for one in states if one.role.workspace}):
        mine = [one for one in states if one.role.workspace == workspace and one.role.kind != "control"]
        if not mine or (around.has_upstream and any(one.role.owner is Owner.UPSTREAM for one in mine)):
            continue
        times = [known[one.name].queried_at for one in mine if one.name in known]
        days = (now_s - max(times)) / _DAY_S if len(times) == len(mine) else 0.0
        if days < rules.cold_days:
            continue
        kind = ActionKind(rules.cold_action)
        for one in mine:
            is_done = one.mmap if kind is ActionKind.MMAP else not one.loaded
            if not is_done and not (kind is ActionKind.MMAP and around.is_lite):
                yield Action(one.name, workspace, kind, "cold_days", f"not searched for {days:.1f} days")


def _notes(states: Sequence[IndexState], rules: IndexLifecycle, around: Surroundings) -> Iterator[str]:
    if rules.is_off:
        yield "the profile has no rules: set lifecycle.compact_small_segments, cold_days or others"
    if rules.compact_small_segments is not None and around.is_lite:
        yield "compact_small_segments: Milvus Lite reports no segments and merges its files by itself"
    if rules.cold_days is None:
        return
    if rules.cold_action == "mmap" and around.is_lite:
        yield "cold_days: Milvus Lite has no memory mapping"
    upstream = sorted({one.role.workspace for one in states if one.role.owner is Owner.UPSTREAM})
    if around.has_upstream and upstream:
        names = ", ".join(upstream)
        yield f"cold_days: lightrag-server does not report its searches, so that {names} never counts as cold"
