"""Commands under one word."""

import pytest

from tests.conftest import Tool


@pytest.mark.parametrize("words", [("bench",), ("bench", "--rate", "5"), ("bench", "run", "-c", "2")])
def test_bench_alone_is_bench_run(tool: Tool, words: tuple[str, ...]) -> None:
    done = tool.run(*words)
    assert (done.returncode, "there is no release 'local'" in done.stderr) == (1, True)


def test_a_command_that_is_not_there_is_a_usage_error(tool: Tool) -> None:
    assert tool.run("bench", "nothing").returncode == 2
    assert "run" in tool.run("bench", "--help").stdout
