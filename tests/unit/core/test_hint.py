"""Hints name commands that can be typed as they stand."""

from lightragctl.core.hint import Command, Hint


def test_a_hint_reads_as_text_and_completes_its_commands() -> None:
    hint = Hint("see its log: ", Command("logs", "vector-engine"), "; then: ", Command("up"))

    assert hint == "see its log: lightragctl logs vector-engine; then: lightragctl up"
    assert hint.line(["--profile", "dev"], ["--set", "a=1"]) == (
        "see its log: lightragctl logs --profile dev vector-engine; then: lightragctl up --profile dev --set a=1"
    )


def test_a_hint_inside_another_keeps_its_commands() -> None:
    outer = Hint("first ", Hint(Command("status")), ".")

    assert outer.line(["--name", "two"], []) == "first lightragctl status --name two."
