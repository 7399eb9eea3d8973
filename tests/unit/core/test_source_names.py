"""Sources as upstream keeps them: whole, and back again."""

import pytest

from lightragctl.core.source_names import plain_source, upstream_source


@pytest.mark.parametrize(
    "source",
    [
        "/home/me/docs/a.md",
        "/home/me/100 %/a.[native].md",
        "/文档/说明.md",
        "/a/<SEP>/b ",
        "/back\\slash/\nline.md",
        "stdin",
    ],
)
def test_a_source_comes_back_as_it_was(source: str) -> None:
    name = upstream_source(source)
    assert "/" not in name
    assert name == name.strip()
    assert plain_source(name) == source


def test_two_files_of_one_name_keep_different_sources() -> None:
    assert upstream_source("/a/readme.md") != upstream_source("/b/readme.md")


def test_names_that_others_chose_stay() -> None:
    assert plain_source("my%20notes.pdf") == "my%20notes.pdf"
    assert plain_source("%2Fa.md<SEP>b.pdf") == "/a.md<SEP>b.pdf"
