"""What a terminal would act upon, or not show, stands there as an escape; text of every script stays as it is."""

import pytest

from lightragctl.core.visible import visible, visible_data


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        (
            "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
            r"\x1b]8;;http://evil.example\x1b\click\x1b]8;;\x1b\ "[:-1],
        ),
        ("\u009b31m", r"\x9b31m"),
        ("\a\b\r\v\f\x00\x7f", r"\x07\x08\x0d\x0b\x0c\x00\x7f"),
        ("a\u202eb\u2066c\u2069", r"a\u202eb\u2066c\u2069"),
        ("pay\u200bpal \ufeff\u00ad\u2060", r"pay\u200bpal \ufeff\xad\u2060"),
        ("pay\u200dpal", r"pay\u200dpal"),
        ("\u0085 \u2028 \u2029", r"\x85 \u2028 \u2029"),
        ("\U000e0041", r"\U000e0041"),
        ("a\udcffb \ud800", r"a\xffb \ud800"),
    ],
)
def test_what_a_terminal_acts_upon_is_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "one\n\ttwo\n",
        "知识库",
        "עברית",
        "می\u200cخواهم",
        "👩\u200d👧 ❤\ufe0f",
        "[red]x[/red] [link=x]",
        "é \\x1b",
    ],
)
def test_text_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_a_payload_is_escaped_in_keys_and_values_at_every_depth() -> None:
    payload = {"a\x1b": ["\x1b", {"b": ("\x07", 1, None, True)}]}
    assert visible_data(payload) == {"a\\x1b": ["\\x1b", {"b": ["\\x07", 1, None, True]}]}
