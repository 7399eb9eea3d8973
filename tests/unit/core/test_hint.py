"""Hints name commands that can be typed as they stand."""

import json

import pytest

from lightragctl.core.hint import Command, Hint, hint_of, hint_parts


def test_a_hint_reads_as_text_and_completes_its_commands() -> None:
    hint = Hint("see its log: ", Command("logs", "vector-engine"), "; then: ", Command("up"))

    assert hint == "see its log: lightragctl logs vector-engine; then: lightragctl up"
    assert hint.line(["--profile", "dev"], ["--set", "a=1"]) == (
        "see its log: lightragctl logs --profile dev vector-engine; then: lightragctl up --profile dev --set a=1"
    )


def test_a_hint_inside_another_keeps_its_commands() -> None:
    outer = Hint("first ", Hint(Command("status")), ".")

    assert outer.line(["--name", "two"], []) == "first lightragctl status --name two."


def test_a_hint_keeps_its_commands_on_the_way_to_another_process() -> None:
    hint = Hint("turn it on: ", Command("up", "--set a=1"), "; or wait")
    parts = json.loads(json.dumps(hint_parts(hint)))

    received = hint_of(str(hint), parts)

    assert parts == ["turn it on: ", {"command": "up", "arguments": "--set a=1"}, "; or wait"]
    assert isinstance(received, Hint)
    assert received.line(["--name", "two"], []) == "turn it on: lightragctl up --name two --set a=1; or wait"


def test_a_hint_without_commands_has_no_parts() -> None:
    assert hint_parts("wait") == []
    assert hint_parts(Hint("wait")) == []


@pytest.mark.parametrize("parts", [None, [], "up", [1], [{"command": "up"}], [{"command": "up", "arguments": 1}]])
def test_parts_of_an_unknown_shape_leave_the_text(parts: object) -> None:
    assert hint_of("see the log", parts) == "see the log"
