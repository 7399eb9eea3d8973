"""`bench report` and the files of `bench run`, as a user types them."""

import json
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from lightragctl.bench.report.saved import decoded, encoded
from tests.conftest import Tool
from tests.fakes.load_server import LoadServer, Manner
from tests.fakes.saved_run import REPORT, RUN, unbelievable


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
    assert ["to", "be", "believed", "yes", "no"] in lines
    assert "b.json: do not believe it: it was stopped after 3.2 s" in done.stdout
    assert "a.json: p99<100ms: not kept" in done.stdout


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


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        ((), 2, "FILE"),
        (("nope.json",), 2, "cannot read nope.json"),
        (("a.json", "strange.json"), 2, "strange.json is no saved run"),
        (("newer.json",), 2, "newer.json was written by another version of lightragctl"),
        (("a.json", "--html", "nope/a.html"), 2, "cannot write nope/a.html"),
        (("a.json", "--html", "."), 2, "cannot write ."),
    ],
)
def test_what_cannot_be_is_told(saved: Tool, arguments: tuple[str, ...], status: int, told: str) -> None:
    (saved.cwd / "strange.json").write_text('{"schema": "lightragctl/v1"}')
    newer = {**msgspec.json.decode(encoded(RUN)), "schema": "lightragctl-bench/2"}
    (saved.cwd / "newer.json").write_bytes(msgspec.json.encode(newer))
    done = saved.run("bench", "report", *arguments)
    assert done.returncode == status
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_leaves_all_its_files(tool: Tool) -> None:
    wanted = ("--thresholds", "p99<0.000001ms,errors<1%", "--save", "r.json", "--html", "r.html", "--junit", "r.xml")
    with LoadServer(Manner(delay_s=0.05)) as server:
        done = tool.run("bench", "run", "--url", server.url, "--rate", "50", "--duration", "1", *wanted)
    assert done.returncode == 3
    run = decoded((tool.cwd / "r.json").read_bytes(), "r.json")
    assert run.beside.thresholds == {"p99<0.000001ms": False, "errors<1%": True}
    assert run.beside.ended_at.endswith("Z")
    assert "errors&lt;1%: kept" in (tool.cwd / "r.html").read_text(encoding="utf-8")
    assert ElementTree.parse(tool.cwd / "r.xml").getroot()[0].get("failures") == "2"


def test_what_tells_nothing_of_where_the_time_went_is_named(tool: Tool) -> None:
    with LoadServer() as server:
        done = tool.run("bench", "run", "--url", server.url, "--rate", "50", "--duration", "1", "-o", "json")
    document = json.loads(done.stdout)
    assert (document["replicas"], document["stages_ms"]) == (0, {})
    assert document["replica_notes"][0].startswith(f"{server.url} is not counted: ")


def test_a_file_that_cannot_be_written_is_told_before_the_load(tool: Tool) -> None:
    with LoadServer() as server:
        done = tool.run("bench", "run", "--url", server.url, "--save", str(Path("nope") / "run.json"))
    assert done.returncode == 2
    assert server.requests == 0
