"""Versions of images and which of them may follow which: the compatibility matrix as data. Pure.

A component lists its hops: ranges of versions between which a change of the image is known. What no hop covers is
refused, with the shortest sequence of known hops where there is one.
"""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

Version = tuple[int, int, int]

_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:[-+.].*)?")


class HopKind(StrEnum):
    """How a change from one version to another can be undone."""

    ROLLING = "rolling"
    """By the older image: the format of the data is the same."""
    ONE_WAY = "one-way"
    """Only by restoring a backup: the older version may not read what the newer one has written."""
    REFUSED = "refused"
    """It is not made."""


@dataclass(frozen=True)
class Range:
    """Versions from `low` on and below `high`."""

    low: Version
    high: Version

    def __contains__(self, version: object) -> bool:
        return isinstance(version, tuple) and self.low <= version < self.high

    def __str__(self) -> str:
        whole_minor = self.low[2] == 0 and self.high == (self.low[0], self.low[1] + 1, 0)
        return f"{self.low[0]}.{self.low[1]}.x" if whole_minor else f">={shown(self.low)} <{shown(self.high)}"


@dataclass(frozen=True)
class Hop:
    """A known change of versions.

    Attributes:
        before: the versions that it starts from.
        after: the versions that it leads to.
        kind: how it can be undone.
        note: what to know about it; empty when there is nothing.
        source: where that is known from.
        tested: whether our tests make it.
    """

    before: Range
    after: Range
    kind: HopKind
    source: str
    note: str = ""
    tested: bool = False


@dataclass(frozen=True)
class Verdict:
    """What the matrix says of one change.

    Attributes:
        kind: how it can be undone, or that it is refused.
        reason: why it is not simply a rolling change; empty when it is.
        path: when it is refused, versions to go through in order, the last one the wanted version; empty: none known.
        downgrade: whether it leads to an older version.
    """

    kind: HopKind
    reason: str = ""
    path: tuple[str, ...] = ()
    downgrade: bool = False


def minor(major: int, number: int, patch: int = 0) -> Range:
    """The versions of one minor, from a patch on."""
    return Range((major, number, patch), (major, number + 1, 0))


def version_of(tag: str) -> Version | None:
    """The version that an image's tag stands for; None when it stands for none."""
    found = _VERSION.fullmatch(tag)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def shown(version: Version) -> str:
    """The version as text, without a leading v."""
    return ".".join(map(str, version))


def judge_change(hops: Sequence[Hop], before: Version, after: Version) -> Verdict:
    """What changing the image of a component means.

    Args:
        hops: of the component, each to a later version; none: it keeps no data, every change is a rolling one.
        before: the version that runs.
        after: the desired version.
    """
    downgrade = after < before
    if not hops or before[:2] == after[:2]:
        return Verdict(HopKind.ROLLING, downgrade=downgrade)
    if downgrade:
        reason = "the older version may not read what the newer one has written"
        return Verdict(HopKind.REFUSED, reason, (), downgrade)
    if hop := next((one for one in hops if before in one.before and after in one.after), None):
        return Verdict(hop.kind, hop.note)
    path = tuple(_path(hops, before, after))
    reason = "there are versions to go through first" if path else "no known upgrade leads there"
    return Verdict(HopKind.REFUSED, reason, path)


def _path(hops: Sequence[Hop], before: Version, after: Version) -> Iterator[str]:
    """The fewest versions to go through, each the lowest that the next hop starts from; breadth first."""
    usable = [hop for hop in hops if hop.kind is not HopKind.REFUSED]
    queue: deque[tuple[Version, tuple[Version, ...]]] = deque([(before, ())])
    visited = {before}
    while queue:
        here, so_far = queue.popleft()
        for following in _next_versions(usable, here, after):
            if following == after:
                yield from map(shown, (*so_far, after))
                return
            if following not in visited:
                visited.add(following)
                queue.append((following, (*so_far, following)))


def _next_versions(hops: Sequence[Hop], here: Version, goal: Version) -> Iterator[Version]:
    """Versions that one hop reaches: the goal, and where other hops start."""
    starts = {hop.before.low for hop in hops if here < hop.before.low <= goal}
    for target in (goal, *sorted(starts)):
        same_minor = target[:2] == here[:2] and target > here
        if same_minor or any(here in hop.before and target in hop.after for hop in hops):
            yield target
