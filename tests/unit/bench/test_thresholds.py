"""Thresholds of a run: how they are read, and when a run keeps to them."""

import msgspec
import pytest

from lightragctl.bench.histogram import Histogram
from lightragctl.bench.result import Figure, Generator, LoadReport, Quality, Times
from lightragctl.bench.schedule import Closed
from lightragctl.bench.thresholds import broken, parse
from lightragctl.core.errors import UsageError


def times(latencies_ms: list[float]) -> Times:
    histogram = Histogram()
    histogram.record([one / 1000 for one in latencies_ms])
    return Times.of(histogram)


TIMES = times([15.0] * 500 + [40.0] * 400 + [60.0] * 50 + [100.0] * 40 + [150.0] * 9 + [200.0])
REPORT = LoadReport(
    url="http://x",
    kind="retrieve",
    shape=Closed(10),
    connections=1,
    seed=1,
    warm_up_s=0,
    settled=True,
    duration_s=10,
    requests=1000,
    outcomes={"ok": 1000},
    statuses={},
    unanswered=0,
    answered_per_s=100,
    good_per_s=99.8,  # of those in time
    latency=TIMES,
    good=TIMES,
    failed=times([]),
    service=TIMES,
    lateness=TIMES,
    first_token=None,
    generator=Generator(1, 0.1, 1.0, 0.0),
    seconds=(),
)


@pytest.mark.parametrize(
    ("text", "not_kept"),
    [
        ("", []),
        ("p99<=100.1ms, errors<0.3%", []),
        ("p99<100ms,errors<=0%", ["p99<100ms"]),
        ("mean<33ms,p50<16ms,p90<41ms,p95<61ms,max<=200.1ms", []),
        ("good>99/s,good>=100/s", ["good>=100/s"]),
    ],
)
def test_a_run_keeps_to_them_or_not(text: str, not_kept: list[str]) -> None:
    assert broken(parse(text), REPORT) == not_kept


def test_a_request_that_failed_took_endless() -> None:
    """Else a service that refuses quickly looks fast: 1 % may fail before no p99 is kept to, of all only `errors`."""

    def with_failed(failed: int) -> LoadReport:
        good = times([15.0] * (1000 - failed))
        outcomes = {"ok": 1000 - failed, "http": failed}
        return msgspec.structs.replace(
            REPORT, outcomes=outcomes, good=good, failed=times([0.1] * failed), latency=times([0.1] * 1000)
        )

    wanted = parse("mean<100ms,p50<100ms,p99<100ms,max<100ms")
    assert broken(wanted, with_failed(0)) == []
    assert broken(wanted, with_failed(10)) == ["max<100ms"]
    assert broken(wanted, with_failed(11)) == ["p99<100ms", "max<100ms"]
    assert broken(wanted, with_failed(1000)) == [one.text for one in wanted]


def test_a_percentile_of_too_few_requests_keeps_to_nothing() -> None:
    few = msgspec.structs.replace(REPORT, requests=100, outcomes={"ok": 100}, good=times([15.0] * 100))
    assert broken(parse("p99<100ms,p99>1ms,p95<100ms"), few) == ["p99<100ms", "p99>1ms"]
    assert broken(parse("p99.9<100ms"), REPORT) == ["p99.9<100ms"], "2995 would tell it"


def test_a_run_without_requests_has_no_good_ones() -> None:
    nothing = msgspec.structs.replace(REPORT, requests=0, outcomes={})
    assert broken(parse("errors<50%"), nothing) == ["errors<50%"]


@pytest.mark.parametrize("text", ["p99", "p98<1ms", "p99<1%", "errors<5ms", "p99<1.2.3ms", "good>5", "p99=1ms"])
def test_what_is_not_understood_is_told_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"threshold|number") as caught:
        parse(text)
    assert "p99<100ms" in caught.value.hint


def test_figures_of_quality_are_shares_and_none_holds_that_was_not_measured() -> None:
    measured = msgspec.structs.replace(REPORT, quality=Quality(10, recall=Figure(0.95, 0.9, 1.0, 50)))
    assert broken(parse("recall>=0.9,recall>96%,relevant-recall>=0"), measured) == ["recall>96%", "relevant-recall>=0"]
    assert broken(parse("recall>=0"), REPORT) == ["recall>=0"]


@pytest.mark.parametrize("bad", range(0, 1001, 7))
def test_a_share_of_errors_keeps_to_a_limit_that_it_reaches_exactly(bad: int) -> None:
    measured = msgspec.structs.replace(REPORT, outcomes={"ok": 1000 - bad, "http": bad})
    assert not broken(parse(f"errors<={bad / 10:g}%,errors>={bad / 10:g}%"), measured)
    assert broken(parse(f"errors<{bad / 10:g}%"), measured)


def test_a_limit_in_seconds_is_the_one_in_milliseconds() -> None:
    assert [one.wanted for one in parse("p99<1.1s,max<2.3s,mean<0.07s")] == [1100.0, 2300.0, 70.0]
