"""Chunks: what a reader finds in them, and what holds for every text there is."""

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lightragctl.core.chunking import MAX_CHUNK_BYTES, chunk_text, count_tokens
from lightragctl.core.settings import Chunking

NO_OVERLAP = Chunking(size_tokens=16, overlap_tokens=0)
MARKED = ["é", "e\u0301", "👩\u200d💻", "👍🏽", "ไทย", "한국어", "𠀀"]
ENDS = ["。", "！", "…", "”", "? ", ". ", "\n", "\n\n", "\r\n", "\x0c", " ", "\t", "\u3000"]
PIECES = st.sampled_from(
    ["a", "Word", "中", "文字", "12", "# T\n", "====\n", "```\n", "- x\n", "-----", *MARKED, *ENDS]
)
TEXTS = st.one_of(st.text(max_size=300), st.lists(PIECES, max_size=200).map("".join))
CHUNKINGS = st.integers(16, 64).flatmap(
    lambda size: st.builds(Chunking, size_tokens=st.just(size), overlap_tokens=st.integers(0, size // 2))
)


def texts(text: str, size: int = 16, overlap: int = 0) -> list[str]:
    return [chunk.text for chunk in chunk_text(text, Chunking(size_tokens=size, overlap_tokens=overlap))]


def squeezed(text: str) -> str:
    return "".join(text.split())


@given(TEXTS, CHUNKINGS)
@example("\ud800" * 50, NO_OVERLAP)
def test_every_chunk_is_a_piece_of_the_text_within_the_size(text: str, chunking: Chunking) -> None:
    chunks = chunk_text(text, chunking)
    assert [chunk.order for chunk in chunks] == list(range(len(chunks)))
    for chunk in chunks:
        assert chunk.text
        assert chunk.text == chunk.text.strip()
        assert chunk.text in text
        assert chunk.tokens == count_tokens(chunk.text) <= chunking.size_tokens


@given(TEXTS)
def test_without_overlap_the_chunks_together_are_the_text(text: str) -> None:
    assert squeezed("".join(texts(text))) == squeezed(text)


@given(TEXTS, CHUNKINGS)
def test_with_overlap_each_chunk_begins_no_later_than_the_one_before_ended(text: str, chunking: Chunking) -> None:
    whole, covered = squeezed(text), 0
    for chunk in chunk_text(text, chunking):
        piece = squeezed(chunk.text)
        begin = whole.rfind(piece, 0, covered + len(piece))  # the same piece may stand earlier too
        assert begin >= 0
        covered = begin + len(piece)
    assert covered == len(whole)


@given(TEXTS, TEXTS)
def test_a_text_has_no_more_tokens_than_its_parts(first: str, second: str) -> None:
    assert count_tokens(f"{first} {second}") <= count_tokens(first) + count_tokens(second)


def test_a_run_of_letters_that_is_no_word_counts_for_many_tokens() -> None:
    assert count_tokens("acgt" * 100) > 150  # the model makes 200 of it


@given(TEXTS, CHUNKINGS)
def test_the_same_text_gives_the_same_chunks(text: str, chunking: Chunking) -> None:
    assert chunk_text(text, chunking) == chunk_text(text, chunking)


@pytest.mark.parametrize("text", ["", " \n\t\u3000", "\n" * 1000])
def test_white_space_gives_no_chunk(text: str) -> None:
    assert texts(text) == []


@pytest.mark.parametrize(
    ("text", "real_tokens"),
    [
        ("Debian is a free operating system for your computer.", 11),
        ("Debian 是一个自由的操作系统，可以安装在您的电脑上。", 16),
        ("def count_tokens(text: str) -> int:", 15),
        ("https://www.debian.org/doc/manuals/debian-faq/", 20),
    ],
)
def test_the_estimate_is_near_what_the_model_counts(text: str, real_tokens: int) -> None:
    assert real_tokens * 0.7 <= count_tokens(text) <= real_tokens * 1.4


def test_a_chunk_ends_after_a_sentence_in_english() -> None:
    assert texts("The cat sat on the mat today. The dog ran over the hill again. It rained e.g. in May.") == [
        "The cat sat on the mat today.",
        "The dog ran over the hill again.",
        "It rained e.g. in May.",
    ]


def test_a_chunk_ends_after_a_sentence_in_chinese_with_its_closing_quote() -> None:
    assert texts(
        "他说：“今天的天气真的非常非常好！”我们一起去公园散步吧。你愿意和我们一起来吗？好的……我马上就到那里去。"
    ) == [
        "他说：“今天的天气真的非常非常好！”",
        "我们一起去公园散步吧。你愿意和我们一起来吗？",
        "好的……我马上就到那里去。",
    ]


def test_a_heading_begins_a_chunk_and_stays_with_its_text() -> None:
    text = "Before.\n\n# One\n\n## Part\n\nFirst text.\n\n## Other\nSecond text.\n"
    assert texts(text, size=64) == ["Before.", "# One\n\n## Part\n\nFirst text.", "## Other\nSecond text."]


def test_a_heading_stays_with_a_sentence_as_long_as_a_chunk() -> None:
    first = texts(f"# Title\n\n{'word ' * 15}", size=16)[0]
    assert first.startswith("# Title\n\nword")


@pytest.mark.parametrize("title", ["Title\n=====", "Title\n-----", "=====\nTitle\n====="])
def test_an_underlined_title_begins_a_chunk(title: str) -> None:
    assert texts(f"Before.\n\n{title}\n\nText.\n", size=64) == ["Before.", f"{title}\n\nText."]


def test_a_comment_in_code_is_no_heading() -> None:
    text = "```sh\nls\n\n# not a heading\n```\n\n# Heading\nText."
    assert texts(text, size=64) == ["```sh\nls\n\n# not a heading\n```", "# Heading\nText."]


def test_whole_sentences_are_repeated_inside_a_section_only() -> None:
    text = "# A\nOne two three four. Five six seven eight. Nine ten eleven twelve.\n# B\nThirteen."
    assert texts(text, size=16, overlap=8) == [
        "# A\nOne two three four. Five six seven eight.",
        "Five six seven eight. Nine ten eleven twelve.",
        "# B\nThirteen.",
    ]


def test_a_mark_stays_on_its_character() -> None:
    text = "e\u0301" * 100 + "👩\u200d💻" * 100
    for piece in texts(text):
        assert piece[0] not in "\u0301\u200d"
        assert piece[-1] != "\u200d"


@pytest.mark.parametrize(
    "text",
    [
        "x" * 100_000,
        "中" * 100_000,
        "e" + "\u0301" * 100_000,
        "a" + " " * 100_000 + "b",
        ("." * 500 + " " * 500 + "a") * 100,
        "====\n" * 20_000,
        "# x\n" * 20_000,
        "`" * 100_000,
    ],
    ids=["letters", "han", "marks", "spaces", "dots", "underlines", "headings", "backquotes"],
)
def test_a_monster_is_cut_in_linear_time(text: str) -> None:
    begun = time.perf_counter()
    chunks = chunk_text(text, Chunking())
    assert time.perf_counter() - begun < 5  # takes 0.1 s; quadratic took minutes
    assert squeezed(text)[-1] == squeezed(chunks[-1].text)[-1]


@settings(max_examples=20, deadline=None)
@given(st.sampled_from("=中𠀀a\u0301 "), st.sampled_from([1024, 8192]))
def test_a_chunk_fits_the_field_it_is_stored_in(char: str, size: int) -> None:
    for chunk in chunk_text(f"x{char * 100_000}x", Chunking(size_tokens=size)):
        assert len(chunk.text.encode()) <= MAX_CHUNK_BYTES
