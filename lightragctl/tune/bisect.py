"""Finds the least value of a knob that reaches a recall, with few measurements: recall rises with the knob. Pure."""

from collections.abc import Mapping, Sequence


def next_value(ladder: Sequence[int], recalls: Mapping[int, float], floor: float, guess: int) -> int | None:
    """The value to measure next; None when the least one that reaches the floor is known, or none does.

    From a guess it gallops in the direction of the border, and bisects once it has the border between two values.

    Args:
        ladder: values, ascending.
        recalls: what was measured, by value; values that are not in the ladder are ignored.
        floor: of the recall.
        guess: where to begin; the nearest value of the ladder is taken.
    """
    failed = max((at for at, value in enumerate(ladder) if recalls.get(value, floor) < floor), default=-1)
    passed = min((at for at, value in enumerate(ladder) if recalls.get(value, -1.0) >= floor), default=len(ladder))
    if passed - failed <= 1:
        return None
    if failed < 0 and passed == len(ladder):
        return min(ladder, key=lambda value: abs(value - guess))
    if passed == len(ladder):
        return ladder[min(failed + _stride(ladder, recalls), len(ladder) - 1)]
    if failed < 0:
        return ladder[max(passed - _stride(ladder, recalls), 0)]
    return ladder[(failed + passed) // 2]


def least_value(ladder: Sequence[int], recalls: Mapping[int, float], floor: float) -> int | None:
    """The least measured value that reaches the floor; None when none does."""
    return next((value for value in ladder if recalls.get(value, -1.0) >= floor), None)


def _stride(ladder: Sequence[int], recalls: Mapping[int, float]) -> int:
    """How far to gallop: 1, 2, 4 after one, two, three measurements."""
    known = sum(value in recalls for value in ladder)
    return int(2 ** max(0, known - 1))
