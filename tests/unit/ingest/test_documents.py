"""Documents: which files are taken, and what text comes out of them."""

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightragctl.core.errors import LightragctlError
from lightragctl.ingest.documents import (
    DocumentFile,
    clean_text,
    docx_to_markdown,
    find_documents,
    html_to_markdown,
    read_document,
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
    return read_document(DocumentFile(str(path), len(data)), io.BytesIO()).text


def refusal_of(root: Path, data: bytes, name: str = "a.txt") -> str:
    with pytest.raises(LightragctlError) as caught:
        text_of(root, data, name)
    return caught.value.message


def test_a_folder_gives_its_documents_sorted_without_hidden_ones(tmp_path: Path) -> None:
    tree(tmp_path, "b.md", "a/z.HTML", "a/c.rst", ".git/x.md", "a/.hidden.md", "picture.png", "d.markdown")
    assert found(tmp_path, ".") == ["a/c.rst", "a/z.HTML", "b.md", "d.markdown"]
    assert find_documents(["."], tmp_path).skipped == 1


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
    assert reasons["gone.md"] == "is a link to nothing"
    assert [Path(file.source).name for file in result.files] == ["a.md"]


def test_a_name_that_is_not_utf8_is_an_error_that_can_be_printed(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.md")).write_text("x")
    result = find_documents([os.fsdecode(b"\xff.md")], tmp_path)
    assert result.files == ()
    assert result.failed[0][0].encode("utf-8").endswith(rb"\xff.md")


def test_standard_input_is_a_document_named_stdin(tmp_path: Path) -> None:
    (file,) = find_documents(["-", "-"], tmp_path).files
    document = read_document(file, io.BytesIO("问题与回答".encode()))
    assert (document.source, document.text) == ("stdin", "问题与回答")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_chinese_text_is_read_in_every_usual_encoding(tmp_path: Path, encoding: str) -> None:
    assert text_of(tmp_path, CHINESE.encode(encoding)) == CHINESE


@pytest.mark.parametrize(
    "data",
    [
        "Käse, Müsli und Größe".encode("latin-1"),
        "Справка по установке системы на ваш компьютер".encode("koi8-r"),
        "이 문서는 시스템을 설치하고 사용하는 방법을 설명합니다".encode("euc-kr"),
        bytes(range(1, 256)),
    ],
    ids=["latin-1", "koi8-r", "euc-kr", "all-bytes"],
)
def test_other_encodings_are_refused_rather_than_read_as_wrong_chinese(tmp_path: Path, data: bytes) -> None:
    assert "neither UTF-8 nor" in refusal_of(tmp_path, data)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    assert "NUL" in refusal_of(tmp_path, b"%PDF-1.7\0\0")


@pytest.mark.parametrize("data", [b"", b" \r\n\t", b"\xef\xbb\xbf", "\u200b".encode()])
def test_a_file_without_text_is_an_error(tmp_path: Path, data: bytes) -> None:
    assert refusal_of(tmp_path, data) == "has no text"


def test_a_page_without_text_is_an_error(tmp_path: Path) -> None:
    assert refusal_of(tmp_path, b"<head><title>T</title></head><script>x()</script>", "a.html") == "has no text"


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LightragctlError, match="cannot be read: No such file"):
        read_document(DocumentFile(str(tmp_path / "gone.md"), 0), io.BytesIO())


def test_line_ends_control_characters_and_accents_become_one_form() -> None:
    assert clean_text("a\r\nb\rc\x0cd\x00\x1b[1m\ufeffe\u0301\tf\u00ad\u2028g") == "a\nb\nc\nd[1mé\tf\ng"


@given(st.text())
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once
    assert not any(ord(char) < 0x20 and char not in "\n\t" for char in once)


def test_the_hash_is_of_the_text_not_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes("é\r\n".encode("utf-16"))
    (tmp_path / "b.md").write_bytes("e\u0301\n".encode())
    hashes = {read_document(file, io.BytesIO()).sha256 for file in find_documents(["."], tmp_path).files}
    assert len(hashes) == 1


def test_a_page_becomes_markdown_without_what_is_not_text() -> None:
    html = """<?xml version="1.0"?><!DOCTYPE html><html><head><title>no</title><style>no</style></head><body>
    <nav>no</nav><!-- no --><h2>Snake_case *here*</h2><p>See <a href="https://example.org/x" title="no">there</a>,
    <a href="#no">below</a>.</p><script>no()</script><img src="data:image/png;base64,no" alt="A picture">
    <pre><code># code</code></pre></body></html>"""
    markdown = html_to_markdown(html)
    assert "## Snake_case *here*" in markdown
    assert "[there](https://example.org/x)," in markdown
    assert "below." in markdown
    assert "A picture" in markdown
    assert "```\n# code\n```" in markdown
    assert "no" not in markdown.split()
    assert "xml" not in markdown


def test_a_page_says_its_encoding(tmp_path: Path) -> None:
    meta = '<meta http-equiv="Content-Type" content="text/html; charset={}">'
    assert CHINESE in text_of(tmp_path, (meta.format("gb2312") + f"<p>{CHINESE}").encode("gb18030"), "a.html")
    assert "漢字" in text_of(tmp_path, (meta.format("iso-2022-jp") + "<p>漢字").encode("iso-2022-jp"), "b.html")
    assert "“é”" in text_of(tmp_path, (meta.format("iso-8859-1") + "<p>“é”").encode("cp1252"), "c.html")


@pytest.mark.parametrize("charset", ["utf-16", "iso-8859-1", "no-such-thing", "base64"])
def test_a_page_that_is_utf8_is_read_as_such_whatever_it_says(tmp_path: Path, charset: str) -> None:
    page = f'<meta charset="{charset}"><p>{CHINESE} é'
    assert f"{CHINESE} é" in text_of(tmp_path, page.encode(), "a.html")
    assert "plain" in text_of(tmp_path, f'<meta charset="{charset}"><p>plain'.encode(), "b.html")


def test_a_page_nested_too_deeply_is_an_error() -> None:
    with pytest.raises(LightragctlError, match="nested too deeply"):
        html_to_markdown("<div>" * 20_000 + "x")


def test_a_pdf_gives_the_text_of_its_pages_in_both_languages(tmp_path: Path) -> None:
    data = pdf("The roof leaks in spring.", CHINESE)
    text = text_of(tmp_path, data, "a.pdf")
    assert "The roof leaks in spring." in text
    assert CHINESE in text
    assert text.index("roof") < text.index(CHINESE)


def test_a_word_document_becomes_markdown(tmp_path: Path) -> None:
    text = text_of(tmp_path, docx("On roofs", "They leak & drip.", CHINESE), "a.docx")
    assert "# On roofs" in text
    assert "They leak & drip." in text
    assert CHINESE in text


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.pdf", b"not a pdf", "is not a PDF that can be read"),
        ("a.pdf", pdf("x" * 50)[:300], "is not a PDF that can be read"),
        ("a.pdf", pdf(" "), "has no text"),
        ("a.docx", b"not a zip", "is not a Word document"),
        ("a.docx", docx("x")[:200], "is not a Word document"),
        ("a.docx", b"PK\x05\x06" + b"\0" * 18, "is not a Word document"),
    ],
)
def test_a_broken_office_file_is_told(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    assert refusal_of(tmp_path, data, name).startswith(says)


def test_a_word_document_that_unpacks_to_too_much_is_refused() -> None:
    with pytest.raises(LightragctlError, match=r"unpacks to .* more than 1,000"):
        docx_to_markdown(docx("x" * 2000), most_bytes=1000)
