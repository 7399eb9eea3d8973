"""Questions of the Debian FAQ in English and Chinese, asked of a running release that holds the answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lightragctl.ingest.load import LoadConditions, load
from tests.quality.known_item import (
    FaqMissingError,
    Hits,
    Section,
    evaluate,
    fetch_faq,
    parse_chapter,
    questions_of,
    read_faq,
    write_sections,
)

# Measured with exact search; an approximate index and another machine's rounding may lose two or three questions.
BODY_AT_1 = {"en": 0.44, "zh": 0.46}
BODY_AT_5 = {"en": 0.78, "zh": 0.72}
HEADED_AT_1 = {"en": 0.90, "zh": 0.91}
HEADED_AT_5 = {"en": 0.96, "zh": 0.97}


@pytest.fixture(scope="module")
def sections(request: pytest.FixtureRequest) -> list[Section]:
    folder = request.config.cache.mkdir("debian-faq")
    try:
        return read_faq(fetch_faq(folder))
    except FaqMissingError as error:
        pytest.skip(f"the Debian FAQ cannot be fetched: {error}")


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.drill)], ids=["body-only", "with-headings"])
def with_heading(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def workspace(local_release: Any, with_heading: bool) -> Iterator[str]:
    name = "known_item_headed" if with_heading else "known_item_body"
    yield name
    for document in local_release.api.list_documents(name):
        local_release.api.delete_document(id=document.id, workspace=name)


def test_a_section_is_parsed_without_its_heading_and_without_the_sections_inside_it() -> None:
    chapter = """<div class="chapter"><h1 class="title"><a id="c"></a>Chapter 7</h1><div class="section">
    <div class="titlepage"><h2 class="title"><a id="out"></a>7.1. What is
    outside?</h2></div><p>Outer, see <a class="xref" href="#in">Section 7.1.1, “What is inside?”</a>.</p>
    <div class="section"><div class="titlepage"><h3 class="title"><a id="in"></a>7.1.1. What is inside?</h3></div>
    <p>Inner.</p></div></div></div>"""
    outer, inner = parse_chapter(chapter, "en")
    assert outer == Section("en", "out", "What is outside?", "Outer, see Section 7.1.1.")
    assert inner == Section("en", "in", "What is inside?", "Inner.")


@pytest.mark.slow  # its documents come from a package mirror, which a newcomer's run does without
def test_there_are_enough_questions_and_no_answer_repeats_its_question(sections: list[Section]) -> None:
    questions = questions_of(sections)
    bodies = {section.name: section.body for section in sections}
    for language in ("en", "zh"):
        assert sum(question.language == language for question in questions) >= 30
    assert not [question.text for question in questions if question.text in bodies[question.answer]]


@pytest.mark.slow
def test_questions_find_their_answers(
    local_release: Any,
    sections: list[Section],
    with_heading: bool,
    workspace: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    api = local_release.api
    files = write_sections(sections, tmp_path, with_heading=with_heading)
    summary = load([str(tmp_path)], api, workspace, lambda event: None, LoadConditions(cwd=tmp_path))
    assert summary.failed == ()
    assert summary.created == len(files)

    def retrieve(question: str) -> list[str]:
        return [hit.source for hit in api.retrieve(question, top_k=5, workspace=workspace).hits]

    found = evaluate(retrieve, questions_of(sections))
    with capsys.disabled():
        print(f"\n{workspace}: " + "; ".join(f"{language}: {hits}" for language, hits in found.items()))
    least_at_1, least_at_5 = (HEADED_AT_1, HEADED_AT_5) if with_heading else (BODY_AT_1, BODY_AT_5)
    for language, hits in found.items():
        assert hits.ratio_at_1 >= least_at_1[language], hits.missed
        assert hits.ratio_at_5 >= least_at_5[language], hits.missed


def test_hits_count_the_first_passages_of_the_right_file_only() -> None:
    sections = [Section("en", key, f"What is {key}?", "x" * 40) for key in ("a", "b", "c")]
    answers = {
        "What is a?": ["/f/en-a.md", "/f/en-b.md"],
        "What is b?": ["/f/en-a.md", "/f/en-a.md", "/f/en-b.md"],
        "What is c?": ["/f/en-a.md"],
    }
    assert evaluate(answers.__getitem__, questions_of(sections)) == {"en": Hits(3, 1, 2, ("What is c?",))}
