"""`bench report` and the files of `bench run`, as a user types them."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import cast
from xml.etree import ElementTree

import msgspec
import pytest

from lightragctl.bench.annotated_run import AnnotatedRun
from lightragctl.bench.compare import CompareReport
from lightragctl.bench.questions import QuestionSet
from lightragctl.bench.report.saved import decoded, encoded
from lightragctl.bench.saturate import Saturation
from lightragctl.cli.bench.options import LoadOptions
from lightragctl.cli.bench.report_files import ReportFiles, kept
from lightragctl.cli.options import GlobalOptions, Session
from lightragctl.core.errors import UsageError
from lightragctl.release.benchmark import BenchmarkSource
from tests.conftest import Tool
from tests.fakes.load_server import LoadServer, Manner
from tests.fakes.saved_run import REPORT, RUN, unbelievable
from tests.fakes.saved_series import COMPARED, SEARCH


@pytest.fixture
def saved(tool: Tool) -> Tool:
    """A folder with two saved runs."""
    (tool.cwd / "a.json").write_bytes(encoded(RUN))
    (tool.cwd / "b.json").write_bytes(encoded(unbelievable("it was stopped after 3.2 s")))
    return tool


def test_runs_stand_side_by_side(saved: Tool) -> None:
    done = saved.run("bench", "report", "a.json", "b.json")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["a.json", "b.json"] in lines
    assert ["requests", "1,000", "1,000"] in lines
    assert ["valid", "yes", "no"] in lines
    assert "b.json: not valid: it was stopped after 3.2 s" in done.stdout
    assert "a.json: p99<100ms: not met" in done.stdout


def test_the_figures_come_as_json_too(saved: Tool) -> None:
    document = json.loads(saved.run("bench", "report", "a.json", "b.json", "-o", "json").stdout)
    first, second = document["runs"]
    assert (first["file"], first["requests"], first["stages_ms"]["embed"]) == ("a.json", 1000, 12.5)
    assert first["latency"]["p99_ms"] == REPORT.latency.p99_ms
    assert (second["verdict"]["valid"], second["thresholds"]) == (False, {"p50<20ms": True, "p99<100ms": False})
    assert document["written"] == []


def test_html_and_junit_are_written_and_told(saved: Tool) -> None:
    done = saved.run("bench", "report", "a.json", "--html", "a.html", "--junit", "a.xml")
    assert "wrote a.html\nwrote a.xml" in done.stdout
    assert "<!DOCTYPE html>" in (saved.cwd / "a.html").read_text(encoding="utf-8")
    assert ElementTree.parse(saved.cwd / "a.xml").getroot()[0].get("name") == "a.json"


def test_searches_and_comparisons_are_shown_as_their_commands_did(saved: Tool) -> None:
    (saved.cwd / "search.json").write_bytes(encoded(SEARCH))
    (saved.cwd / "compared.json").write_bytes(encoded(COMPARED))
    done = saved.run("bench", "report", "compared.json", "a.json", "search.json", "--junit", "all.xml")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "retrieve at http://127.0.0.1:8080, p99<50ms,errors<0.1%" in lines
    assert "11649.9 failed 49.0 11646.9 p99<50ms (generator late or busy)" in lines
    assert "sustains 11329.4 requests per second, and fails at 11649.9/s" in lines
    assert any(line.startswith("search.json: at the failing rate the generator was late") for line in lines)
    assert "p50 1.092 1.080 to 1.110 0.008 worse" in lines
    assert "p90 1.040 0.930 to 1.160 0.400 not enough data: 40 rounds" in lines
    assert "compared.json: B is worse: its p50 is 1.092 times that of A" in lines
    suites = ElementTree.parse(saved.cwd / "all.xml").getroot()
    assert [suite.get("name") for suite in suites] == ["compared.json", "a.json", "search.json"]


def test_the_same_comes_as_json(saved: Tool) -> None:
    (saved.cwd / "search.json").write_bytes(encoded(SEARCH))
    document = json.loads(saved.run("bench", "report", "search.json", "-o", "json").stdout)
    assert document["schema"] == "lightragctl/v1"
    assert (document["runs"], document["comparisons"]) == ([], [])
    (search,) = document["saturations"]
    assert (search["file"], search["holds_qps"], search["errors"][0]["code"]) == ("search.json", 11329.4, "not-valid")


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        ((), 2, "FILE"),
        (("nope.json",), 2, "cannot read nope.json"),
        (("a.json", "strange.json"), 2, "strange.json was not saved by `bench`"),
        (("newer.json",), 2, "newer.json was written by another version of lightragctl"),
        (("newer-search.json",), 2, "its schema is lightragctl-saturate/2, this one reads lightragctl-saturate/1"),
        (("a.json", "--html", "nope/a.html"), 2, "cannot write nope/a.html"),
        (("a.json", "--html", "."), 2, "cannot write ."),
    ],
)
def test_what_cannot_be_is_told(saved: Tool, arguments: tuple[str, ...], status: int, told: str) -> None:
    (saved.cwd / "strange.json").write_text('{"schema": "lightragctl/v1"}')
    newer = {**msgspec.json.decode(encoded(RUN)), "schema": "lightragctl-bench/2"}
    (saved.cwd / "newer.json").write_bytes(msgspec.json.encode(newer))
    newer = {**msgspec.json.decode(encoded(SEARCH)), "schema": "lightragctl-saturate/2"}
    (saved.cwd / "newer-search.json").write_bytes(msgspec.json.encode(newer))
    done = saved.run("bench", "report", *arguments)
    assert done.returncode == status
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_leaves_all_its_files(tool: Tool) -> None:
    wanted = ("--thresholds", "p99<0.000001ms,errors<1%", "--save", "r.json", "--html", "r.html", "--junit", "r.xml")
    with LoadServer(Manner(delay_s=0.05)) as server:
        address = f"http://me:p%40ss@127.0.0.1:{server.port}/?api_key=s3cret"
        done = tool.run("bench", "run", "--url", address, "--rate", "50", "--duration", "1", *wanted)
    written = [(tool.cwd / name).read_text(encoding="utf-8") for name in ("r.json", "r.html", "r.xml")]
    assert not any(secret in text for text in (*written, done.stdout, done.stderr) for secret in ("p%40ss", "s3cret"))
    assert done.returncode in (3, 4), "4 where the machine is too busy for its figures valid"
    assert "not met: p99<0.000001ms" in done.stderr
    run = decoded((tool.cwd / "r.json").read_bytes(), "r.json")
    assert isinstance(run, AnnotatedRun)
    assert run.annotations.thresholds == {"p99<0.000001ms": False, "errors<1%": True}
    assert run.annotations.ended_at.endswith("Z")
    assert "errors&lt;1%: met" in (tool.cwd / "r.html").read_text(encoding="utf-8")
    assert ElementTree.parse(tool.cwd / "r.xml").getroot()[0].get("failures") != "0"


@pytest.mark.slow
def test_what_tells_nothing_of_where_the_time_went_is_named(tool: Tool) -> None:
    with LoadServer() as server:
        done = tool.run("bench", "run", "--url", server.url, "--rate", "50", "--duration", "1", "-o", "json")
    document = json.loads(done.stdout)
    assert (document["replicas"], document["stages_ms"]) == (0, {})
    assert document["replica_notes"][0].startswith(f"{server.url} is not included: ")


def test_a_file_that_is_there_and_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """One that runs cannot be written, by nobody."""
    program = tmp_path / "run.json"
    shutil.copy("/bin/sleep", program)
    program.chmod(0o755)
    with subprocess.Popen([program, "60"]) as child:
        try:
            with pytest.raises(UsageError, match="cannot write"):
                ReportFiles(save=program).check()
        finally:
            child.kill()
    text = program.read_bytes()
    ReportFiles(save=program).check()
    assert program.read_bytes() == text


def test_figures_are_shown_though_a_file_cannot_be_written_after_all(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    result = kept(RUN, "run", ReportFiles(save=tmp_path / "gone"))
    assert (result.data["requests"], result.exit_status) == (1000, 1)
    assert [error.code for error in result.errors][-1] == "failed"
    assert "cannot write" in result.errors[-1].message


def test_a_file_that_cannot_be_written_is_told_before_the_load(tool: Tool) -> None:
    with LoadServer() as server:
        done = tool.run("bench", "run", "--url", server.url, "--save", str(Path("nope") / "run.json"))
    assert done.returncode == 2
    assert server.requests == 0


@pytest.mark.parametrize(
    ("command", "kind", "status"),
    [
        (("saturate", "--url", "{url}", "--slo", "errors<50%", "--step", "2", "--from", "450"), Saturation, 503),
        (("compare", "{url}", "{url}", "--rounds", "2", "--seconds", "1", "-c", "2"), CompareReport, 200),
    ],
)
@pytest.mark.slow
def test_saturate_and_compare_leave_all_their_files(
    tool: Tool, command: tuple[str, ...], kind: type, status: int
) -> None:
    with LoadServer(Manner(status=status, capacity_per_s=500)) as server:
        words = [word.format(url=server.url) for word in command]
        done = tool.run("bench", *words, "--save", "s.json", "--html", "s.html", "--junit", "s.xml", "-o", "json")
    assert done.returncode in (0, 3, 4), done.stderr
    document = json.loads(done.stdout)
    assert (document["schema"], document["command"]) == ("lightragctl/v1", f"bench {command[0]}")
    found = decoded((tool.cwd / "s.json").read_bytes(), "s.json")
    assert isinstance(found, kind)
    assert found.ended_at.endswith("Z")
    suite = ElementTree.parse(tool.cwd / "s.xml").getroot()[0]
    assert (suite.get("failures") == "0") == (done.returncode == 0)
    assert f"bench {command[0]} of retrieve" in (tool.cwd / "s.html").read_text(encoding="utf-8")


def test_broken_thresholds_do_not_hide_that_the_figures_are_not_to_be_believed() -> None:
    run = unbelievable("the generator was late")
    result = kept(run, "bench run", ReportFiles())
    assert (result.exit_status, [error.code for error in result.errors]) == (4, ["not-valid", "thresholds"])
    assert kept(RUN, "bench run", ReportFiles()).exit_status == 3
    kept_all = msgspec.structs.replace(
        run, annotations=msgspec.structs.replace(run.annotations, thresholds={"p50<20ms": True})
    )
    assert [error.code for error in kept(kept_all, "bench run", ReportFiles()).errors] == ["not-valid"]


def test_a_search_that_found_nothing_tells_why_it_may_be_wrong_too() -> None:
    nothing = msgspec.structs.replace(SEARCH, holds_qps=None, interrupted=True)
    result = kept(nothing, "bench saturate", ReportFiles())
    assert [error.code for error in result.errors] == ["interrupted", "not-valid", "thresholds"]
    assert result.exit_status == 4


class Interrupted:
    """Questions that are asked for just when the user presses Ctrl-C."""

    @property
    def asked(self) -> QuestionSet:
        raise KeyboardInterrupt


def test_a_signal_while_the_quality_is_measured_leaves_the_figures() -> None:
    load = LoadOptions(kind="retrieve", url="http://x")
    source = BenchmarkSource(
        Session("bench run", GlobalOptions()).release, load, lambda _: None, cast(BenchmarkSource, Interrupted())
    )
    report = msgspec.structs.replace(REPORT, kind="retrieve", bodies={0: b'{"hits":[]}'}, quality=None)
    judged = source.judged(report)
    assert (judged.latency, judged.interrupted) == (REPORT.latency, True)
    assert judged.quality is not None
    assert judged.quality.notes == ["the quality was not measured: interrupted"]
    result = kept(AnnotatedRun(judged), "bench run", ReportFiles())
    assert (result.exit_status, [error.code for error in result.errors]) == (4, ["interrupted"])
