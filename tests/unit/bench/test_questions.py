"""Where questions come from: files, shipped data, stored passages, recordings."""

from pathlib import Path

import pytest

from lightragctl.bench.questions import (
    ROW_CHARS,
    Question,
    TimedQuestion,
    distinct,
    of_recordings,
    of_rows,
    read,
    topics,
)
from lightragctl.bench.questions import (
    test_data as shipped_data,
)
from lightragctl.core.errors import UsageError


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("plain.txt", "first?\n\n 第二个问题 \n", [("1", "first?"), ("2", "第二个问题")]),
        ("ids.tsv", "q7\twhat is it?\nq9\twhy?\n", [("q7", "what is it?"), ("q9", "why?")]),
        ("lines.jsonl", '{"id": "a", "text": "x\u2028y\u0085z"}\r\n', [("a", "x\u2028y\u0085z")]),
        ("beir.jsonl", '{"_id": "a", "text": "x"}\n\n{"query": "y"}\n', [("a", "x"), ("3", "y")]),
    ],
)
def test_a_file_holds_a_question_on_each_line(
    tmp_path: Path, name: str, text: str, wanted: list[tuple[str, str]]
) -> None:
    assert read(written(tmp_path, name, text)).questions == tuple(Question(*one) for one in wanted)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("empty.txt", "\n\n", "contains no question"),
        ("bad.jsonl", '{"id": 1}\n', r"bad\.jsonl:1"),
        ("list.jsonl", "[1]\n", r"list\.jsonl:1"),
    ],
)
def test_a_file_without_questions_is_refused(tmp_path: Path, name: str, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read(written(tmp_path, name, text))
    with pytest.raises(UsageError, match="cannot read"):
        read(tmp_path / "nowhere.txt")


def test_judgements_go_with_questions_by_id(tmp_path: Path) -> None:
    questions = written(tmp_path, "q.tsv", "q1\twhat?\nq2\twhy?\n")
    qrels = written(tmp_path, "qrels", "q1 0 a.md 2\n")
    assert read(questions, qrels).qrels == {"q1": {"a.md": 2}}
    with pytest.raises(UsageError, match="contains no judgement"):
        read(questions, written(tmp_path, "other", "q9 0 a.md 1\n"))


def test_the_shipped_questions_are_judged_and_the_topics_are_three() -> None:
    assert {one.id for one in shipped_data().questions} == set(shipped_data().qrels)
    assert topics().texts == ["科技领域最新进展", "金融领域最新进展", "医疗领域最新进展"]


def test_stored_passages_answer_their_own_begin() -> None:
    asked = of_rows({"c1": "one\n two " * 100, "c2": "  "})
    assert asked.questions[0].text == ("one two " * 100)[:ROW_CHARS].strip()
    assert asked.qrels == {"c1": {"c1": 1}}
    with pytest.raises(UsageError, match="no passage"):
        of_rows({})


def test_recordings_keep_their_instants() -> None:
    asked = of_recordings([TimedQuestion(12.5, "later"), TimedQuestion(10.0, "first")])
    assert asked.texts == ["first", "later"]
    assert asked.instants_s == (10.0, 12.5)
    with pytest.raises(UsageError, match="no questions recorded"):
        of_recordings([])


def test_distinct_texts_keep_their_ids() -> None:
    asked = distinct(topics(), 7)
    assert len(set(asked.texts)) == 7
    assert [one.id for one in asked.questions[:3]] == [one.id for one in topics().questions]
