"""Folds findings into root causes: a finding that another one explains is listed below it. Pure.

A finding explains another one when its check names the other's code in `explains`, or when its check `stops` a
component that the other one's component needs. On the same component, a possible reason of a stop is no consequence.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace

from lightragctl.core.findings import Severity
from lightragctl.core.hint import Hint
from lightragctl.diagnose.check import Category, Check, Found

Needs = Callable[[str], Set[str]]
"""All components that a component needs."""


def fold(found: Sequence[Found], checks: Mapping[str, Check], needs: Needs) -> list[Found]:
    """The root causes, errors first, with their consequences; of equal ones those that explain most come first."""
    parents: dict[int, int] = {}
    for at, one in enumerate(found):
        for other in range(len(found)):
            if other == at or not _explains(found[other], one, checks, needs):
                continue
            if not _is_below(other, at, parents):
                parents[at] = other
                break
    roots: dict[int, list[int]] = {at: [] for at in range(len(found)) if at not in parents}
    for at in parents:
        roots[_root(at, parents)].append(at)
    folded = [_told(found[at], [found[one] for one in below], checks) for at, below in roots.items()]
    return sorted(folded, key=_rank)


def _told(root: Found, below: Sequence[Found], checks: Mapping[str, Check]) -> Found:
    """The root with its consequences; one that only says how it came about is evidence of what it caused."""
    if not checks[root.code].is_reason or not below:
        return replace(root, consequences=tuple(below))
    main = min(below, key=lambda one: (one.severity is not Severity.ERROR, one.component != root.component))
    evidence = (*main.evidence, f"{root.code} {root.subject}: {root.message}", *root.evidence)
    hint = Hint(root.hint, "; otherwise: ", main.hint)
    return replace(main, evidence=evidence, hint=hint, consequences=tuple(one for one in below if one is not main))


def _explains(cause: Found, found: Found, checks: Mapping[str, Check], needs: Needs) -> bool:
    check = checks[cause.code]
    if found.code in check.explains and (not check.explains_own or found.component == cause.component):
        return _is_concerned(cause, found, checks, needs)
    if not check.stops or cause.serves or not cause.component or not checks[found.code].may_follow:
        return False
    if cause.component == found.component and _is_call(cause, found, checks):
        return False
    if cause.component == found.component:
        return not any(checks[code].stops for code in checks[found.code].explains if code in checks)
    return cause.component in needs(found.component)


def _is_concerned(cause: Found, found: Found, checks: Mapping[str, Check], needs: Needs) -> bool:
    """Whether pods of one component may be as they are because of another one's fault: only if they need it."""
    if checks[found.code].category is not Category.DEPLOYMENT or not cause.component or not found.component:
        return True
    return cause.component == found.component or cause.component in needs(found.component)


def _is_call(cause: Found, found: Found, checks: Mapping[str, Check]) -> bool:
    """Whether `cause` is a call of ours that failed, and `found` the state of what should have answered it.

    A model elsewhere is called by model-gateway, whose pods may wait for it.
    """
    of_pods = checks[found.code].category in (Category.DEPLOYMENT, Category.CLUSTER)
    category = checks[cause.code].category
    elsewhere = category is Category.MODELS and cause.component == "model-gateway"
    return of_pods and category in (Category.MODELS, Category.RETRIEVAL) and not elsewhere


def _is_below(other: int, at: int, parents: Mapping[int, int]) -> bool:
    """Whether `other` already follows from `at`."""
    while other in parents:
        other = parents[other]
        if other == at:
            return True
    return False


def _root(at: int, parents: Mapping[int, int]) -> int:
    while at in parents:
        at = parents[at]
    return at


def _rank(found: Found) -> tuple[bool, int, str, str]:
    return found.worst is not Severity.ERROR, -len(found.consequences), found.code, found.subject
