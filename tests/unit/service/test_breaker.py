"""When a backend is spared, for how long, and how it comes back."""

import pytest

from lightragctl.core.settings import CircuitBreaking
from lightragctl.service.breaker import BreakerOpenError, BreakerState, CallOutcome, CircuitBreaker, RetryBudget

SETTINGS = CircuitBreaking(window_s=10, calls=10, failure_ratio=0.5, slow_s=1, slow_ratio=0.8, open_s=2, probes=2)
GOOD, BAD, SLOW = CallOutcome(0.01, False), CallOutcome(0.01, True), CallOutcome(1.5, False)


class Subject:
    """A breaker with a clock of its own."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.breaker = CircuitBreaker("Milvus", SETTINGS, lambda: self.now_s)

    def calls(self, *outcomes: CallOutcome) -> None:
        for outcome in outcomes:
            self.breaker.record(outcome, self.breaker.admit())

    def opened(self) -> "Subject":
        self.calls(*[BAD] * 10)
        return self


@pytest.fixture
def subject() -> Subject:
    return Subject()


def test_few_failures_prove_nothing(subject: Subject) -> None:
    subject.calls(*[BAD] * 9)
    assert subject.breaker.state is BreakerState.CLOSED


def test_half_of_the_calls_failing_opens_it_and_says_so(subject: Subject) -> None:
    subject.calls(*[GOOD, BAD] * 5)
    with pytest.raises(BreakerOpenError, match="Milvus: 5 of its last 10 calls failed") as caught:
        subject.breaker.admit()
    assert caught.value.retry_after_s == 2


def test_slow_calls_open_it_too(subject: Subject) -> None:
    subject.calls(*[SLOW] * 8, *[GOOD] * 2)
    assert subject.breaker.reason == "8 of its last 10 calls took 1 s or more"


def test_what_is_older_than_the_window_is_forgotten(subject: Subject) -> None:
    subject.calls(*[BAD] * 9)
    subject.now_s += 11
    subject.calls(*[GOOD] * 9, BAD)
    assert subject.breaker.state is BreakerState.CLOSED


def test_after_a_pause_a_few_probes_pass_and_close_it(subject: Subject) -> None:
    breaker = subject.opened().breaker
    subject.now_s += 2
    assert breaker.state is BreakerState.HALF_OPEN
    probes = [breaker.admit(), breaker.admit()]
    assert [one.probe for one in probes] == [True, True]
    with pytest.raises(BreakerOpenError):
        breaker.admit()
    for probe in probes:
        breaker.record(GOOD, probe)
    assert breaker.state is BreakerState.CLOSED
    subject.calls(*[BAD] * 9)
    assert breaker.state is BreakerState.CLOSED, "what was before it opened counts no more"


def test_a_failed_probe_makes_the_pause_twice_as_long_up_to_a_limit(subject: Subject) -> None:
    breaker = subject.opened().breaker
    for pause_s in (2, 4, 8, 16, 16):
        assert breaker.retry_after_s == pause_s
        subject.now_s += pause_s
        subject.calls(BAD)
    subject.now_s += 16
    subject.calls(GOOD, GOOD)
    subject.opened()
    assert breaker.retry_after_s == 2


def test_a_probe_that_nobody_waited_for_lets_another_pass(subject: Subject) -> None:
    breaker = subject.opened().breaker
    subject.now_s += 2
    probes = [breaker.admit(), breaker.admit()]
    breaker.abandon(probes[0])
    assert breaker.admit().probe


def test_what_the_backend_asks_for_goes_before_our_own_times(subject: Subject) -> None:
    subject.calls(CallOutcome(0.01, True, retry_after_s=30))
    assert subject.breaker.retry_after_s == 30


def test_calls_that_were_under_way_when_it_opened_do_not_count(subject: Subject) -> None:
    late = [subject.breaker.admit() for _ in range(3)]
    subject.opened()
    subject.now_s += 1
    for probe in late:
        subject.breaker.record(BAD, probe)
    assert subject.breaker.retry_after_s == 1


def test_one_call_in_ten_may_be_repeated_for_long() -> None:
    budget = RetryBudget(0.1)
    granted = 0
    for _ in range(1000):
        budget.earn()
        granted += budget.spend()
    assert 100 <= granted <= 111
    assert not RetryBudget(0.0).spend()


def test_probes_from_before_it_opened_again_decide_nothing(subject: Subject) -> None:
    breaker = subject.opened().breaker
    subject.now_s += 2
    breaker.abandon(breaker.admit())
    late, failed = breaker.admit(), breaker.admit()
    breaker.record(BAD, failed)
    subject.now_s += breaker.retry_after_s
    breaker.record(GOOD, late)
    breaker.abandon(late)
    probes = [breaker.admit(), breaker.admit()]
    with pytest.raises(BreakerOpenError):
        breaker.admit()
    breaker.record(GOOD, probes[0])
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.record(GOOD, probes[1])
    assert breaker.state is BreakerState.CLOSED
