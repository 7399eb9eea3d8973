"""Responses of mock-llm to the prompts of upstream LightRAG 1.5: deterministic, from the words of the text. Pure.

It recognizes four prompts by fixed words: extraction of entities and relations (and gleaning, which returns nothing),
keywords of a query, summary of descriptions, and an answer from a context.
"""

import json
import re
from collections.abc import Sequence
from itertools import pairwise

from lightragctl.service.openai_schema import ChatMessage

DELIMITER, COMPLETE = "<|#|>", "<|COMPLETE|>"
"""LightRAG's field separator and end marker."""

MOST_ENTITIES = 3
_DESCRIPTION_CHARS = 200
_SUMMARY_CHARS = 600

_INPUT_TEXT = re.compile(r"---Input Text---\s*```\n(.*)\n```\s*\n---Output---", re.DOTALL)
_USER_QUERY = re.compile(r"\nUser Query: (.*?)\n\n---Output---", re.DOTALL)
_DESCRIPTIONS = re.compile(r"Description List:\s*```\n(.*?)\n```", re.DOTALL)
_CONTEXT_ROW = re.compile(r"^\{\"reference_id\".*\}$", re.MULTILINE)
_NAME = re.compile(
    r"\b[A-Z][A-Za-z0-9]{2,}(?:[ -][A-Z][A-Za-z0-9]+)*|[《「“]([\u3400-\u9fff]{2,12})[》」”]|[\u3400-\u9fff]{2,4}"
)
_SENTENCE = re.compile(r"[^.!?。！？\n]+[.!?。！？]?")
_COMMON = frozenset(
    "The This That These Those And But For From With Not You Your How Its When Where What Which Who Why".split()  # noqa: SIM905
)


def graph_answer(messages: Sequence[ChatMessage]) -> str | None:
    """The response to a prompt of LightRAG; None for any other prompt."""
    text = "\n".join(message.content or "" for message in messages)
    if "Knowledge Graph Specialist" in text and "---Input Text---" in text:
        is_gleaning = any(message.role == "assistant" for message in messages)
        found = _INPUT_TEXT.search(text)
        return COMPLETE if is_gleaning or not found else extraction(found.group(1))
    if "expert keyword extractor" in text and (asked := _USER_QUERY.search(text)):
        return keywords(asked.group(1))
    if "Knowledge Graph Specialist" in text and (described := _DESCRIPTIONS.search(text)):
        return summary(described.group(1))
    return None


def context_passages(messages: Sequence[ChatMessage]) -> list[tuple[int, str]]:
    """The numbered passages of LightRAG's context: numbers and texts."""
    text = "\n".join(message.content or "" for message in messages if message.role == "system")
    passages = []
    for row in _CONTEXT_ROW.findall(text):
        try:
            fields = json.loads(row)
            passages.append((int(fields["reference_id"]), str(fields["content"])))
        except (ValueError, KeyError):
            continue
    return passages


def extraction(text: str) -> str:
    """Rows in LightRAG's format: the most frequent names as entities, neighbours among them as relations."""
    names = names_in(text)
    rows = [DELIMITER.join(("entity", name, "Concept", _sentence_with(name, text))) for name in names]
    rows += [
        DELIMITER.join(("relation", one, other, "named together", f"{one} and {other} are named in one passage."))
        for one, other in pairwise(names)
    ]
    return "\n".join([*rows, COMPLETE])


def names_in(text: str) -> list[str]:
    """At most `MOST_ENTITIES` names: capitalised words, words in Chinese quotes, else runs of Chinese characters."""
    counts: dict[str, int] = {}
    for match in _NAME.finditer(text):
        name = match.group(1) or match.group()
        if name not in _COMMON:
            counts[name] = counts.get(name, 0) + 1
    ranked = sorted(counts, key=lambda name: -counts[name])  # stable: equals stay in the order of the text
    return ranked[:MOST_ENTITIES]


def keywords(question: str) -> str:
    """Keywords as LightRAG reads them: the names of the question, and the question itself."""
    found = {"high_level_keywords": [question.strip()], "low_level_keywords": names_in(question) or [question.strip()]}
    return json.dumps(found, ensure_ascii=False)


def summary(descriptions: str) -> str:
    """The distinct descriptions, concatenated and truncated."""
    texts = []
    for line in descriptions.splitlines():
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        texts += [str(value) for value in fields.values()] if isinstance(fields, dict) else []
    return " ".join(dict.fromkeys(texts))[:_SUMMARY_CHARS] or "No description."


def _sentence_with(name: str, text: str) -> str:
    sentence = next((one for one in _SENTENCE.findall(text) if name in one), name)
    return " ".join(sentence.replace(DELIMITER, " ").split())[:_DESCRIPTION_CHARS]
