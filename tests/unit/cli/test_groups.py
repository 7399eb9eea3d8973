"""Commands under one word."""

import json

import pytest

from tests.conftest import Tool


@pytest.mark.parametrize("words", [("bench",), ("bench", "--rate", "5"), ("bench", "run", "-c", "2")])
def test_bench_alone_is_bench_run(tool: Tool, words: tuple[str, ...]) -> None:
    done = tool.run(*words)
    assert (done.returncode, "there is no release 'local'" in done.stderr) == (1, True)


def test_a_command_that_is_not_there_is_a_usage_error(tool: Tool) -> None:
    assert tool.run("bench", "nothing").returncode == 2
    assert "run" in tool.run("bench", "--help").stdout


def test_overrides_on_either_side_of_a_command_all_count(tool: Tool) -> None:
    """Of one value the last counts, as the one nearest to the command's own words."""
    before = ("--set", "components.mock-llm.latency_ms=7", "--set", "workspace=one", "-o", "yaml")
    after = ("--set", "components.mock-llm.error_ratio=0.5", "--set", "workspace=two", "-o", "json")
    profile = json.loads(tool.run(*before, "profiles", "show", *after).stdout)["profile"]
    assert (profile["components"]["mock-llm"]["latency_ms"], profile["workspace"]) == (7, "two")
    assert profile["components"]["mock-llm"]["error_ratio"] == 0.5
