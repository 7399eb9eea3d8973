"""Documents: which files are taken, and what text comes out of them."""

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightragctl.core.errors import LightragctlError
from lightragctl.ingest.documents import (
    Document,
    DocumentFile,
    FoundFiles,
    ReadOptions,
    clean_text,
    find_documents,
    read_document,
    read_streams,
)
from tests.fakes.office import docx, pdf

CHINESE = "本手册说明如何在您的电脑上安装和使用这个系统，以及怎样从网络上获得帮助。"


def tree(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text of {name}")


def found(root: Path, *paths: str) -> list[str]:
    return [os.path.relpath(file.source, root) for file in find_documents(paths, root).files]


def text_of(root: Path, data: bytes, name: str = "a.txt") -> str:
    path = root / name
    path.write_bytes(data)
    return read_document(DocumentFile(str(path), len(data))).text


def piped(data: bytes, source: str | None = None) -> Document:
    (file,) = read_streams(FoundFiles((), (), (), ("-",)), ReadOptions(io.BytesIO(data), source)).files
    return read_document(file)


def refusal_of(root: Path, data: bytes, name: str = "a.txt") -> str:
    with pytest.raises(LightragctlError) as caught:
        text_of(root, data, name)
    return caught.value.message


def test_a_folder_gives_its_documents_sorted_without_hidden_ones(tmp_path: Path) -> None:
    tree(tmp_path, "b.md", "a/z.HTML", "a/c.rst", ".git/x.md", "a/.hidden.md", "picture.png", "d.markdown")
    assert found(tmp_path, ".") == ["a/c.rst", "a/z.HTML", "b.md", "d.markdown"]
    assert find_documents(["."], tmp_path).skipped == ((".png", 1),)


def test_a_source_is_the_absolute_path_without_dots(tmp_path: Path) -> None:
    tree(tmp_path, "a/b.md")
    assert find_documents(["a/../a/./b.md"], tmp_path).files[0].source == f"{tmp_path}/a/b.md"


def test_a_file_named_twice_is_taken_once(tmp_path: Path) -> None:
    tree(tmp_path, "a.md", "b.md")
    assert found(tmp_path, "b.md", ".", "./a.md") == ["b.md", "a.md"]


def test_a_link_to_a_taken_file_is_not_taken_again(tmp_path: Path) -> None:
    tree(tmp_path, "page.en.html")
    (tmp_path / "page.html").symlink_to("page.en.html")
    assert found(tmp_path, ".") == ["page.en.html"]


def test_links_that_go_round_in_circles_end(tmp_path: Path) -> None:
    tree(tmp_path, "a/b/c.md")
    (tmp_path / "a/b/up").symlink_to("../..")
    (tmp_path / "a/self.md").symlink_to("self.md")
    assert found(tmp_path, ".") == ["a/b/c.md"]


def test_a_link_to_a_folder_elsewhere_is_followed(tmp_path: Path) -> None:
    tree(tmp_path, "releases/v2/a.md", "site/x.md")
    (tmp_path / "site/current").symlink_to("../releases/v2")
    assert found(tmp_path, "site") == ["site/current/a.md", "site/x.md"]


def test_a_quoted_glob_is_expanded(tmp_path: Path) -> None:
    tree(tmp_path, "a/x.md", "a/b/y.md", "a/z.png", "c.md")
    assert found(tmp_path, "a/**/*.md") == ["a/b/y.md", "a/x.md"]
    assert found(tmp_path, "*") == ["a/b/y.md", "a/x.md", "c.md"]


def test_a_file_whose_name_looks_like_a_glob_is_itself(tmp_path: Path) -> None:
    tree(tmp_path, "a[1].md", "a1.md")
    assert found(tmp_path, "a[1].md") == ["a[1].md"]


def test_a_glob_works_below_a_folder_whose_name_looks_like_one(tmp_path: Path) -> None:
    tree(tmp_path, "[x]/a.md")
    assert found(tmp_path / "[x]", "*.md") == ["a.md"]


def test_what_cannot_be_taken_is_an_error_for_that_path_alone(tmp_path: Path) -> None:
    tree(tmp_path, "a.md", "photo.png", "dir.md/b.md")
    (tmp_path / "gone.md").symlink_to("nowhere")
    result = find_documents(["none.md", "photo.png", "*.rst", "gone.md", "a.md"], tmp_path)
    reasons = {source.rsplit("/", 1)[-1]: reason for source, reason in result.failed}
    assert list(reasons) == ["none.md", "photo.png", "*.rst", "gone.md"]
    assert reasons["none.md"] == "does not exist"
    assert "html" in reasons["photo.png"]
    assert reasons["*.rst"] == "matches nothing"
    assert reasons["gone.md"] == "is a dangling symbolic link"
    assert [Path(file.source).name for file in result.files] == ["a.md"]


def test_a_name_that_is_not_utf8_is_an_error_that_can_be_printed(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.md")).write_text("x")
    result = find_documents([os.fsdecode(b"\xff.md")], tmp_path)
    assert result.files == ()
    assert result.failed[0][0].encode("utf-8").endswith(rb"\xff.md")
    assert find_documents(["."], tmp_path).failed == result.failed


def test_in_a_folder_a_document_that_cannot_be_taken_is_named(tmp_path: Path) -> None:
    tree(tmp_path, "a.md")
    (tmp_path / "gone.md").symlink_to("nowhere")
    (tmp_path / "round.md").symlink_to("round.md")
    os.mkfifo(tmp_path / "pipe.md")
    result = find_documents(["."], tmp_path)
    assert [(source.rsplit("/", 1)[-1], reason) for source, reason in result.failed] == [
        ("gone.md", "is a dangling symbolic link"),
        ("pipe.md", "is not a regular file"),
        ("round.md", "cannot be read: Too many levels of symbolic links"),
    ]


def test_the_reason_is_the_true_one(tmp_path: Path) -> None:
    tree(tmp_path, "a.md")
    paths = ["file:///a.md", "http://example.org/a.md", "x" * 300 + ".md", "a.md/b.md", "/dev/null"]
    reasons = [reason for _, reason in find_documents(paths, tmp_path).failed]
    assert "without file://" in reasons[0]
    assert "lightragctl ingest - --source http://example.org/a.md" in reasons[1]
    assert reasons[2:] == ["cannot be read: File name too long", "does not exist", "is not a regular file"]


def test_a_named_pipe_is_read_like_standard_input(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found = find_documents([str(tmp_path / "pipe"), "/dev/fd/0", "-", "-"], tmp_path)
    assert found.streams == (str(tmp_path / "pipe"), "/dev/fd/0", "-")
    assert found.files == found.failed == ()


@pytest.mark.parametrize("data", [b"", b" \r\n\t", b"\xef\xbb\xbf", "\u200b".encode(), "\u2060\u200e\u00a0".encode()])
def test_a_file_without_text_is_an_error(tmp_path: Path, data: bytes) -> None:
    assert refusal_of(tmp_path, data) == "has no text"


def test_a_page_without_text_is_an_error(tmp_path: Path) -> None:
    assert refusal_of(tmp_path, b"<head><title>T</title></head><script>x()</script>", "a.html") == "has no text"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"<!doctype html><p>H<sub>2</sub>O", "H_2O"),
        (b"\xef\xbb\xbf  <!-- c --><HTML><p>H<sub>2</sub>O", "H_2O"),
        (b"<?xml version='1.0'?>\n<html><p>H<sub>2</sub>O", "H_2O"),
        ("<html><p>H<sub>2</sub>O".encode("utf-16"), "H_2O"),
        (b"<h1>A</h1>\n<p>H<sub>2</sub>O</p>\n", "# A\n\nH_2O"),
        (b'<p align="center">logo</p>\n\n# Readme\n\nText.', '<p align="center">logo</p>\n\n# Readme\n\nText.'),
        (b"plain <b>text", "plain <b>text"),
        (pdf("A line."), "A line."),
        (docx("Head", "Line."), "# Head\n\nLine."),
    ],
)
def test_the_kind_of_what_comes_from_a_pipe_is_told_by_its_first_bytes(data: bytes, text: str) -> None:
    assert piped(data).text.strip() == text


def test_a_pipes_name_may_tell_its_kind(tmp_path: Path) -> None:
    assert piped(b"H<sub>2</sub>O", "water.html").text == "H_2O"
    assert piped(b"<html><p>text", "page.md").text == "<html><p>text"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an encrypted or legacy Office file"),
        (b"{\\rtf1 text}", "is rich text"),
        (b"PK\x03\x04", "is not a readable Word document"),
        (b"%PDF-1.7\0\0", "is not a readable PDF"),
    ],
)
def test_a_file_that_its_name_belies_is_told(tmp_path: Path, data: bytes, says: str) -> None:
    assert refusal_of(tmp_path, data).startswith(says)


def test_a_word_document_under_another_name_is_read_as_one(tmp_path: Path) -> None:
    assert "Line." in text_of(tmp_path, docx("Head", "Line."), "a.txt")


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LightragctlError, match="cannot be read: No such file"):
        read_document(DocumentFile(str(tmp_path / "gone.md"), 0))


def test_line_ends_control_characters_and_accents_become_one_form() -> None:
    assert clean_text("\ud800") == "\ufffd"
    assert clean_text("a\r\nb\rc\x0cd\x00\x1b[1m\ufeffe\u0301\tf\u00ad\u2028g") == "a\nb\nc\nd[1mé\tf\ng"


@given(st.text())
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once
    assert not any(ord(char) < 0x20 and char not in "\n\t" for char in once)


def test_the_hash_is_of_the_text_not_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes("é\r\n".encode("utf-16"))
    (tmp_path / "b.md").write_bytes("e\u0301\n".encode())
    hashes = {read_document(file).sha256 for file in find_documents(["."], tmp_path).files}
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.pdf", b"not a pdf", "is not a readable PDF"),
        ("a.pdf", pdf("x" * 50)[:300], "is not a readable PDF"),
        ("a.pdf", pdf(" "), "has no text"),
        ("a.docx", b"not a zip", "is not a readable Word document"),
        ("a.docx", docx("x")[:200], "is not a readable Word document"),
        ("a.docx", b"PK\x05\x06" + b"\0" * 18, "is not a readable Word document"),
    ],
)
def test_a_broken_office_file_is_told(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    assert refusal_of(tmp_path, data, name).startswith(says)
