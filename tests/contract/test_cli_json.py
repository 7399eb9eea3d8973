"""What scripts rely on: one flat document on standard output and the same exit status in every format."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.conftest import Tool

ERROR = {
    "type": "object",
    "required": ["code", "message", "hint"],
    "additionalProperties": False,
    "properties": {
        "code": {"type": "string", "pattern": "^[a-z][a-z-]*$"},
        "message": {"type": "string", "minLength": 1},
        "hint": {"type": "string"},
    },
}
DOCUMENT = {
    "type": "object",
    "required": ["schema", "command", "status", "errors"],
    "properties": {
        "schema": {"const": "lightragctl/v1"},
        "command": {"type": "string"},
        "status": {"enum": ["ok", "partial", "failed"]},
        "errors": {"type": "array", "items": ERROR},
    },
}
GOOD = {"properties": {"status": {"const": "ok"}, "errors": {"maxItems": 0}}}
BAD = {"properties": {"status": {"const": "failed"}, "errors": {"minItems": 1}}}


@dataclass(frozen=True)
class Case:
    """A command line, its exit status, what the document says its command was, and keys of its payload.

    `good`: its status is not 0 and yet nothing failed.
    """

    arguments: str
    status: int = 0
    command: str | None = None
    keys: tuple[str, ...] = ()
    good: bool = False

    @property
    def name(self) -> str:
        """The command that the document names."""
        return self.arguments.split(" -")[0] if self.command is None else self.command


SITE = Path(__file__).with_name("site.yaml")
CASES = [
    Case("version", keys=("version", "python")),
    Case("profiles list", keys=("profiles",)),
    Case("profiles show", keys=("name", "profile")),
    Case("profiles show --origin --profile dev", keys=("name", "values")),
    Case("profiles validate", keys=("name", "components")),
    Case("profiles validate --profile dev", keys=("name", "components")),
    Case("profiles init mine --from dev", command="profiles init", keys=("file", "extends")),
    Case("profiles init mine --extends prod", command="profiles init", keys=("file", "extends")),
    Case("profiles show --profile prod", keys=("name", "profile")),
    Case(f"profiles validate --profile staging --values {SITE}", keys=("name", "components", "findings")),
    Case(f"render --profile prod --values {SITE}", keys=("objects",)),
    Case("render --profile dev", keys=("objects",)),
    Case("render --profile dev --output-dir out", keys=("files",)),
    Case("up --dry-run", keys=("release", "where", "changes", "conflicts", "drift", "warnings")),
    Case("diff", status=1, keys=("release", "where", "changes"), good=True),
    Case("diagnose list", keys=("checks",)),
    Case("diagnose explain LR203", command="diagnose explain", keys=("check",)),
    # failures
    Case("diagnose", status=3, command="diagnose run", keys=("findings", "path", "unseen", "suppressed")),
    Case("diagnose --from nope.tar.gz", status=2, command="diagnose run"),
    Case("diagnose profiler lightrag-api", status=1, command="diagnose profiler"),
    Case("diagnose explain LR999", status=2, command="diagnose explain"),
    Case("diagnose --only nothing", status=2, command="diagnose run"),
    Case("backup list --destination memory://", keys=("destination", "backups")),
    Case("backup prune --destination memory:// --dry-run", keys=("destination", "keep", "delete", "deleted")),
    Case("backup list", status=2),
    Case("backup show latest --destination memory://", status=2, command="backup show"),
    Case("backup verify --read-data 0.1 --destination memory://", status=2),
    Case("backup verify --read-data all --destination memory://", status=2),
    Case("backup create --destination memory://", status=1),
    Case("down", status=1),
    Case("down --purge --yes", status=1),
    Case("status", status=1),
    Case("logs", status=1),
    Case("retrieve text", status=1, command="retrieve"),
    Case("recordings", status=1),
    Case("query text", status=1, command="query"),
    Case("ingest .", status=1, command="ingest"),
    Case("bench saturate --slo nonsense", status=2, command="bench saturate"),
    Case("bench compare http://127.0.0.1:9 http://127.0.0.1:9", status=1, command="bench compare"),
    Case("bench run --qrels nope.txt", status=2, command="bench run"),
    Case("bench run --arrivals ramp", status=2, command="bench run"),
    Case("bench saturate --url http://127.0.0.1:9 --slo recall>=0.9", status=2, command="bench saturate"),
    Case("bench saturate --url http://127.0.0.1:9 --target chat --slo ndcg>=0.9", status=2, command="bench saturate"),
    Case("bench compare local local --recall", status=2, command="bench compare"),
    Case("bench report nope.json", status=2, command="bench report"),
    Case("bench saturate --url http://127.0.0.1:9 --html nope/search.html", status=2, command="bench saturate"),
    Case("bench compare http://127.0.0.1:9 http://127.0.0.1:9 --junit nope/c.xml", status=2, command="bench compare"),
    Case("bench run --url http://127.0.0.1:9 --html nope/run.html", status=2, command="bench run"),
    *(Case(f"golden {verb}", status=1) for verb in ("build", "show", "check")),
    Case("golden build --questions nope.txt", status=2),
    Case("golden check --min-recall 2", status=2),
    Case("port-forward lightrag-api", status=1, command="port-forward"),
    Case("index list", status=1),
    Case("index lifecycle", status=1),
    Case("index rebuild chunks --dry-run", status=1, command="index rebuild"),
    Case("reembed --model other", status=1, command="reembed"),
    Case("reembed --print-rbac", status=8, command="reembed"),
    Case("index show chunks", status=1, command="index show"),
    Case("index release chunks --dry-run", status=1, command="index release"),
    Case("operations list", keys=("release", "operations", "kept", "removed")),
    Case("operations cleanup", keys=("release", "chosen", "deleted", "dry_run")),
    Case("operations rehearse", status=1),
    Case("operations rehearse --print-rbac", status=8),
    Case("operations status", status=2),
    Case("upgrade matrix", keys=("hops", "components")),
    Case("upgrade --plan", status=8, command="upgrade run"),
    Case("upgrade run --observe soon", status=2, command="upgrade run"),
    Case("upgrade --canary --profile dev", status=2, command="upgrade run"),
    *(
        Case(f"operations {verb} x-1", status=2, command=f"operations {verb}")
        for verb in ("status", "pause", "resume", "promote", "abort", "cleanup")
    ),
    *(
        Case(f"{command} --profile dev", status=2)
        for command in ("status", "up", "diff", "down", "logs", "history", "rollback", "unlock")
    ),
    *(Case(command, status=8) for command in ("history", "rollback", "unlock")),
    Case("up --profile dev --kubeconfig nope.yaml", status=2),
    Case("render", status=8),
    Case("down --purge", status=2),
    Case("render --profile nope", status=2),
    Case("profiles validate --set chunking.size_token=3", status=2),
    Case("profiles validate --profile dev --set components.vector-engine.topology=lite", status=2),
    Case("profiles validate --profile prod", status=2),
    Case(f"profiles validate --profile prod --values {SITE} --set image.tag=latest", status=8),
    Case("profiles init Bad/Name", status=2, command="profiles init"),
    Case("up --name Bad_Name", status=2),
    Case("serve api --settings nope.json", status=1),
    # usage errors, found before there is a session
    Case("retrieve", status=2),
    Case("retrieve text --top-k 0", status=2, command="retrieve"),
    Case("status --no-such-option", status=2),
    Case("completion tcsh", status=2, command="completion"),
    Case("profiles no-such-command", status=2, command="profiles"),
    Case("no-such-command", status=2, command=""),
]


def check(document: Any, case: Case) -> None:
    jsonschema.validate(document, DOCUMENT)
    jsonschema.validate(document, GOOD if case.good or case.status == 0 else BAD)
    assert document["command"] == case.name
    assert set(case.keys) <= document.keys()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.arguments)
def test_a_command_ends_with_one_document_and_one_exit_status(tool: Tool, case: Case) -> None:
    done = tool.run(*case.arguments.split(), "-o", "json")
    assert done.returncode == case.status, done.stderr
    document = json.loads(done.stdout)
    check(document, case)
    assert list(document)[:4] == ["schema", "command", "status", "errors"]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.arguments)
def test_the_exit_status_does_not_depend_on_the_format(tool: Tool, case: Case) -> None:
    done = tool.run(*case.arguments.split())
    assert done.returncode == case.status, done.stderr
    if case.status and not case.good:
        assert "error: " in done.stderr
        assert "error: " not in done.stdout
    else:
        assert done.stdout.strip()


@pytest.mark.parametrize("arguments", ["version", "status", "render --profile nope", "retrieve"])
def test_yaml_carries_the_same_document_as_json(tool: Tool, arguments: str) -> None:
    as_json = tool.run(*arguments.split(), "-o", "json")
    as_yaml = tool.run(*arguments.split(), "-o", "yaml")
    assert yaml.safe_load(as_yaml.stdout) == json.loads(as_json.stdout)
    assert as_yaml.returncode == as_json.returncode


@pytest.mark.parametrize("place", [["-o", "json", "version"], ["version", "-o", "json"], ["version", "--output=json"]])
def test_global_options_stand_on_either_side_of_the_command(tool: Tool, place: list[str]) -> None:
    assert json.loads(tool.run(*place).stdout)["command"] == "version"


@pytest.mark.parametrize("spelling", [["-o", "json"], ["-ojson"], ["--output", "json"], ["--output=json"]])
def test_a_usage_error_is_a_document_however_the_format_is_asked_for(tool: Tool, spelling: list[str]) -> None:
    done = tool.run("retrieve", *spelling)
    assert done.returncode == 2
    assert json.loads(done.stdout)["errors"][0]["code"] == "usage"


def test_chinese_stands_in_the_document_as_it_is(tool: Tool) -> None:
    done = tool.run("profiles", "show", "--set", "description=知识库", "-o", "json")
    assert "知识库" in done.stdout


def test_a_failing_command_changes_nothing(tool: Tool) -> None:
    for arguments in ("status", "logs", "retrieve x", "render --profile nope", "up --dry-run", "down"):
        tool.run(*arguments.split())
    assert not list(tool.home.rglob("*"))
    assert not list(tool.cwd.rglob("*"))


def test_a_profile_without_a_component_that_another_needs_is_refused(tool: Tool) -> None:
    (tool.cwd / "small.yaml").write_text("runtime: kubernetes\ncomponents:\n  lightrag-api: {}\n")
    for command in (("profiles", "validate"), ("render",)):
        done = tool.run(*command, "--profile", "small.yaml")
        assert done.returncode == 2
        assert "does not enable vector-engine" in done.stderr


def test_an_option_inside_a_text_is_not_an_option(tool: Tool) -> None:
    done = tool.run("retrieve", "x -o json", "--nope")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "error:" in done.stderr


@pytest.mark.parametrize("command", ["up", "rollback", "down"])
def test_with_events_standard_error_is_one_document_a_line(tool: Tool, command: str) -> None:
    done = tool.run(command, "--profile", "dev", "--events", "jsonl", "--verbose")
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [one["type"] for one in events] == ["error", "end"]
    for event in events:
        assert list(event) == ["schema", "time", "type", "subject", "message", "data"]
        assert event["schema"] == "lightragctl/event/v1"
    assert events[0]["data"]["code"] == "no-cluster"
    assert events[-1]["data"] == {"command": command, "status": "failed", "exit_status": done.returncode}


def test_a_profile_that_asks_for_values_is_started_with_them_to_fill_in(tool: Tool) -> None:
    assert tool.run("profiles", "init", "mine", "--extends", "prod").returncode == 0
    asked = tool.run("profiles", "validate", "--profile", "mine.yaml")
    assert asked.returncode == 2
    assert "needs 8 values that are specific to your site" in asked.stderr
    text = (tool.cwd / "mine.yaml").read_text()
    for line in text.splitlines():
        key, _, _ = line.partition(":  # ")
        if ":  # " in line:
            assert key.split()[-1] in asked.stderr
    answers = yaml.safe_load(SITE.read_text())
    (tool.cwd / "mine.yaml").write_text(yaml.safe_dump({"extends": "prod", **answers}))
    assert tool.run("profiles", "validate", "--profile", "mine.yaml").returncode == 0


def test_what_is_unsafe_is_in_the_document_with_its_way_out(tool: Tool) -> None:
    sets = ("--set", "image.tag=latest", "--set", "components.lightrag-api.expose.tls_secret=null")
    done = tool.run("profiles", "validate", "--profile", "prod", "--values", str(SITE), *sets, "-o", "json")
    assert done.returncode == 8
    document = json.loads(done.stdout)
    assert {one["code"] for one in document["errors"]} == {"mutable-image-tag"}
    found = {one["code"]: one for one in document["findings"]}
    assert found["no-tls"]["severity"] == "warning"
    assert {"code", "severity", "subject", "message", "hint"} <= set(found["no-tls"])
