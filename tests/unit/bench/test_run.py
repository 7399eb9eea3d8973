"""Whole runs against a server on loopback: what a user would notice, right or wrong."""

import gzip
import signal
import ssl
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from lightragctl.bench.annotated_run import AnnotatedRun
from lightragctl.bench.histogram import Histogram
from lightragctl.bench.plan import LoadPlan, WarmUp
from lightragctl.bench.report.saved import encoded
from lightragctl.bench.result import LiveSample, LoadReport
from lightragctl.bench.run import OnSample, run
from lightragctl.bench.schedule import Closed, Constant, Poisson, Shape
from lightragctl.bench.targets import KINDS, Target, hits
from lightragctl.bench.worker_protocol import KeepLimits, LoadPhase
from lightragctl.core.errors import LightragctlError, UnavailableError
from tests.fakes.load_server import GOOD, STREAM, LoadServer, Manner

QUESTIONS = [f"question {n}" for n in range(20)]


def ignored(_: LiveSample) -> None:
    pass


def measured(
    url: str, shape: Shape, *, progress: OnSample = ignored, kind: str = "retrieve", **options: Any
) -> LoadReport:
    """A run without warm-up, gentle to a machine that others use too."""
    whole: dict[str, Any] = {"connections": 8, "warm_up": WarmUp(0), "spin": False, **options}
    return run(LoadPlan(Target(url, kind), QUESTIONS, shape, **whole), progress)


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Any:
    before = set(psutil.Process().children())
    yield
    assert set(psutil.Process().children()) <= before


def test_a_stall_is_charged_to_every_request_that_fell_into_it() -> None:
    """Of 2500 requests 500 fall into the second of the stall; the 25 that waited longest waited 0.95 s and more."""
    rate_qps, duration_s, stall_s = 500, 5.0, 1.0
    with LoadServer(Manner(stall=(2.0, stall_s))) as server:
        report = measured(server.url, Constant(rate_qps, duration_s))
    assert report.outcomes == {"ok": 2500}
    assert server.requests == 2500, "nothing is dropped"
    analytic_ms = 1000 * (stall_s - 0.01 * duration_s)
    assert report.latency.p99_ms == pytest.approx(analytic_ms, rel=0.05)
    assert 950 * stall_s <= report.latency.max_ms < 1500 * stall_s
    stalled = 1 - 0.01 * next(p for p in range(1, 100) if _percentile(report, p) > 300)
    assert stalled == pytest.approx((stall_s - 0.3) / duration_s, abs=0.02), "those of the last 300 ms waited less"
    assert report.service.p99_ms < 100, "without the wait for a connection it would look harmless"
    assert max(second.waiting for second in report.seconds) > 300


def _percentile(report: LoadReport, percent: float) -> float:
    return Histogram.decode(report.latency.histogram).percentile_ms(percent)


@pytest.mark.parametrize(
    ("manner", "outcome", "statuses"),
    [
        (Manner(status=503), "http", {503: 100}),
        (Manner(body=b"<html>a proxy's page</html>"), "bad-body", {}),
        (Manner(cut=True), "connection", {}),
        (Manner(framing="chunked", cut=True), "connection", {}),
    ],
)
def test_errors_are_told_apart_and_counted(manner: Manner, outcome: str, statuses: dict[int, int]) -> None:
    with LoadServer(manner) as server:
        report = measured(server.url, Constant(500, 0.2))
    assert report.outcomes == {outcome: 100}
    assert report.statuses == statuses
    assert [(one.outcome, one.start) for one in report.bad_answers] == (
        [] if outcome == "connection" else [(outcome, manner.body.decode()[:300] + ("…" if statuses else ""))]
    )
    assert (report.good.count, report.failed.count, report.good_per_s) == (0, 100, 0.0)
    assert report.bodies == {}


def test_a_timeout_counts_with_all_that_it_took() -> None:
    with LoadServer(Manner(hang=True)) as server:
        report = measured(server.url, Constant(100, 0.5), timeout_s=0.4, connections=100)
    assert report.outcomes == {"timeout": 50}
    assert 400 <= report.failed.p50_ms < 1000
    assert server.connections >= 50, "a connection that timed out is not used again"


def test_what_is_not_answered_until_the_end_of_the_drain_is_a_timeout_too() -> None:
    with LoadServer(Manner(hang=True)) as server:
        report = measured(server.url, Constant(100, 0.5), drain_s=0.3)
    assert report.outcomes == {"timeout": 50}
    assert server.requests == 8, "the others waited for a connection"
    assert 790 <= report.latency.max_ms < 1800, "what was due first: half a second of sending, and the drain"
    assert 540 <= report.latency.p50_ms < 1500


def test_requests_wait_for_a_connection_and_are_charged_for_it() -> None:
    with LoadServer(Manner(delay_s=0.02)) as server:
        report = measured(server.url, Constant(100, 0.5), connections=1)
    assert report.outcomes == {"ok": 50}
    assert (server.requests, server.connections) == (50, 1)
    last_ms = 50 * report.service.mean_ms - 490
    assert last_ms > 500, "one connection takes half of what was asked for"
    assert report.latency.max_ms == pytest.approx(last_ms, rel=0.3)
    assert report.lateness.p50_ms < 10, "that is no fault of the generator"


def test_a_killed_server_is_seen_as_that_and_nothing_is_lost() -> None:
    with LoadServer() as server:

        def kill(sample: LiveSample) -> None:
            if sample.elapsed_s == 0.5:
                server.kill()

        report = measured(server.url, Constant(200, 1.0), progress=kill)
    assert report.requests == 200
    assert set(report.outcomes) == {"ok", "connection"}
    assert 50 < report.outcomes["ok"] < 200
    assert report.failed.p50_ms < 500, "a refusal is quick"


def test_a_closed_loop_does_not_hammer_a_server_that_is_down() -> None:
    with LoadServer() as server:

        def kill(sample: LiveSample) -> None:
            if sample.elapsed_s == 0.5:
                server.kill()

        report = measured(server.url, Closed(1.0), progress=kill)
    assert 8 <= report.outcomes["connection"] <= 8 * 10
    assert report.lateness.count == 0


@pytest.mark.parametrize(
    ("manner", "reused"),
    [
        (Manner(), True),
        (Manner(framing="chunked"), True),
        (Manner(close=True), False),
        (Manner(framing="close"), False),
    ],
)
def test_every_way_to_end_an_answer_is_understood(manner: Manner, reused: bool) -> None:
    with LoadServer(manner) as server:
        report = measured(server.url, Constant(500, 0.2))
    assert report.outcomes == {"ok": 100}
    assert set(report.bodies.values()) == {GOOD}
    assert server.connections == 8 if reused else server.connections >= 100


def test_a_stream_has_a_first_token_before_its_end() -> None:
    with LoadServer(Manner(pieces=STREAM, piece_s=0.05)) as server:
        report = measured(server.url, Closed(0.9), kind="query", connections=2)
    assert set(report.outcomes) == {"ok"}
    assert report.first_token is not None
    assert report.first_token.count == report.requests
    assert 49 <= report.first_token.p50_ms < 150, "the piece before it holds no text"
    assert 198 <= report.latency.p50_ms < 400
    assert report.first_token.p50_ms < report.latency.p50_ms - 90
    for body in report.bodies.values():
        assert [hit.id for hit in hits(KINDS["query"], body)] == ["chunk-1", "chunk-2"]


def test_two_workers_are_one_run() -> None:
    with LoadServer(Manner(delay_s=0.005)) as server:
        report = measured(server.url, Constant(400, 1.0), workers=2, connections=16)
    assert report.outcomes == {"ok": 400}
    assert server.connections == 16
    assert Counter(asked["query"] for asked in server.bodies) == dict.fromkeys(QUESTIONS, 20)
    assert sorted(report.bodies) == list(range(20))
    assert (report.latency.count, report.lateness.count, report.generator.workers) == (400, 400, 2)
    assert 300 < report.answered_per_s <= 400
    assert report.verdict.notes == ["400 requests are too few for p99.9 (2,995 needed)"]


def test_the_measurement_begins_when_the_service_has_settled() -> None:
    told: list[LiveSample] = []
    with LoadServer(Manner(delay_s=0.05)) as server:
        report = measured(server.url, Closed(0.5), progress=told.append, warm_up=WarmUp(most_s=20))
    assert report.settled
    assert 3 <= report.warm_up_s < 12
    assert [sample.phase for sample in told].count(LoadPhase.WARM_UP) >= 6
    assert 8 < report.requests <= 8 * 11
    assert report.requests < server.requests / 4


def test_a_fixed_warm_up_asks_what_the_measurement_asks_last() -> None:
    with LoadServer() as server:
        report = measured(server.url, Constant(20, 0.5), warm_up=WarmUp(most_s=0.5, fixed=True))
    asked = [body["query"] for body in server.bodies]
    assert asked[0] == "question 19"
    assert asked[-10:] == QUESTIONS[:10]
    assert (report.requests, report.settled) == (10, False)
    assert 0.49 <= report.warm_up_s < 1.5


def test_a_report_can_be_written_and_read_and_its_bodies_are_bounded() -> None:
    with LoadServer() as server:
        report = measured(server.url, Poisson(200, 0.2), keep=KeepLimits(bodies=3))
    written = msgspec.json.encode(report)
    assert msgspec.json.decode(written, type=LoadReport) == report
    assert msgspec.json.decode(written)["schema"] == "lightragctl-bench/1"
    assert report.bodies == {0: GOOD, 1: GOOD, 2: GOOD}


def test_the_key_reaches_the_service() -> None:
    with LoadServer() as server:
        run(LoadPlan(Target(server.url, api_key="k-1"), ["q"], Closed(0.1), 1, warm_up=WarmUp(0)), ignored)
    assert b"\r\nauthorization: bearer k-1" in server.heads[0]


def test_time_burnt_in_waiting_is_no_work_of_the_generator() -> None:
    with LoadServer() as server:
        report = measured(server.url, Constant(900, 0.5), spin=True)
    assert report.outcomes == {"ok": 450}
    assert report.generator.spin_s > report.generator.cpu_s > 0
    assert report.generator.cpu_share < 0.6


def test_nothing_there_is_an_error_with_a_hint() -> None:
    with LoadServer() as server:
        url = server.url
    with pytest.raises(UnavailableError, match="nothing answers at 127") as error:
        measured(url, Closed(1))
    assert error.value.hint
    with pytest.raises(UnavailableError, match=r"cannot resolve nowhere\.invalid"):
        measured("http://nowhere.invalid", Closed(1))


def test_an_observer_that_fails_ends_the_run() -> None:
    def fail(_: LiveSample) -> None:
        raise OSError("the terminal is gone")

    with LoadServer() as server, pytest.raises(OSError, match="the terminal is gone"):
        measured(server.url, Closed(30), progress=fail, workers=2)


def test_a_worker_that_is_killed_ends_the_run() -> None:
    def kill(_: LiveSample) -> None:
        mine = psutil.Process().children()  # the real Milvus of other tests may be among them
        next(one for one in mine if "lightragctl.bench.worker" in " ".join(one.cmdline())).kill()

    with LoadServer() as server, pytest.raises(LightragctlError, match=r"worker \d exited with status -9"):
        measured(server.url, Closed(30), progress=kill, workers=2)


PARENT = """
    import sys
    from lightragctl.bench.plan import LoadPlan, WarmUp
    from lightragctl.bench.run import run
    from lightragctl.bench.schedule import Constant
    from lightragctl.bench.targets import Target

    warm_up = WarmUp(float(sys.argv[2]), fixed=True)
    plan = LoadPlan(Target(sys.argv[1]), ["a"], Constant(100, 60), 4, 2, warm_up=warm_up, spin=False)
    report = run(plan, lambda moment: print(moment.phase, flush=True))
    print(report.requests, report.unanswered, report.duration_s < 60, report.verdict.reasons[0])
"""


@pytest.mark.parametrize(
    ("warm_up_s", "phase", "number"),
    [(0, "measure", signal.SIGINT), (0, "measure", signal.SIGTERM), (60, "warm-up", signal.SIGINT)],
)
def test_ctrl_c_or_sigterm_gives_what_was_measured_and_leaves_no_worker(
    warm_up_s: int, phase: str, number: signal.Signals
) -> None:
    command = [sys.executable, "-c", textwrap.dedent(PARENT)]
    with LoadServer() as server:
        parent = subprocess.Popen([*command, server.url, str(warm_up_s)], stdout=subprocess.PIPE, text=True, stderr=-1)
        with parent:
            assert parent.stdout is not None
            assert parent.stdout.readline().strip() == phase
            workers = psutil.Process(parent.pid).children()
            parent.send_signal(number)
            out, complaints = parent.communicate(timeout=10)
    assert len(workers) == 2
    assert not [worker for worker in workers if worker.is_running()]
    if phase == "warm-up":
        assert parent.returncode != 0
        assert complaints.rstrip().endswith("KeyboardInterrupt")
    else:
        requests, unanswered, early, *reason = out.splitlines()[-1].split()
        assert 0 < int(requests) <= server.requests <= int(requests) + int(unanswered)
        assert (early, reason[:2]) == ("True", ["stopped", "after"])


def test_tls_is_spoken_and_certificates_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    names = ("-subj", "/CN=load", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run([*made, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=30)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with LoadServer(tls=tls) as server:
        with pytest.raises(UnavailableError, match=r"(?i)certificate verify failed"):
            measured(server.url, Closed(1))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        report = measured(server.url, Constant(100, 0.5))
    assert report.outcomes == {"ok": 50}


def test_the_border_between_warm_up_and_measurement_is_told_once() -> None:
    """What is read there is of the warm-up's requests, and not yet of the measured ones but those of a moment."""
    seen: list[int] = []
    with LoadServer() as server:
        plan = LoadPlan(Target(server.url), QUESTIONS, Constant(100, 2), warm_up=WarmUp(2, fixed=True), spin=False)
        run(plan, ignored, on_measure_start=lambda: seen.append(server.requests))
        after = server.requests
    assert len(seen) == 1
    assert 150 <= seen[0] <= after - 150


def test_a_redirect_is_told_with_where_it_leads_and_a_body_with_its_encoding() -> None:
    with LoadServer(Manner(status=307, headers=("Location: https://login.example/?token=x",))) as server:
        (redirect,) = measured(server.url, Constant(50, 0.2)).bad_answers
    assert (redirect.status, redirect.location) == (307, "https://login.example/?token=***")
    with LoadServer(Manner(body=gzip.compress(GOOD), headers=("content-encoding: gzip",))) as server:
        (packed,) = measured(server.url, Constant(50, 0.2)).bad_answers
    assert (packed.outcome, packed.encoding, packed.start[:8]) == ("bad-body", "gzip", r"\x1f\x8b")


def test_credentials_of_the_address_are_sent_and_are_nowhere_in_the_report() -> None:
    told = b"the password p@ss (p%40ss) or the key s3cret is wrong"
    with LoadServer(Manner(status=401, body=told)) as server:
        report = measured(f"http://me:p%40ss@127.0.0.1:{server.port}/?api_key=s3cret", Constant(50, 0.2))
        head = server.heads[0]
    assert b"authorization: basic bwu6cebzcw==" in head
    assert head.startswith(b"post /retrieve?api_key=s3cret http/1.1")
    assert report.url == f"http://***@127.0.0.1:{server.port}/?api_key=***"
    assert report.bad_answers[0].start == "the password *** (***) or the key *** is wrong"
    saved = encoded(AnnotatedRun(report))
    assert not any(secret in saved for secret in (b"p%40ss", b"p@ss", b"s3cret"))


def test_the_modules_of_the_working_directory_are_none_of_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uvloop.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)
    with LoadServer() as server:
        assert measured(server.url, Constant(50, 0.2)).outcomes == {"ok": 10}


def test_distinct_questions_go_on_where_the_run_before_ended() -> None:
    questions = [f"question {number}" for number in range(200)]
    plan = LoadPlan(Target(""), questions, Constant(100, 0.5), 4, workers=2, warm_up=WarmUp(0.5, fixed=True))
    with LoadServer() as server:
        plan = msgspec.structs.replace(plan, target=Target(server.url), spin=False, distinct=True)
        first = run(plan, ignored)
        second = run(msgspec.structs.replace(plan, place=first.place), ignored)
        asked = Counter(body["query"] for body in server.bodies)
    assert first.place.front >= 50
    assert not any("ran out" in note for note in first.verdict.notes)
    if second.place.front + second.place.back <= len(questions):
        assert max(asked.values()) == 1
    else:
        assert "ran out" in second.verdict.notes[-1]
