"""The panel of a load: what a terminal shows, at its width, with and without colour."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from lightragctl.bench.plan import LoadPlan, WarmUp
from lightragctl.bench.result import LiveSample
from lightragctl.bench.schedule import Closed
from lightragctl.bench.targets import Target
from lightragctl.bench.worker_protocol import LoadPhase
from lightragctl.cli.bench.live_panel import REMEMBERED, LoadPanel, sparkline
from lightragctl.core.result import Event
from lightragctl.release.benchmark import BenchmarkEvent

PLAN = LoadPlan(Target("http://127.0.0.1:8080"), ["a"], Closed(20.0), warm_up=WarmUp(10.0))


def event(
    phase: LoadPhase = LoadPhase.MEASURE, elapsed_s: float = 12.5, rate: float = 1234.0, ok: int = 100
) -> BenchmarkEvent:
    sample = LiveSample(phase, elapsed_s, rate, 1.25, 9.0, under_way=16, waiting=3, answered=100, ok=ok)
    return BenchmarkEvent("as a line", passing=True, live=sample, plan=PLAN)


def shown(*events: Event, width: int = 80, no_color: bool = True) -> str:
    """What stands on a terminal after these events."""
    panel = LoadPanel()
    pictures = [panel.picture(one) for one in events]
    console = Console(file=io.StringIO(), force_terminal=True, width=width, no_color=no_color, color_system="standard")
    with console.capture() as capture:
        console.print(pictures[-1])
    return capture.get() if not no_color else re.sub(r"\x1b\[[0-9;]*m", "", capture.get())


def test_it_tells_the_phase_the_rate_the_latency_and_what_is_open() -> None:
    text = shown(event())
    for told in ("retrieve at http://127.0.0.1:8080", "measure", "8 s left", "1,234", "p50 1.2 ms, p99 9.0 ms"):
        assert told in text
    assert "100 answered, 0 failed" in text
    assert "16 in flight, 3 queued" in text


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (event(LoadPhase.WARM_UP, 2.0), "8 s left at most"),
        (event(elapsed_s=21.0), "waiting for the last answers"),
        (event(rate=0.0), "no answer in this half second"),
        (event(ok=98), "2 failed"),
        (Event("connecting", passing=True), "connecting"),
    ],
)
def test_it_says_what_is_unusual(one: Event, told: str) -> None:
    assert told in shown(one)


def test_a_run_of_several_has_no_time_left() -> None:
    text = shown(replace(event(), plan=None))
    assert "12 s" in text
    assert "left" not in text


def test_a_failure_is_red() -> None:
    assert "\x1b[31m2 failed" in shown(event(ok=98), no_color=False)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_it_never_takes_more_lines_than_it_has(width: int) -> None:
    lines = shown(*(event() for _ in range(100)), width=width).splitlines()
    assert (len(lines), lines[-1]) == (8, "")
    assert all(
        name in lines[row] for row, name in enumerate(("retrieve", "measure", "answers/s", "", "latency", "requests"))
    )


def test_a_narrow_terminal_shows_the_newest_rates() -> None:
    text = shown(*(event(rate=float(number)) for number in range(REMEMBERED)), width=40)
    (rates,) = [line for line in text.splitlines() if "▁" in line or "▅" in line]
    assert rates.rstrip().endswith("█")


def test_it_remembers_the_last_half_seconds() -> None:
    text = shown(*(event(rate=float(number)) for number in range(200)))
    assert sum(text.count(level) for level in "▁▂▃▄▅▆▇█") == REMEMBERED


@pytest.mark.parametrize(
    ("values", "line"), [([], ""), ([0, 0], "▁▁"), ([0, 50, 100], "▁▅█"), ([100, 0, 100], "█▁█"), ([7], "█")]
)
def test_a_sparkline_is_as_high_as_its_greatest_value(values: list[float], line: str) -> None:
    assert sparkline(values) == line
