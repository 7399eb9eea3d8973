"""mock-llm answers upstream's prompts deterministically, in the shapes that upstream reads."""

import json

import pytest

from lightragctl.service.mock_graph import (
    COMPLETE,
    context_passages,
    extraction,
    graph_answer,
    keywords,
    names_in,
    summary,
)
from lightragctl.service.openai_schema import ChatMessage

TEXT = "Ada Lovelace wrote about the Analytical Engine. Ada Lovelace met Charles Babbage. 《红楼梦》是一部小说。"


def prompt(text: str) -> list[ChatMessage]:
    """As upstream asks for entities and relations."""
    role = "---Role---\nYou are a Knowledge Graph Specialist responsible for the `---Input Text---` section."
    asked = f"---Task---\nExtract.\n\n---Input Text---\n```\n{text}\n```\n\n---Output---\n"
    return [ChatMessage("system", role), ChatMessage("user", asked)]


def test_entities_and_relations_are_rows_of_four_and_five_fields() -> None:
    rows = extraction(TEXT).splitlines()
    assert rows[-1] == COMPLETE
    fields = [row.split("<|#|>") for row in rows[:-1]]
    assert {(one[0], len(one)) for one in fields} == {("entity", 4), ("relation", 5)}
    assert fields[0][1] == "Ada Lovelace"
    assert all(all(one) for one in fields)


def test_the_same_text_gives_the_same_answer() -> None:
    assert graph_answer(prompt(TEXT)) == graph_answer(prompt(TEXT)) == extraction(TEXT)


def test_a_second_look_finds_nothing_more() -> None:
    again = [*prompt(TEXT), ChatMessage("assistant", "entity"), ChatMessage("user", "What was missed?")]
    assert graph_answer(again) == COMPLETE


def test_names_are_of_both_languages() -> None:
    assert names_in("《红楼梦》是一部小说。")[0] == "红楼梦"
    assert names_in("the of and 12") == []


def test_keywords_are_json_of_the_two_lists() -> None:
    asked = "You are an expert keyword extractor.\n---Real Data---\nUser Query: Who was Ada Lovelace?\n\n---Output---\n"
    answer = graph_answer([ChatMessage("user", asked)])
    assert answer == keywords("Who was Ada Lovelace?")
    assert json.loads(answer or "")["low_level_keywords"] == ["Ada Lovelace"]


def test_a_summary_holds_every_description_once() -> None:
    assert summary('{"Description": "A."}\n{"Description": "B."}\n{"Description": "A."}\nnot json') == "A. B."


def test_passages_are_read_out_of_upstreams_context() -> None:
    context = (
        'Document Chunks\n```json\n{"reference_id": "2", "content": "The cat sleeps."}\n{"reference_id": "x"}\n```'
    )
    assert context_passages([ChatMessage("system", context)]) == [(2, "The cat sleeps.")]


@pytest.mark.parametrize("text", ["", "Question: what?\n\nPassages:\n[1] x"])
def test_other_prompts_are_not_upstreams(text: str) -> None:
    assert graph_answer([ChatMessage("user", text)]) is None
