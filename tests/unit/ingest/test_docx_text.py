"""Word documents: what is kept, with what its place means, and what is named as left out."""

import contextlib
import zlib

import pytest

from lightragctl.core.errors import LightragctlError
from lightragctl.ingest.docx_text import docx_to_markdown
from lightragctl.ingest.extraction import Extracted
from tests.fakes.office import docx, docx_of

MOST_BYTES = 1_000_000


def extracted(body: str, styles: str = "", **parts: str) -> Extracted:
    return docx_to_markdown(docx_of(body, styles, **parts), MOST_BYTES)


def paragraph(*runs: str) -> str:
    return f"<w:p>{''.join(runs)}</w:p>"


def run(text: str, look: str = "") -> str:
    return f'<w:r><w:rPr>{look}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


def style(name: str, look: str, based_on: str = "") -> str:
    based = f'<w:basedOn w:val="{based_on}"/>' if based_on else ""
    return f'<w:style w:type="character" w:styleId="{name}">{based}<w:rPr>{look}</w:rPr></w:style>'


def test_headings_and_paragraphs_become_markdown() -> None:
    text = docx_to_markdown(docx("On roofs", "They leak & drip."), MOST_BYTES).text
    assert text == "# On roofs\n\nThey leak & drip."


@pytest.mark.parametrize(
    "look",
    [
        '<w:vertAlign w:val="superscript"/>',
        '<w:rStyle w:val="Raised"/>',
        '<w:rStyle w:val="Derived"/>',
        '<w:position w:val="6"/>',
    ],
)
def test_raised_characters_are_told_from_others(look: str) -> None:
    styles = style("Raised", '<w:vertAlign w:val="superscript"/>') + style("Derived", "", "Raised")
    assert extracted(paragraph(run("10"), run("6", look), run(" litres")), styles).text == "10^6 litres"


def test_formulas_are_in_their_places() -> None:
    def part(name: str, text: str) -> str:
        return f"<m:{name}><m:r><m:t>{text}</m:t></m:r></m:{name}>"

    power = f"<m:sSup>{part('e', 'x')}{part('sup', '2')}</m:sSup>"
    fraction = f"<m:f>{part('num', 'a')}{part('den', 'b')}</m:f>"
    sign = '<m:naryPr><m:chr m:val="\u2211"/></m:naryPr>'
    total = f"<m:nary>{sign}{part('sub', 'i=1')}{part('sup', 'n')}{part('e', 'i')}</m:nary>"
    formula = f"<m:oMath>{power}<m:r><m:t>=</m:t></m:r>{fraction}</m:oMath>"
    body = paragraph(run("The law "), formula, run(" holds.")) + paragraph(
        f"<m:oMathPara><m:oMath>{total}</m:oMath></m:oMathPara>"
    )
    assert extracted(body).text == "The law x^2=(a)/(b) holds.\n\n\u2211_(i=1)^n i"


def test_page_headers_come_first_and_footers_last_each_once() -> None:
    parts = {
        "header1": paragraph(run("Manual")),
        "header2": paragraph(run("Manual")),
        "footer1": paragraph(run("Rev 4")),
    }
    assert extracted(paragraph(run("Text.")) + "<w:sectPr/>", **parts).text == "Manual\n\nText.\n\nRev 4"


@pytest.mark.parametrize(
    "box",
    [
        "<w:pict><v:shape><v:textbox><w:txbxContent>{}</w:txbxContent></v:textbox></v:shape></w:pict>",
        "<w:drawing><a:x><w:txbxContent>{}</w:txbxContent></a:x></w:drawing>",
        "<mc:AlternateContent><mc:Choice><w:drawing><a:x><w:txbxContent>{}</w:txbxContent></a:x></w:drawing></mc:Choice>"
        "</mc:AlternateContent>",
    ],
    ids=["old", "new", "new-alone"],
)
def test_text_boxes_are_kept(box: str) -> None:
    body = paragraph(run("Before."), "<w:r>" + box.format(paragraph(run("In the box."))) + "</w:r>")
    assert extracted(body).text == "Before.\n\nIn the box."


@pytest.mark.parametrize("element", ["fldSimple", "dir", "bdo", "smartTag", "unheardOf"])
def test_text_in_an_element_that_is_not_known_is_kept(element: str) -> None:
    assert extracted(paragraph(run("a "), f"<w:{element}>{run('b')}</w:{element}>", run(" c"))).text == "a b c"


def test_how_characters_are_read_stands_behind_them() -> None:
    ruby = "<w:ruby><w:rt><w:r><w:t>じ</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>字</w:t></w:r></w:rubyBase></w:ruby>"
    assert extracted(paragraph(run("漢"), f"<w:r>{ruby}</w:r>")).text == "漢字(じ)"


@pytest.mark.parametrize(
    ("runs", "named"),
    [
        (run("x", "<w:vanish/>"), "hidden text"),
        (run("x", '<w:rStyle w:val="Gone"/>'), "hidden text"),
        ('<w:del w:id="1"><w:r><w:delText>x</w:delText></w:r></w:del>', "deleted text"),
    ],
)
def test_what_a_reader_does_not_see_is_left_out_and_named(runs: str, named: str) -> None:
    styles = style("Gone", "<w:vanish/>")
    assert extracted(paragraph(run("shown"), runs), styles) == Extracted("shown", (named,))


def test_what_is_said_to_be_shown_is_not_hidden() -> None:
    assert extracted(paragraph(run("shown", '<w:vanish w:val="0"/>'))) == Extracted("shown")


@pytest.mark.parametrize(
    ("part", "content", "named"),
    [
        ("comments", paragraph(run("x")), "comments"),
        ("diagrams/data1", "<a:t>x</a:t>", "SmartArt"),
        ("charts/chart1", "<a:v>x</a:v>", "charts"),
        ("embeddings/oleObject1", "", "embedded objects"),
        ("comments", "", ""),
    ],
)
def test_parts_that_have_no_place_in_a_text_are_named(part: str, content: str, named: str) -> None:
    assert extracted(paragraph(run("shown")), **{part: content}) == Extracted("shown", (named,) if named else ())


def test_a_document_that_unpacks_to_too_much_is_refused() -> None:
    with pytest.raises(LightragctlError, match=r"unpacks to .* more than 1,000"):
        docx_to_markdown(docx("x" * 2000), most_bytes=1000)


def test_a_damaged_document_is_refused_or_read_but_never_a_bug() -> None:
    whole = docx("Head", "Line.")
    for seed in range(200):
        at, byte = zlib.crc32(bytes([seed])) % len(whole), seed
        damaged = whole[:at] + bytes([byte]) + whole[at + 1 :]
        with contextlib.suppress(LightragctlError):
            docx_to_markdown(damaged, MOST_BYTES)
