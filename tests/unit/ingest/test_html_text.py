"""Web pages: what a reader sees is in the text, with what its place means; the rest is named."""

import pytest

from lightragctl.core.errors import LightragctlError
from lightragctl.ingest.html_text import html_to_markdown


def text_of(html: str) -> str:
    return html_to_markdown(html).text


def lines_of(html: str) -> list[str]:
    return [line.strip() for line in text_of(html).splitlines() if line.strip()]


def test_a_page_becomes_markdown_without_what_is_not_text() -> None:
    html = """<?xml version="1.0"?><!DOCTYPE html><html><head><title>About</title><style>no</style></head><body>
    <nav>no</nav><!-- no --><h2>Snake_case *here*</h2><p>See <a href="https://example.org/x" title="no">there</a>,
    <a href="#no">below</a>.</p><script>no()</script><img src="data:image/png;base64,no" alt="A picture">
    <pre><code># code</code></pre></body></html>"""
    markdown = text_of(html)
    assert markdown.startswith("# About\n\n")
    assert "## Snake_case *here*" in markdown
    assert "[there](https://example.org/x)," in markdown
    assert "below." in markdown
    assert "A picture" in markdown
    assert "```\n# code\n```" in markdown
    assert "no" not in markdown.split()
    assert "xml" not in markdown


def test_tags_that_a_page_may_leave_out_are_there() -> None:
    assert lines_of(
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>T</title><body><h1>H</h1><p>one<p>two"
    ) == [
        "# T",
        "# H",
        "one",
        "two",
    ]
    table = "<table><tr><th>Pump<th>bar<tr><td>P-17<td>42<tr><td>P-18<td>57</table>"
    assert lines_of(table) == ["| Pump | bar |", "| --- | --- |", "| P-17 | 42 |", "| P-18 | 57 |"]
    assert lines_of("<ul><li>one<li>two<ul><li>in</ul></ul>") == ["* one", "* two", "+ in"]


@pytest.mark.parametrize("title", ["Walnuts", " Walnuts\n"])
def test_a_title_that_is_the_first_heading_is_not_repeated(title: str) -> None:
    assert text_of(f"<title>{title}</title><h1>Walnuts</h1><p>x") == "# Walnuts\n\nx"


def test_a_page_of_nothing_but_a_title_has_no_text() -> None:
    assert text_of("<title>App</title><div id=root></div><script>x()</script>").strip() == ""


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("10<sup>6</sup>", "10^6"),
        ("10<sup>-9</sup>", "10^-9"),
        ("H<sub>2</sub>O", "H_2O"),
        ("SO<sub>4</sub><sup>2-</sup>", "SO_4^2-"),
        ("x<sup>n + 1</sup>", "x^(n + 1)"),
        ("a<sub>i,j</sub>", "a_(i,j)"),
        ("e<sup>x<sup>2</sup></sup>", "e^(x^2)"),
        ("word<sup><a href='#1'>[1]</a></sup>", "word[1]"),
        ("the 1<sup>st</sup>", "the 1st"),
        ("m<span style='vertical-align: super'>2</span>", "m^2"),
        ("<pre>m<sup>2</sup></pre>", "```\nm^2\n```"),
        ("<math><msup><mi>x</mi><mn>2</mn></msup><mo>=</mo><mfrac><mi>a</mi><mi>b</mi></mfrac></math>", "x^2=(a)/(b)"),
        (
            "<math><semantics><mi>x</mi><annotation encoding='application/x-tex'>x_{1}</annotation></semantics></math>",
            "x_{1}",
        ),
        ("漢<ruby>字<rp>(</rp><rt>じ</rt><rp>)</rp></ruby>", "漢字(じ)"),
    ],
)
def test_what_the_place_of_a_character_means_is_kept(html: str, text: str) -> None:
    assert text_of(f"<p>{html}</p>" if not html.startswith("<pre") else html) == text


@pytest.mark.parametrize(
    "html",
    [
        "<details><summary>one</summary>two</details>",
        "<fieldset><legend>one</legend>two</fieldset>",
        "<address>one</address>two",
        "<figure>one<figcaption>two</figcaption></figure>",
        "<select><option>one<option>two</select>",
        "<header>one</header><main>two</main>",
        "one<br>two",
        "<x-card><x-row>one</x-row><x-row>two</x-row></x-card>",
        "<p><span style='display:block'>one</span><span style='display: block'>two</span>",
        "<svg><text>one</text><text>two</text></svg>",
        "<textarea>one\ntwo</textarea>",
        "<xmp>one\ntwo</xmp>",
        "<iframe srcdoc='<p>one<p>two'></iframe>",
        "<table><tr><td><table><tr><td>one</table><td>two</table>",
    ],
)
def test_what_stands_on_lines_of_its_own_is_not_glued_together(html: str) -> None:
    shown = [line.strip("| ") for line in lines_of(html)]
    assert [line for line in shown if line in ("one", "two")] == ["one", "two"]


def test_terms_and_what_they_mean_are_told_apart() -> None:
    assert lines_of("<dl><dt>A<dd>one<dt>B<dd>two</dl>") == ["A", ":   one", "B", ":   two"]


def test_an_unknown_element_within_a_sentence_stays_in_it() -> None:
    assert text_of("<p>press <x-key>Enter</x-key> now") == "press Enter now"


def test_form_fields_show_their_values() -> None:
    form = "<label>Name</label><input value=Ann><input type=password value=x><li><input type=checkbox checked>done"
    assert text_of(form).split() == ["Name", "Ann", "-", "[x]", "done"]


def test_a_cell_over_several_rows_is_in_each_of_them() -> None:
    table = "<table><tr><th>a<th>b<tr><td rowspan=2>P<td>1<tr><td>2|3</table>"
    assert lines_of(table)[2:] == ["| P | 1 |", r"| P | 2\|3 |"]


def test_a_table_within_a_table_of_data_keeps_the_rows() -> None:
    inner = "<table><tr><td>i<td>j</table>"
    table = f"<table><tr><th>a<th>b<tr><td>long text of a cell<td>{inner}<tr><td>other long text<td>2</table>"
    assert lines_of(table)[2:] == ["| long text of a cell | i, j |", "| other long text | 2 |"]


@pytest.mark.parametrize(
    ("html", "named"),
    [
        ("<p hidden>x", "hidden text"),
        ("<p style='color:red; display: none'>x", "hidden text"),
        ("<p style='visibility:hidden'>x", "hidden text"),
        ("<dialog>x</dialog>", "hidden text"),
        ("<noscript>x</noscript>", "noscript text"),
        ("<template><p>x</template>", "templates"),
        ("<!-- x -->", "comments"),
        ("<nav>x</nav>", "navigation"),
        ("<iframe srcdoc='<p hidden>x'></iframe>", "hidden text"),
    ],
)
def test_what_a_reader_does_not_see_is_left_out_and_named(html: str, named: str) -> None:
    extracted = html_to_markdown(f"<p>shown</p>{html}")
    assert extracted.left_out == (named,)
    assert "x" not in extracted.text
    assert "shown" in html_to_markdown("<p hidden></p><nav></nav><!-- - --><noscript></noscript>shown").text
    assert html_to_markdown("<p hidden></p><nav></nav><!-- - --><noscript></noscript>shown").left_out == ()


def test_a_page_nested_too_deeply_is_an_error() -> None:
    with pytest.raises(LightragctlError, match="too deeply nested"):
        html_to_markdown("<div>" * 5_000 + "x")
    assert text_of("<div>" * 290 + "x") == "x"


@pytest.mark.parametrize("tag", ["math", "math><msqrt", "math><mtable", "ruby><rt", "x-y", "mtr", "svg><foreignobject"])
def test_words_in_an_unexpected_place_are_not_lost(tag: str) -> None:
    extracted = html_to_markdown(f"<p>one <{tag}>two <b>three</b> four")
    assert all(word in extracted.text for word in ("one", "two", "three", "four"))


def test_text_that_is_left_out_is_named_wherever_it_stands_in_there() -> None:
    assert html_to_markdown("<p>a<nav><template>x</template></nav>").left_out == ("navigation",)
    assert html_to_markdown("<p>a<nav><ruby><rt>x</ruby></nav>").left_out == ("navigation",)
