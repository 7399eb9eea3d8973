"""Runs one after the other, against servers of which the truth is known."""

import signal
import subprocess
import sys

import pytest

from lightragctl.bench.compare import Finding
from lightragctl.bench.plan import LoadPlan
from lightragctl.bench.schedule import Closed
from lightragctl.bench.series import Search, Watch, compare_two, find_saturation
from lightragctl.bench.targets import Target
from lightragctl.bench.thresholds import parse
from tests.fakes.load_server import LoadServer, Manner

pytestmark = pytest.mark.slow
SILENT = Watch(lambda _: None, lambda _: None)


def plan(url: str, seconds: float = 1.0, connections: int = 4) -> LoadPlan:
    return LoadPlan(Target(url), ["a", "b"], Closed(seconds), connections, spin=False)


def test_the_highest_rate_of_a_server_of_known_capacity_is_found() -> None:
    """Wide bounds: a machine that others use stutters, and each stutter of 0.1 s breaks a p99 of two seconds."""
    told: list[str] = []
    with LoadServer(Manner(capacity_per_s=500)) as server:
        watch = Watch(lambda _: None, told.append)
        found = find_saturation(plan(server.url, connections=256), Search(parse("p99<200ms"), 2.0), watch)
    assert found.holds_qps is not None, told
    assert found.fails_qps is not None
    assert 300 <= found.holds_qps <= 525
    assert found.fails_qps <= 650
    assert told[1].startswith("step 1: ")
    assert any("held" in words for words in told)


def test_a_slower_service_is_told_from_a_faster_one() -> None:
    with LoadServer(Manner(delay_s=0.02)) as a, LoadServer(Manner(delay_s=0.05)) as b:
        report = compare_two(plan(a.url), plan(b.url), 6, 0.05, SILENT)
    assert [one.first for one in report.rounds] == list("ABABAB")
    assert report.figure("p50").finding is Finding.WORSE
    assert report.figure("good").finding is Finding.WORSE
    assert report.figure("p50").ratio == pytest.approx(2.5, rel=0.3)


def test_ctrl_c_ends_the_search_with_what_there_is() -> None:
    with LoadServer(Manner(delay_s=0.01)) as server:
        words = ["bench", "saturate", "--url", server.url, "--from", "50", "--step", "4"]
        with subprocess.Popen(
            [sys.executable, "-m", "lightragctl", *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stderr is not None
            for line in child.stderr:
                if line.startswith("step 2"):
                    break
            for line in child.stderr:
                if line.startswith("measure"):
                    break
            child.send_signal(signal.SIGINT)
            out, told = child.communicate(timeout=60)
    assert child.returncode == 4
    assert "interrupted" in told
    assert "held" in out
