"""Thresholds of a run: how they are read, and when a run keeps to them."""

import msgspec
import pytest

from lightragctl.bench.result import Figure, Generator, LoadReport, Quality, Times
from lightragctl.bench.schedule import Closed
from lightragctl.bench.thresholds import broken, parse
from lightragctl.core.errors import UsageError

TIMES = Times(1000, 20.0, 15.0, 40.0, 60.0, 100.0, 150.0, 200.0, "")
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
    outcomes={"ok": 998, "http": 2},
    statuses={429: 2},
    unanswered=0,
    answered_per_s=100,
    good_per_s=99.8,
    latency=TIMES,
    good=TIMES,
    failed=TIMES,
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
        ("p99<=100ms, errors<0.3%", []),
        ("p99<100ms,errors<0.1%", ["p99<100ms", "errors<0.1%"]),
        ("p99<0.1s,p99.9<0.2s", ["p99<0.1s"]),
        ("mean<20.5ms,p50<16ms,p90<41ms,p95<61ms,max<=200ms", []),
        ("good>99/s,good>=100/s", ["good>=100/s"]),
    ],
)
def test_a_run_keeps_to_them_or_not(text: str, not_kept: list[str]) -> None:
    assert broken(parse(text), REPORT) == not_kept


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
