"""Questions of a run: from files, shipped data, stored passages or recordings. Reads files; no network."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from lightragctl.bench import corpus
from lightragctl.core.errors import UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.quality.relevance import Qrels, read_qrels

ROW_CHARS = 200
"""Characters of a stored passage that are used as a question; within every model's context."""

_ID_KEYS, _TEXT_KEYS = ("id", "_id", "qid"), ("text", "query", "question")


class Question(NamedTuple):
    """One question; `id` is what judgements call it."""

    id: str
    text: str


class TimedQuestion(NamedTuple):
    """A recorded question and its time, in unix seconds."""

    at_s: float
    text: str


@dataclass(frozen=True)
class QuestionSet:
    """The questions of a run.

    Attributes:
        questions: in the order in which they are sent, repeatedly.
        qrels: relevance judgements by question id; empty without judgements.
        instants_s: times of recorded questions; else empty.
    """

    questions: tuple[Question, ...]
    qrels: Qrels = field(default_factory=dict)
    instants_s: tuple[float, ...] = ()

    @property
    def texts(self) -> list[str]:
        """The questions' texts."""
        return [question.text for question in self.questions]


def test_data() -> QuestionSet:
    """The shipped questions with their judgements."""
    return QuestionSet(tuple(Question(one.id, one.text) for one in corpus.questions()), corpus.qrels())


def topics() -> QuestionSet:
    """The newest of each of the three topics."""
    return QuestionSet(tuple(Question(topic, f"{word}领域最新进展") for topic, word in corpus.topics().items()))


def of_rows(rows: Mapping[str, str]) -> QuestionSet:
    """The beginnings of stored passages, by id; each is answered by its own passage.

    Raises:
        UsageError: there are none.
    """
    found = {key: " ".join(text.split())[:ROW_CHARS].strip() for key, text in rows.items()}
    questions = tuple(Question(key, text) for key, text in found.items() if text)
    if not questions:
        raise UsageError(
            "the collection contains no passages", Hint("load documents first: ", Command("ingest", "PATH"))
        )
    return QuestionSet(questions, {question.id: {question.id: 1} for question in questions})


def of_recordings(recorded: Sequence[TimedQuestion]) -> QuestionSet:
    """Recorded questions, oldest first, with their times.

    Raises:
        UsageError: there are none.
    """
    ordered = sorted(recorded)
    if not ordered:
        hint = Hint("record them: ", Command("up", "--set components.lightrag-api.recording.ratio=0.1"))
        raise UsageError("no questions recorded yet", hint)
    numbered = tuple(Question(str(number), one.text) for number, one in enumerate(ordered, 1))
    return QuestionSet(numbered, instants_s=tuple(one.at_s for one in ordered))


def read(path: Path, qrels: Path | None = None) -> QuestionSet:
    """Questions of a file with optional TREC judgements.

    A line is a question; or `ID<TAB>QUESTION`; or, in a file that ends in `.jsonl`, an object with `id` (or `_id`,
    `qid`) and `text` (or `query`, `question`). A question without an id has its place, from 1.

    Raises:
        UsageError: a file cannot be read, holds no question, or judgements of others only.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # splitlines would end one at U+2028 too
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read questions from {path}: {error}", "use one question per line") from error
    questions = tuple(_jsonl(lines, path) if path.suffix == ".jsonl" else _plain(lines))
    if not questions:
        raise UsageError(f"{path} contains no questions", "write one per line")
    if qrels is None:
        return QuestionSet(questions)
    judged = read_qrels(qrels)
    if not any(question.id in judged for question in questions):
        message = f"{qrels} contains no judgement of the questions in {path}"
        raise UsageError(message, "add question ids: ID<TAB>QUESTION, or use a .jsonl file")
    return QuestionSet(questions, judged)


def distinct(asked: QuestionSet, count: int) -> QuestionSet:
    """`number` distinct questions, which no cache can answer: a counter is appended to each.

    Each keeps its id, so the judgements hold; the instants of recorded ones stay where they are.
    """
    source = asked.questions
    numbered = (source[at % len(source)] for at in range(count))
    return replace(asked, questions=tuple(Question(one.id, f"{one.text} {at}") for at, one in enumerate(numbered, 1)))


def _plain(lines: Iterable[str]) -> Iterable[Question]:
    for number, line in enumerate(filter(None, map(str.strip, lines)), 1):
        key, tab, text = line.partition("\t")
        yield Question(key, text.strip()) if tab and text.strip() else Question(str(number), line)


def _jsonl(lines: Iterable[str], path: Path) -> Iterable[Question]:
    for at, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            given = json.loads(line)
            text = next(given[key] for key in _TEXT_KEYS if given.get(key))
        except (ValueError, AttributeError, StopIteration) as error:
            hint = 'a line is {"id": "q1", "text": "..."}'
            raise UsageError(f"{path}:{at} contains no question", hint) from error
        yield Question(str(next((given[key] for key in _ID_KEYS if key in given), at)), str(text))
