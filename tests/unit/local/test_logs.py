"""Logs: the last lines of each file, then what comes, past a file that is begun anew."""

from itertools import islice
from pathlib import Path

import pytest

from lightragctl.local.logs import read_logs

pytestmark = pytest.mark.timeout(20)  # a follower that misses a line waits without end


def log(path: Path, text: str, mode: str = "w") -> Path:
    with open(path, mode, encoding="utf-8", newline="") as file:
        file.write(text)
    return path


@pytest.mark.parametrize(
    ("text", "tail", "lines"),
    [
        ("1\n2\n3\n", 2, ["2", "3"]),
        ("1\n2\n3\n", 20, ["1", "2", "3"]),
        ("1\n2\n3\n", 0, []),
        ("", 5, []),
        ("1\n2", 5, ["1", "2"]),
        ("一\n二\n", 1, ["二"]),
        ("1\n\n2\n", 3, ["1", "", "2"]),
    ],
)
def test_the_tail_is_the_last_lines(tmp_path: Path, text: str, tail: int, lines: list[str]) -> None:
    found = list(read_logs({"a": log(tmp_path / "a", text)}, follow=False, tail_lines=tail))
    assert found == [("a", line) for line in lines]


def test_bytes_that_are_no_text_do_not_stop_the_reader(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff\n2\n")
    assert [line for _, line in read_logs({"a": tmp_path / "a"}, follow=False, tail_lines=5)] == ["\ufffd", "2"]


def test_a_log_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    assert list(read_logs({"a": tmp_path / "none"}, follow=False, tail_lines=5)) == []


def test_each_line_names_its_component(tmp_path: Path) -> None:
    files = {"a": log(tmp_path / "a", "1\n"), "b": log(tmp_path / "b", "2\n")}
    assert list(read_logs(files, follow=False, tail_lines=5)) == [("a", "1"), ("b", "2")]


def test_following_goes_on_with_what_comes(tmp_path: Path) -> None:
    path = log(tmp_path / "a", "1\n")
    lines = read_logs({"a": path, "late": tmp_path / "late"}, follow=True, tail_lines=5)
    assert next(lines) == ("a", "1")
    log(path, "2\n3\n", "a")
    assert list(islice(lines, 2)) == [("a", "2"), ("a", "3")]
    log(tmp_path / "late", "4\n")
    assert next(lines) == ("late", "4")


def test_following_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    path = log(tmp_path / "a", "1\n")
    lines = read_logs({"a": path}, follow=True, tail_lines=5)
    assert next(lines) == ("a", "1")
    log(path, "whole\nha", "a")
    assert next(lines) == ("a", "whole")
    log(path, "lf\n", "a")
    assert next(lines) == ("a", "half")


def test_following_starts_over_when_the_file_was_begun_anew(tmp_path: Path) -> None:
    path = log(tmp_path / "a", "a long first line\n")
    lines = read_logs({"a": path}, follow=True, tail_lines=5)
    assert next(lines) == ("a", "a long first line")
    log(path, "new\n")
    assert next(lines) == ("a", "new")


def test_following_outlives_a_file_that_is_removed(tmp_path: Path) -> None:
    path = log(tmp_path / "a", "1\n")
    files = {"a": path, "b": log(tmp_path / "b", "")}
    lines = read_logs(files, follow=True, tail_lines=5)
    assert next(lines) == ("a", "1")
    log(path, "2\n", "a")
    assert next(lines) == ("a", "2")
    path.unlink()
    log(files["b"], "still here\n", "a")
    assert next(lines) == ("b", "still here")
    log(path, "3\n")
    assert next(lines) == ("a", "3")
