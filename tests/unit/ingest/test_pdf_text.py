"""PDFs: scripts, form fields, and what is named as left out."""

import pytest

from lightragctl.ingest.pdf_text import pdf_to_text
from tests.fakes.office import pdf, pdf_of, pdf_text

DRAWN = "10 10 100 100 re f"


def line(*pieces: tuple[str, int, int]) -> str:
    """Pieces of text one after the other, each with its size and its rise in points."""
    shown = " ".join(f"/F1 {size} Tf {rise} Ts {pdf_text(text)} Tj" for text, size, rise in pieces)
    return f"BT 50 700 Td {shown} ET"


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([("10", 12, 0), ("6", 8, 5), (" litres", 12, 0)], "10^6 litres"),
        ([("10", 12, 0), ("-9", 8, 5), (" g", 12, 0)], "10^-9 g"),
        ([("H", 12, 0), ("2", 8, -3), ("O", 12, 0)], "H_2O"),
        ([("BIG", 20, 0), ("small", 9, 0)], "BIGsmall"),
        ([("10", 12, 0), ("6", 12, 5)], "106"),
    ],
)
def test_smaller_characters_above_or_below_the_line_are_scripts(pieces: list[tuple[str, int, int]], text: str) -> None:
    assert pdf_to_text(pdf_of(line(*pieces))).text.strip() == text


def test_pages_that_show_something_but_hold_no_text_are_named() -> None:
    extracted = pdf_to_text(pdf_of(line(("one", 12, 0)), DRAWN, "", DRAWN))
    assert extracted.text.strip() == "one"
    assert extracted.left_out == ("pages that are images without text (2, 4)",)


def test_form_fields_are_kept_with_their_names_and_notes_are_named() -> None:
    field = "<< /Type /Annot /Subtype /Widget /FT /Tx /T (city) /V (Graz) /Rect [50 500 200 520] >>"
    secret = "<< /Type /Annot /Subtype /Widget /FT /Tx /Ff 8192 /T (pin) /V (1234) /Rect [50 400 200 420] >>"
    note = "<< /Type /Annot /Subtype /Text /Contents (check this) /Rect [50 600 70 620] >>"
    form = "/AcroForm << /Fields [7 0 R 8 0 R] >>"
    data = pdf_of(line(("one", 12, 0)), page="/Annots [7 0 R 8 0 R 9 0 R]", catalog=form, further=(field, secret, note))
    extracted = pdf_to_text(data)
    assert "city: Graz" in extracted.text
    assert "1234" not in extracted.text
    assert extracted.left_out == ("annotations",)


def test_an_ordinary_document_leaves_nothing_out() -> None:
    assert pdf_to_text(pdf("one", "two")).left_out == ()
