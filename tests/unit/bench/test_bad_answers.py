"""Examples of bad answers: bounded, on one line that no terminal obeys, without secrets."""

import pytest

from lightragctl.bench.bad_answers import EXCERPT_CHARS, KEPT_BYTES, bad_answer, example, words

SECRETS = ["p%40ss", "p@ss"]


@pytest.mark.parametrize(
    ("body", "start"),
    [
        (b"<html>\n\x1b[2Jsign in", r"<html>\n\x1b[2Jsign in"),
        ("‮abc\u200b 知识".encode(), r"\u202eabc\u200b 知识"),
        (b"\x1f\x8b\x08\xff", r"\x1f\x8b\x08\xff"),
        (b"key p@ss or p%40ss is wrong", "key *** or *** is wrong"),
        (b"", ""),
    ],
)
def test_the_start_of_a_body_is_one_printable_line_without_secrets(body: bytes, start: str) -> None:
    assert example(bad_answer("bad-body", 200, body), SECRETS).start == start


def test_a_long_body_is_cut_for_the_pipe_and_for_the_eye() -> None:
    found = bad_answer("bad-body", 200, "é".encode() * 5000)
    shown = example(found, ())
    assert (len(found.body), found.size_bytes) == (KEPT_BYTES, 10_000)
    assert shown.start == "é" * EXCERPT_CHARS + "…"
    assert len(example(bad_answer("bad-body", 200, b"\x00" * 5000), ()).start) == EXCERPT_CHARS + 1


def test_a_secret_where_the_excerpt_is_cut_does_not_show_its_begin() -> None:
    body = b"x" * (EXCERPT_CHARS - 3) + b"p%40ss" + b"y"
    assert example(bad_answer("http", 401, body), SECRETS).start.endswith("x***…")


def test_a_redirect_is_told_with_where_it_leads_but_not_with_its_token() -> None:
    found = bad_answer("http", 302, b"moved", location="https://me:p@login/x?token=s3cret&next=/r\x1b[2J")
    shown = example(found, ())
    assert shown.location == "https://***@login/x?token=***&next=***"
    assert words(shown) == "first http: status 302, to https://***@login/x?token=***&next=***, 5 bytes: moved"


def test_an_answer_that_says_nothing_is_told_too() -> None:
    assert words(example(bad_answer("http", 503, b""), ())) == "first http: status 503, 0 bytes, without a body"
