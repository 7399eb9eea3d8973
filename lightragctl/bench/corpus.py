"""The shipped test data: bilingual documents, questions, and relevance judgements. Reads files.

What they are and how they were made: `data/README.md`.
"""

import json
from dataclasses import dataclass
from importlib.resources import files

_DATA = files("lightragctl.bench") / "data"


@dataclass(frozen=True)
class CorpusDocument:
    """A document. `source` is its file name, as in the judgements; `topic` is a key of `topics()`."""

    source: str
    language: str
    topic: str
    text: str


@dataclass(frozen=True)
class CorpusQuestion:
    """A question. `language` is its own: a cross-lingual one is about a document in the other language."""

    id: str
    text: str
    language: str
    topic: str


def documents() -> tuple[CorpusDocument, ...]:
    """All documents, by source."""
    found = sorted((_DATA / "documents").iterdir(), key=lambda file: file.name)
    return tuple(_document(file.name, file.read_text(encoding="utf-8")) for file in found)


def questions() -> tuple[CorpusQuestion, ...]:
    """All questions, in the order of the file: by their document, the cross-lingual ones last."""
    return tuple(CorpusQuestion(**json.loads(line)) for line in _lines("questions.jsonl"))


def qrels() -> dict[str, dict[str, int]]:
    """Relevant sources by question id: grade 2 the source document, grade 1 its translation."""
    judged: dict[str, dict[str, int]] = {}
    for line in _lines("qrels.txt"):
        question, _, source, relevance = line.split()
        judged.setdefault(question, {})[source] = int(relevance)
    return judged


def topics() -> dict[str, str]:
    """Each topic with its Chinese word."""
    found: dict[str, str] = json.loads((_DATA / "topics.json").read_text(encoding="utf-8"))
    return found


def _document(name: str, text: str) -> CorpusDocument:
    language, topic, _ = name.split("-", 2)
    return CorpusDocument(name, language, topic, text)


def _lines(name: str) -> list[str]:
    return (_DATA / name).read_text(encoding="utf-8").splitlines()
