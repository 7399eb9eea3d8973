"""JSON and YAML text: every reader gets the values back, and a terminal does not act upon it."""

import json
from enum import StrEnum
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lightragctl.core.scalars import Loader
from lightragctl.core.serialize import json_text, yaml_documents, yaml_text
from lightragctl.core.visible import ACTING

GO_YAML_MISREADS = (
    # what go-yaml, by which kubectl reads, takes for something else than a text where it stands without quotes
    *("y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF"),
    *("true", "True", "TRUE", "false", "False", "FALSE", "~", "null", "Null", "NULL", "", "<<", "="),
    *(".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF", "+.inf", "-.Inf", "0", "-0", "+1", "1.", ".5", "-.5", "1.10"),
    *("1e3", "1E3", "1e+3", "0.1e-2", "1_000", "0x10", "0X1f", "0o10", "0b11", "-0b11", "010", "08", "0x_1", "1__0"),
    *("1:30", "12:30:45", "190:20:30.15", "2024-01-01", "2001-12-14t21:59:43.10-05:00", "2001-12-14 21:59:43.10 -5"),
)
"""Checked once against kubectl 1.34."""
TEXTS = st.one_of(
    st.sampled_from(GO_YAML_MISREADS),
    st.text(),
    st.from_regex(r"[-+]?[0-9_.:xobeE]{1,8}", fullmatch=True),
    st.text(alphabet="\x00\x1b\x85\xa0\u2028\u2029\u202e\ufeff \t\n\r:#-?!&*'\"%@`|>[]{},\\xyz0", max_size=8),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("text", GO_YAML_MISREADS)
def test_what_some_reader_misreads_is_quoted(text: str) -> None:
    assert yaml_text([text])[:3] in ("- '", '- "')


@settings(max_examples=150, deadline=None)
@example("\xa0")
@example(":\xa0")
@example("a\u3000")
@given(VALUES)
def test_readers_of_yaml_1_1_and_1_2_get_the_values_back(value: Any) -> None:
    for ascii_only in (False, True):
        text = yaml_text({"value": value}, ascii_only=ascii_only)
        assert yaml.safe_load(text) == {"value": value}
        assert yaml.load(text, Loader) == {"value": value}
        assert not ACTING.search(text)
        assert not ascii_only or text.isascii()


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_json_carries_the_values_and_nothing_that_a_terminal_acts_upon(value: Any) -> None:
    for ascii_only in (False, True):
        text = json_text(value, indent=1, ascii_only=ascii_only)
        assert json.loads(text) == value
        assert not ACTING.search(text)


def test_a_byte_that_is_no_text_survives_in_both() -> None:
    assert json.loads(json_text("a\udcff")) == "a\udcff"
    assert yaml.safe_load(yaml_text(["a\udcff"])) == ["a\udcff"]


def test_documents_hold_no_aliases_and_take_enumerations() -> None:
    class Colour(StrEnum):
        RED = "on"

    shared = {"a": 1}
    text = yaml_documents([{"one": shared, "two": shared}, {"colour": Colour.RED}])
    assert "&" not in text
    assert list(yaml.safe_load_all(text)) == [{"one": {"a": 1}, "two": {"a": 1}}, {"colour": "on"}]
    assert "'on'" in text
