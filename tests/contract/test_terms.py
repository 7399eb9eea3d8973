"""Texts for users and maintainers are in the field's terms: none of the words of docs/contributing/style.md.

Checked are the literals of the code (messages, hints, help, titles), docstrings, profiles, templates, and the prose of
the English pages.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STYLE = ROOT / "docs" / "contributing" / "style.md"
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *ROOT.joinpath("docs").rglob("*.md"))
    if path != STYLE and ".zh-CN." not in path.name
)
MANIFESTS = sorted([*ROOT.joinpath("profiles").glob("*.yaml"), *ROOT.joinpath("templates").rglob("*.j2")])
SOURCES = sorted(ROOT.joinpath("lightragctl").rglob("*.py"))

BANNED: Mapping[str, str] = {
    r"so many": "n, at most n",
    r"anew|once more|made again": "again, recreated, rebuilt",
    r"mend(s|ed|ing)?|puts? right": "fix",
    r"whoever|somebody|nobody|everybody": "the caller, no client, a user with ...",
    r"shall": "must",
    r"say (?=--|components|otherwise)": "set, use",
    r"the way (back|out)": "rollback, the fix",
    r"(is|are|was|were|be|been|being) told": "reported, shown",
    r"tells? (of|what|whether|how|which|why|them apart)|told (of|by)": "reports, shows",
    r"look(s|ed|ing)? (on|after)|looked at again": "watches, polls, maintains",
    r"(is|are|was|were|been) asked (for|of)": "requested",
    r"(?<!there )(is|are) another one": "is mutable, differs",
    r"none takes|it is none": "no node matches, is not a ...",
    r"heeds?": "applies, respects",
    r"goes by": "uses, is based on",
    r"bring(s)? .{1,30} nearer": "reconciles",
    r"(held|holds?) (writes )?off": "blocked, blocks",
    r"(?<!that )(?<!those )(data|rows|name|files|workspace|collection|those|folder) of before": "previous",
    r"lately": "recently",
    r"(brings?|brought|bring) .{1,30} to rest": "stops",
    r"(gives?|given|giving|gave) back": "releases, returns",
}
"""Words and phrases that readers stumble over or cannot search for, and what to write instead."""

ALLOWED: frozenset[tuple[str, str]] = frozenset()
"""Files, from the root of the checkout, and a phrase that is right there."""


def texts(source: str) -> Iterator[str]:
    """The literals of a module, docstrings included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def prose(page: str) -> str:
    """A page without its code blocks, code spans and links' targets."""
    lines, fenced = [], False
    for line in page.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith("    "):
            lines.append(line)
    return re.sub(r"`[^`]*`|\]\([^)]*\)", "", " ".join(lines))


def found(text: str) -> list[str]:
    """The banned phrases of a text, each with what to write instead."""
    text = " ".join(text.split())
    return [
        f"{match.group(0)!r} ({instead}): ...{text[max(0, match.start() - 30) : match.end() + 30]}..."
        for pattern, instead in BANNED.items()
        for match in re.finditer(rf"(?<![\w-])({pattern})(?!\w)", text, re.IGNORECASE)
    ]


def offenders(path: Path, pieces: Iterator[str]) -> list[str]:
    name = str(path.relative_to(ROOT))
    return [hit for piece in pieces for hit in found(piece) if (name, hit.split("'")[1]) not in ALLOWED]


def test_messages_help_and_docstrings_use_the_fields_terms() -> None:
    hits = {str(path): offenders(path, texts(path.read_text(encoding="utf-8"))) for path in SOURCES}
    assert {path: hit for path, hit in hits.items() if hit} == {}


def test_pages_use_the_fields_terms() -> None:
    hits = {str(path): offenders(path, iter([prose(path.read_text(encoding="utf-8"))])) for path in PAGES}
    assert {path: hit for path, hit in hits.items() if hit} == {}


def test_comments_of_profiles_and_templates_use_the_fields_terms() -> None:
    hits = {str(path): offenders(path, iter([path.read_text(encoding="utf-8")])) for path in MANIFESTS}
    assert {path: hit for path, hit in hits.items() if hit} == {}


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("so many always wait", "so many"),
        ("mend these and run it again", "mend"),
        ("what is told of it", "is told"),
        ("Nobody is asked for a key", "Nobody"),
        ("say --yes to go on", "say "),
        ("image x is another one tomorrow", "is another one"),
    ],
)
def test_a_phrase_of_the_list_is_found(text: str, phrase: str) -> None:
    assert any(hit.startswith(f"{phrase!r} (") for hit in found(text))


@pytest.mark.parametrize("text", ["recommend a marshal", "asks for confirmation", "`say --yes`", "essay --yes"])
def test_other_words_pass(text: str) -> None:
    assert found(prose(text)) == []
