"""Cutting a document into chunks: the estimate of its tokens, and where the cuts fall. Pure.

A chunk is a contiguous piece of the text of at most `size_tokens`. A heading that has text begins a new chunk; a longer
section is cut after a sentence, or where one is too long, after a line, a word, and only then between characters.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lightragctl.core.settings import Chunking

CHUNKER_VERSION = 1
"""Stored with every document. Raise it with any change that moves a cut or a count: older data are then cut again."""

MAX_CHUNK_BYTES = 65_000  # of UTF-8; LightRAG's `content` field is VARCHAR(65535)

_UPPER = "A-Z\u00c0-\u00de"
_LOWER = "a-z\u00df-\u024f\u0370-\u052f"  # and Greek and Cyrillic, which the model cuts like Latin words
_HAN = "\u3400-\u9fff\uf900-\ufaff"
_RUN = re.compile(
    rf"(?P<word>[{_UPPER}]*[{_LOWER}]+|[{_UPPER}]+)"
    rf"|(?P<han>[{_HAN}]+)"
    r"|(?P<digits>[0-9]+)"
    r"|(?P<mark>(?P<same>[!-/:-@\[-`{-~])(?P=same)*)"
    rf"|(?P<letters>[^\W\d_{_UPPER}{_LOWER}{_HAN}]+)"
    r"|(?P<other>\S)"
)
_COST = {
    "word": (85, 12),
    "han": (62, 62),
    "digits": (60, 45),
    "mark": (125, 30),
    "letters": (90, 30),
    "other": (130, 0),
}
"""Hundredths of a token: of the first character of a run, and of each further one. White space costs nothing."""

_WORD_CHARS = (
    12  # words are mostly shorter; what is longer is cut finely, names in code as well as DNA or random letters
)
_LONG_WORD_COST = 33  # of each character above that, in addition

_ATX = re.compile(r"#{1,6}[ \t]+\S")
_UNDERLINE = re.compile(r"([=\-~^\"*+#])\1{2,}")  # under a title: Markdown's two, and those of reStructuredText
_CLOSERS = "”’」』）】》\"')\\]"
# No possessive quantifiers in these: Python before 3.11.5 has them and gets them wrong.
_SENTENCE = re.compile(rf"[。！？；…]+[{_CLOSERS}]*\s*|(?<![.!?])[.!?]+[{_CLOSERS}]*\s+(?![a-z\s])")
_LINE = re.compile(r"\n+")
_WORD = re.compile(r"\s+")
_PROSE = (_SENTENCE, _LINE, _WORD)
_CODE = (_LINE, _WORD)

_GRAIN_CHARS = 4  # where there is no better cut; with _EXTENDER_CHARS at most 12 x 1.3 tokens: less than the least size
_EXTENDER_CHARS = 8  # marks that may stand on one character; a longer pile is no writing, and is cut
_ZERO_WIDTH_JOINER = "\u200d"


@dataclass(frozen=True)
class Chunk:
    """A piece of a document. `order` counts from 0; `tokens` as `count_tokens` gives them."""

    order: int
    text: str
    tokens: int


@dataclass
class _Block:
    """Lines that belong together: a paragraph, a heading, a fenced piece of code; with the blank lines after it."""

    start: int
    end: int
    heading: bool = False
    fence: str = ""
    lines: int = 1
    open: bool = True


@dataclass(frozen=True)
class _Unit:
    """What is never cut: a sentence, or a piece of one that is too long. `cost` in hundredths of a token."""

    start: int
    end: int
    cost: int
    heading: bool


def count_tokens(text: str) -> int:
    """About how many tokens the model makes of `text`; no vocabulary is needed. Special tokens and prefix not counted.

    Never more for a text than for its parts together, if no word is cut.

    Source:
        Least squares against the tokenizer of multilingual-e5-small. Its tokens per estimated token, over chunks of
        256 (mean, 99th percentile, greatest): English 0.89 1.02 1.04, Chinese 0.99 1.24 1.28, Japanese 0.98 1.20 1.32,
        Korean 1.03 1.21 1.22 (Debian FAQ), Python code 0.99 1.27 1.46, base64 1.65 1.74 1.74. The longest of these
        chunks had 421 real tokens, and the model reads 512. Random letters in words of up to 20 pass that; text does
        not.
        `python -m tests.quality.compare_chunking tokens FOLDER` measures it again.
    """
    return -(-_cost(text) // 100)


def chunk_text(text: str, chunking: Chunking) -> list[Chunk]:
    """The chunks of a document in order; none is empty, and all that is not white space is in one at least.

    Args:
        text: plain text, Markdown or reStructuredText.
        chunking: no chunk has more than `size_tokens`; inside a section a chunk repeats the last whole sentences of the
            one before it, up to `overlap_tokens`.

    Source:
        462 paragraphs of the Debian FAQ, asked for in the other language, chunks of 256, exact search (hit@1, hit@5 in
        English; in Chinese): as here 0.46 0.58; 0.50 0.73. With the section's heading repeated in each of its chunks
        0.45 0.57; 0.53 0.71. With chunks filled across headings 0.45 0.58; 0.48 0.73. These differences are within
        chance (standard error 0.02), so the simplest one stands. Measured once, with a prototype that had both ways.
        `python -m tests.quality.compare_chunking sizes FOLDER` compares sizes and overlaps.
    """
    chunks: list[Chunk] = []
    for section in _sections(text):
        units = list(_units(text, section, chunking.size_tokens))
        for start, end in _pack(units, chunking.size_tokens * 100, chunking.overlap_tokens * 100):
            piece = text[start:end].strip()
            if piece:
                chunks.append(Chunk(len(chunks), piece, count_tokens(piece)))
    return chunks


def _cost(text: str) -> int:
    cost = 0
    for run in _RUN.finditer(text):
        # `same` closes before `mark`, so the last group to close is always the run's own.
        first, further = _COST[run.lastgroup or "other"]
        length = run.end() - run.start()
        cost += first + further * (length - 1)
        if length > _WORD_CHARS and run.lastgroup == "word":
            cost += _LONG_WORD_COST * (length - _WORD_CHARS)
    return cost


def _sections(text: str) -> Iterator[list[_Block]]:
    """Headings, each with the blocks below it; headings without text between them stay together."""
    section: list[_Block] = []
    for block in _blocks(text):
        if block.heading and section and not section[-1].heading:
            yield section
            section = []
        section.append(block)
    if section:
        yield section


def _blocks(text: str) -> list[_Block]:
    blocks: list[_Block] = []
    position = 0
    for line in text.splitlines(keepends=True):
        start, position = position, position + len(line)
        bare = line.strip()
        if not (blocks and _continues(blocks[-1], text, bare)):
            fence = bare[:3] if bare.startswith(("```", "~~~")) else ""
            heading = not fence and bool(_ATX.match(bare))
            blocks.append(_Block(start, position, heading=heading, fence=fence, open=not heading))
        else:
            blocks[-1].end = position
            blocks[-1].lines += 1
    return blocks


def _continues(block: _Block, text: str, bare: str) -> bool:
    """True when a line belongs to the block before it; the block learns whether it is a heading and whether it ends."""
    if block.fence and block.open:
        block.open = not (bare.startswith(block.fence) and not bare.strip(block.fence[0]))
        return True
    if not bare:
        block.open = False
        return True
    if not block.open:
        return False
    if _UNDERLINE.fullmatch(bare) and _is_title(block, text):
        block.heading, block.open = True, False
        return True
    return not (_ATX.match(bare) or bare.startswith(("```", "~~~")))


def _is_title(block: _Block, text: str) -> bool:
    """True for one line, or for two of which the first is a line of signs itself."""
    if block.lines != 2:
        return block.lines == 1
    return bool(_UNDERLINE.fullmatch(text[block.start : block.end].splitlines()[0].strip()))


def _units(text: str, section: Sequence[_Block], size_tokens: int) -> Iterator[_Unit]:
    """The units of a section: none too large, so that its headings and the first of the others fit in one chunk."""
    heading_cost = sum(_limited_cost(text[block.start : block.end], size_tokens) for block in section if block.heading)
    size = size_tokens * 100
    limit = size - heading_cost if heading_cost <= size // 2 else size
    # Below the least cut between characters a limit cannot be kept: a heading so long then stands alone.
    limit = max(limit, (_GRAIN_CHARS + _EXTENDER_CHARS) * 130)
    for block in section:
        levels = _CODE if block.fence else _PROSE
        for start, end, cost in _split(text, (block.start, block.end), levels, limit, size_tokens):
            yield _Unit(start, end, cost, block.heading)


def _split(
    text: str, span: tuple[int, int], levels: Sequence[re.Pattern[str]], limit: int, size_tokens: int
) -> Iterator[tuple[int, int, int]]:
    """Cut `span` after each match of the first level; what is still over `limit` after the next ones."""
    start, end = span
    ends = (match.end() for match in levels[0].finditer(text, start, end)) if levels else _grains(text, start, end)
    cuts = [start, *(cut for cut in ends if start < cut < end), end]
    for piece in pairwise(cuts):
        cost = _limited_cost(text[slice(*piece)], size_tokens)
        if not levels:
            # Pieces of a long word cost at least what they will cost together.
            cost = max(cost, (_COST["word"][1] + _LONG_WORD_COST) * (piece[1] - piece[0]))
        if cost <= limit or not levels:
            yield *piece, cost
        else:
            yield from _split(text, piece, levels[1:], limit, size_tokens)


def _grains(text: str, start: int, end: int) -> Iterator[int]:
    """Places between characters, not before a mark that stands on the character before it."""
    cut = start + _GRAIN_CHARS
    while cut < end:
        furthest = min(cut + _EXTENDER_CHARS, end)
        while cut < furthest and _extends(text[cut - 1], text[cut]):
            cut += 1
        yield cut
        cut += _GRAIN_CHARS


def _extends(before: str, char: str) -> bool:
    joined = _ZERO_WIDTH_JOINER in (before, char) or "\U0001f3fb" <= char <= "\U0001f3ff"  # skin tones of emoji
    return joined or unicodedata.category(char).startswith("M")


def _limited_cost(text: str, size_tokens: int) -> int:
    """The cost, or the share of MAX_CHUNK_BYTES where that is greater: so one limit keeps both."""
    size_bytes = len(text.encode("utf-8", "surrogatepass"))
    return max(_cost(text), -(-size_bytes * size_tokens * 100 // MAX_CHUNK_BYTES))


def _pack(units: Sequence[_Unit], size: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Spans of the text: as many units as fit, after those that are repeated. Sizes in hundredths of a token."""
    begin = 0
    while begin < len(units):
        first = _repeated_from(units, begin, overlap, size - units[begin].cost)
        cost = sum(unit.cost for unit in units[first:begin])
        after = begin
        while after < len(units) and (after == begin or cost + units[after].cost <= size):
            cost += units[after].cost
            after += 1
        yield units[first].start, units[after - 1].end
        begin = after


def _repeated_from(units: Sequence[_Unit], begin: int, overlap: int, room: int) -> int:
    """The first of the units before `begin` to repeat: together at most `overlap` and at most `room`."""
    left = min(overlap, room)
    first = begin
    while first > 0 and units[first - 1].cost <= left and not units[first - 1].heading:
        first -= 1
        left -= units[first].cost
    return first
