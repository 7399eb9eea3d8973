"""What a command prints: escaped for a person, whole for a program, in every encoding."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import pytest
import yaml

from lightragctl.cli.bench.live_panel import LoadPanel
from lightragctl.cli.output import Format, Output, words
from lightragctl.cli.progress import words as words_of_load
from lightragctl.cli.views import VIEWS
from lightragctl.client.retry import RetryWait
from lightragctl.core.errors import LightragctlError
from lightragctl.core.result import ErrorInfo, Event, Result
from lightragctl.core.visible import ACTING

HOSTILE = (
    "知识 😀 [red]x[/nosuch] [link=http://evil.example]y "
    "\x1b[2J\x1b]8;;http://evil.example\x07z\u009b31m\a\b\r\u202e\u200b \udcff"
)
SHOWN = (
    "[red]x[/nosuch] [link=http://evil.example]y "
    r"\x1b[2J\x1b]8;;http://evil.example\x07z\x9b31m\x07\x08\x0d\u202e\u200b \xff"
)
ENCODINGS = ("utf-8", "gbk", "ascii", "latin-1")
HIT = {"source": HOSTILE, "text": HOSTILE, "entity": None, "relation": None, "score": 1.0, "chunk_order": 0}
PART = {"name": HOSTILE, "state": HOSTILE, "endpoint": HOSTILE, "replicas": HOSTILE, "pid": 1, "restarts": 0}
RELEASE = {"release": HOSTILE, "profile": HOSTILE, "runtime": HOSTILE, "data": HOSTILE, "message": "", "revision": 1}
CHANGE = {"action": "configured", "subject": HOSTILE, "note": HOSTILE, "text": f"---\n+++\n+{HOSTILE}\n"}
DRIFT = {
    "subject": HOSTILE,
    "path": HOSTILE,
    "manager": HOSTILE,
    "operation": "",
    "time": "",
    "ours": HOSTILE,
    "theirs": 1,
}
REVISION = {
    "number": 1,
    "started_at": HOSTILE,
    "user": HOSTILE,
    "outcome": HOSTILE,
    "profile": HOSTILE,
    "description": HOSTILE,
}
PAYLOADS: dict[str, dict[str, Any]] = {
    "retrieve": {
        "hits": [HIT],
        "entities": [{"name": HOSTILE, "type": HOSTILE, "text": HOSTILE}],
        "relationships": [{"ends": [HOSTILE, HOSTILE], "text": HOSTILE}],
        "forwarded_to": HOSTILE,
        "workspace": HOSTILE,
        "timing_ms": {HOSTILE: 1.0},
    },
    "query": {
        "answer": HOSTILE,
        "citations": [{"marker": 1, "source": HOSTILE}],
        "forwarded_to": HOSTILE,
        "model": HOSTILE,
        "truncated": False,
        "timing_ms": {},
    },
    "status": {
        **RELEASE,
        "warnings": [HOSTILE],
        "drift": [DRIFT],
        "components": [{**PART, "uptime_s": 1.0, "message": HOSTILE}],
    },
    "diff": {
        "release": HOSTILE,
        "where": HOSTILE,
        "changes": [CHANGE],
        "conflicts": [DRIFT],
        "drift": [],
        "warnings": [HOSTILE],
    },
    "history": {
        "release": HOSTILE,
        "revisions": [{**REVISION, "cause": HOSTILE, "version": HOSTILE, "stopped_at": HOSTILE, "stopped_by": HOSTILE}],
    },
    "render": {"objects": [{"kind": "ConfigMap", "data": {HOSTILE: HOSTILE}}]},
    "profiles show": {"name": "x", "profile": {"description": HOSTILE}},
    "recordings": {"recordings": [{"at": 0, "workspace": HOSTILE, "ids": [], "took_ms": 1, "query": HOSTILE}]},
}


@contextmanager
def streams(encoding: str) -> Iterator[tuple[Callable[[], str], Callable[[], str]]]:
    """Standard output and error of an encoding, as a command has them; functions that give what they took."""
    taken = [io.TextIOWrapper(io.BytesIO(), encoding, errors="backslashreplace", write_through=True) for _ in range(2)]
    out, error = (lambda one=one: one.buffer.getvalue().decode(encoding) for one in taken)  # type: ignore[misc]
    with redirect_stdout(taken[0]), redirect_stderr(taken[1]):
        yield out, error


def harmless(text: str) -> bool:
    return not ACTING.search(text.replace("\x1b[0m", ""))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("command", PAYLOADS)
def test_a_person_sees_escapes_where_data_hold_what_a_terminal_acts_upon(command: str, encoding: str) -> None:
    errors = (ErrorInfo("failed", HOSTILE, HOSTILE),)
    with streams(encoding) as (out, error):
        Output(Format.TABLE, no_color=True).show(Result(command, PAYLOADS[command], errors=errors))
        shown, told = out(), error()
    assert harmless(shown)
    assert harmless(told)
    assert SHOWN in told
    if command not in ("render", "profiles show"):
        assert SHOWN in shown


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("command", PAYLOADS)
def test_a_program_gets_the_data_as_they_are(command: str, encoding: str) -> None:
    read: dict[Format, Callable[[str], Any]] = {Format.JSON: json.loads, Format.YAML: yaml.safe_load}
    for format, reader in read.items():
        with streams(encoding) as (out, _):
            Output(format).show(Result(command, PAYLOADS[command]))
            text = out()
        assert harmless(text)
        document = reader(text)
        for key, value in PAYLOADS[command].items():
            assert unescaped(document[key]) == value


def unescaped(value: Any) -> Any:
    """The value with half surrogates as they were: a document may write them out, as no UTF-8 has them."""
    return json.loads(json.dumps(value).replace(r"\\udcff", r"\udcff"))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("command", ["render", "profiles show"])
def test_manifests_and_profiles_are_whole_without_a_format(command: str, encoding: str) -> None:
    with streams(encoding) as (out, _):
        Output(Format.TABLE).show(Result(command, PAYLOADS[command]))
        assert yaml.safe_load(out()) in (*PAYLOADS[command].get("objects", ()), PAYLOADS[command].get("profile"))


def test_lines_of_logs_are_escaped_for_a_person_and_whole_for_a_program() -> None:
    for format in (Format.TABLE, Format.JSON):
        with streams("utf-8") as (out, _):
            Output(format).lines([("api", HOSTILE)])
            text = out()
        assert harmless(text)
        assert SHOWN in text if format is Format.TABLE else json.loads(text)["line"] == HOSTILE


@pytest.mark.parametrize("as_events", [False, True])
def test_progress_and_traces_are_escaped(as_events: bool) -> None:
    output = Output(Format.TABLE)
    output.as_events = as_events
    with streams("ascii") as (_, error):
        output.notify(Event(HOSTILE, HOSTILE))
        with output.live() as notify:
            notify(Event(HOSTILE))
        output.trace(LightragctlError(HOSTILE))
        text = error()
    assert harmless(text)
    if as_events:
        assert all(unescaped(json.loads(line)["message"]) == HOSTILE for line in text.splitlines())


def test_markup_in_progress_is_no_markup_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    seen = Terminal()
    with redirect_stderr(seen), Output(Format.TABLE).live() as notify:
        notify(Event("[red]x[/nosuch]", passing=True))
        notify(Event("[red]y[/nosuch]"))
    assert "[red]y[/nosuch]" in seen.getvalue()


def test_every_way_to_words_is_escaped() -> None:
    for text in (
        words(Event(HOSTILE, HOSTILE)),
        words_of_load(RetryWait(HOSTILE, HOSTILE, 1.0)),
        str(LoadPanel().picture(Event(HOSTILE))),
    ):
        assert harmless(text)


def test_a_source_with_a_line_break_stays_on_its_line() -> None:
    hit = {**HIT, "source": "a\nerror: b", "text": "c"}
    payload = {**PAYLOADS["retrieve"], "hits": [hit], "entities": [], "relationships": []}
    with streams("utf-8") as (out, _):
        Output(Format.TABLE).show(Result("retrieve", payload))
        assert "a\\nerror: b" in out()


def test_payloads_are_of_commands_that_are_there() -> None:
    assert set(PAYLOADS) <= set(VIEWS)
