"""The worker as the program that it is: plan in, messages out, a clean end whatever ends it."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from lightragctl.bench.histogram import Histogram
from lightragctl.bench.plan import LoadPlan, WarmUp, worker_plans
from lightragctl.bench.schedule import Closed, Constant, Shape
from lightragctl.bench.targets import RequestOutcome, Target
from lightragctl.bench.worker_protocol import (
    BeginPhase,
    FromWorker,
    LoadPhase,
    TimeSlice,
    WorkerDone,
    WorkerFailed,
    WorkerReady,
    line,
)
from tests.fakes.load_server import LoadServer, Manner

DECODER = msgspec.json.Decoder(FromWorker)
END_S = 10


@contextmanager
def worker(url: str, shape: Shape) -> "Iterator[subprocess.Popen[bytes]]":
    """A worker that has its plan."""
    (plan,) = worker_plans(LoadPlan(Target(url), ["a", "b"], shape, connections=4, warm_up=WarmUp(0), spin=False))
    command = [sys.executable, "-m", "lightragctl.bench.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        try:
            assert child.stdin is not None
            child.stdin.write(line(plan))
            child.stdin.flush()
            yield child
        finally:
            child.kill()


def begun(child: "subprocess.Popen[bytes]") -> WorkerReady:
    """Its first message; it then measures."""
    assert child.stdin is not None
    assert child.stdout is not None
    ready = DECODER.decode(child.stdout.readline())
    assert isinstance(ready, WorkerReady)
    child.stdin.write(line(BeginPhase(LoadPhase.MEASURE, time.monotonic() + 0.01)))
    child.stdin.flush()
    return ready


def rest(child: "subprocess.Popen[bytes]") -> Sequence[FromWorker]:
    """What it says until it ends; it ends well and complains of nothing."""
    assert child.stdout is not None
    assert child.stderr is not None
    messages = [DECODER.decode(text) for text in child.stdout]
    assert (child.wait(END_S), child.stderr.read()) == (0, b"")
    return messages


def good(messages: Sequence[FromWorker]) -> int:
    slices = [one for one in messages if isinstance(one, TimeSlice)]
    counted = sum(one.outcomes.get(RequestOutcome.OK, 0) for one in slices)
    assert counted == sum(Histogram.decode(one.good).count for one in slices)
    return counted


def test_it_measures_what_the_plan_says_and_ends() -> None:
    with LoadServer() as server, worker(server.url, Constant(200, 0.7)) as child:
        assert begun(child).connections == 4
        messages = rest(child)
    assert good(messages) == server.requests == 140
    assert messages[-1] == WorkerDone(stopped=False, unanswered=0, asked={LoadPhase.MEASURE: 140})
    assert [one.number for one in messages if isinstance(one, TimeSlice)] == [0, 1]


def test_sigterm_ends_it_with_what_was_measured_so_far() -> None:
    with LoadServer() as server, worker(server.url, Closed(60)) as child:
        begun(child)
        time.sleep(0.8)
        server.behave(Manner(hang=True))
        time.sleep(0.1)
        child.send_signal(signal.SIGTERM)
        messages = rest(child)
    assert messages[-1] == WorkerDone(stopped=True, unanswered=4, asked={LoadPhase.MEASURE: server.requests})
    assert good(messages) == server.requests - 4 > 20


def test_sigint_before_the_measurement_ends_it_too() -> None:
    with LoadServer() as server, worker(server.url, Closed(60)) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGINT)
        assert rest(child) == [WorkerDone(stopped=True, unanswered=0)]


def test_it_does_not_outlive_its_parent() -> None:
    with LoadServer() as server, worker(server.url, Constant(50, 60)) as child:
        begun(child)
        time.sleep(0.3)
        assert child.stdin is not None
        child.stdin.close()
        messages = rest(child)
    last = messages[-1]
    assert isinstance(last, WorkerDone)
    assert last.stopped
    assert 0 < good(messages) <= server.requests <= good(messages) + last.unanswered


def test_it_says_when_nothing_answers() -> None:
    with LoadServer() as server:
        url = server.url
    with worker(url, Closed(1)) as child:
        (failed,) = rest(child)
    assert isinstance(failed, WorkerFailed)
    assert failed.message.startswith(f"nothing answers at {url.removeprefix('http://')}: ")
    assert "refused" in failed.message.lower()
