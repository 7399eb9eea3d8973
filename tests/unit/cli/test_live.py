"""What is shown while a load runs: a panel on a terminal, plain lines elsewhere; the terminal is left as it was."""

import re

import pytest

from tests.conftest import Tool
from tests.fakes.load_server import LoadServer, Manner
from tests.fakes.terminal import seen_on_a_terminal

pytestmark = pytest.mark.slow  # each plays whole runs of seconds

STEADY = Manner(delay_s=0.05)
"""Settles in three seconds, the shortest warm-up."""
HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"
COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|9[0-7])[;m]")


def load(url: str, *more: str) -> list[str]:
    return ["bench", "run", "--url", url, "--rate", "50", *more]


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> str:
    """All that a terminal was told in a short run."""
    tool = Tool(tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("work"))
    with LoadServer(STEADY) as server:
        return seen_on_a_terminal(tool, *load(server.url, "--duration", "2"))


def test_the_panel_shows_both_phases_and_then_the_figures(panel: str) -> None:
    for told in ("warm-up", "left at most", "measure", "answers/s", "p99", "0 failed"):
        assert told in panel, told
    figures = panel.rindex("good answers per second")
    assert panel.rindex("in flight") < figures


def test_the_cursor_is_there_again_at_the_end(panel: str) -> None:
    assert HIDDEN in panel
    assert panel.rindex(SHOWN) > panel.rindex(HIDDEN)
    assert COLOUR.search(panel)


@pytest.mark.slow
def test_ctrl_c_ends_the_run_with_what_there_is_and_leaves_the_terminal_as_it_was(tool: Tool) -> None:
    with LoadServer(STEADY) as server:
        text = seen_on_a_terminal(tool, *load(server.url, "--duration", "60"), interrupt_at="measure")
    assert text.rindex(SHOWN) > text.rindex(HIDDEN)
    assert "stopped after" in text
    assert "Traceback" not in text


def test_ctrl_c_in_the_warm_up_leaves_the_terminal_as_it_was_too(tool: Tool) -> None:
    with LoadServer(STEADY) as server:
        text = seen_on_a_terminal(tool, *load(server.url), interrupt_at="warm-up")
    assert text.rindex(SHOWN) > text.rindex(HIDDEN)
    assert "Traceback" not in text


@pytest.mark.slow
@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_who_wants_no_colour_gets_none(tool: Tool, environ: dict[str, str]) -> None:
    with LoadServer(STEADY) as server:
        text = seen_on_a_terminal(tool, *load(server.url, "--duration", "1"), **environ)
    assert not COLOUR.search(text)
    assert "good answers per second" in text


@pytest.mark.slow
def test_without_a_terminal_there_are_plain_lines(tool: Tool) -> None:
    with LoadServer(STEADY) as server:
        done = tool.run(*load(server.url, "--duration", "8"))  # a line every five seconds
    assert "\x1b" not in done.stderr
    assert re.search(r"^measure: \d+ s, \d+/s, p50 ", done.stderr, re.MULTILINE)
