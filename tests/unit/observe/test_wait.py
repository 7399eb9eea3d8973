"""When waiting is pointless."""

import math

from lightragctl.observe.causes import Cause
from lightragctl.observe.wait import WaitState, lasting_cause


def cause(code: str = "image-pull", grace_s: float = 10.0) -> Cause:
    return Cause(code, "Pod/a", "cannot pull", "check the image", grace_s)


def test_a_cause_must_last_its_grace() -> None:
    watched = WaitState(0.0)
    assert lasting_cause(watched, [cause()], 100.0) is None
    assert lasting_cause(watched, [cause()], 109.9) is None
    assert lasting_cause(watched, [cause()], 110.0) == cause()


def test_a_cause_that_went_away_starts_anew() -> None:
    watched = WaitState(0.0)
    lasting_cause(watched, [cause()], 100.0)
    lasting_cause(watched, [], 105.0)
    assert lasting_cause(watched, [cause()], 111.0) is None


def test_a_cause_without_grace_ends_the_wait_at_once() -> None:
    assert lasting_cause(WaitState(0.0), [cause(grace_s=0.0)], 5.0) is not None


def test_a_cause_that_only_explains_never_ends_the_wait() -> None:
    watched = WaitState(0.0)
    lasting_cause(watched, [cause(grace_s=math.inf)], 0.0)
    assert lasting_cause(watched, [cause(grace_s=math.inf)], 1e6) is None
    assert watched.reason == "cannot pull"
