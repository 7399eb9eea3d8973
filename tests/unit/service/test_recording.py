"""Which questions are written down, what is never, how much, and for how long."""

import random
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lightragctl.core.settings import Recording
from lightragctl.service.recording import RecordedQuery, Recorder
from tests.fakes.service import SETTINGS, Service
from tests.fakes.store import FakeStore

DAY_S = 86_400.0


class Subject:
    """A recorder with a clock of its own."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.now_s = 1000 * DAY_S
        self.recorder = Recorder(
            Recording(**{"ratio": 1, **settings}), folder, lambda: self.now_s, random.Random(1).random
        )

    def keep(self, query: str) -> None:
        self.recorder.keep(RecordedQuery(self.now_s, "default", query, 5, "chunks", "", "c_g1", ["a", "b"], 1.5))

    def queries(self, limit: int = 1000) -> list[str]:
        return [one.query for one in self.recorder.read(limit)]


def test_the_newest_comes_first_and_whole(tmp_path: Path) -> None:
    subject = Subject(tmp_path)
    for query in ("first", "第二"):
        subject.keep(query)
    newest, _ = subject.recorder.read(10)
    assert newest == RecordedQuery(subject.now_s, "default", "第二", 5, "chunks", "", "c_g1", ["a", "b"], 1.5)
    assert subject.queries(1) == ["第二"]


def test_it_is_a_sample(tmp_path: Path) -> None:
    subject = Subject(tmp_path, ratio=0.25)
    assert 200 < sum(subject.recorder.wants() for _ in range(1000)) < 300


def test_it_never_takes_more_than_it_may_and_keeps_the_newest(tmp_path: Path) -> None:
    subject = Subject(tmp_path, bytes=65536)
    for number in range(2000):
        subject.keep(f"question {number} " + "x" * 100)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 65536 + 1000
    kept = subject.queries()
    assert kept[0].startswith("question 1999 ")
    assert len(kept) > 100


def test_what_is_old_is_not_given_out_and_goes_at_the_next_start(tmp_path: Path) -> None:
    subject = Subject(tmp_path, days=2)
    subject.keep("old")
    subject.now_s += 3 * DAY_S
    subject.keep("new")
    assert subject.queries() == ["new"]
    late = Subject(tmp_path, days=2)
    late.now_s = 10**10
    Recorder(Recording(ratio=1, days=2), tmp_path, lambda: late.now_s, random.random)
    assert list(tmp_path.iterdir()) == []


def test_what_shall_be_hidden_never_reaches_the_disk(tmp_path: Path) -> None:
    subject = Subject(tmp_path, redact=[r"\b\d{16}\b", r"[\w.]+@[\w.]+"])
    subject.keep("card 1234567812345678 of ada@example.org")
    assert subject.queries() == ["card *** of ***"]
    assert b"1234567812345678" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_a_line_that_a_crash_cut_off_is_passed_over(tmp_path: Path) -> None:
    subject = Subject(tmp_path)
    subject.keep("whole")
    with (tmp_path / "newer.jsonl").open("ab") as file:
        file.write(b'{"at": 1, "que')
    assert subject.queries() == ["whole"]


def test_a_pattern_that_is_none_is_refused_with_the_profile() -> None:
    with pytest.raises(ValidationError, match="not a regular expression"):
        Recording(redact=("(",))


def test_a_service_records_what_it_was_asked_and_what_it_found(tmp_path: Path) -> None:
    parts = {"recording": Recording(ratio=1), "recording_folder": str(tmp_path)}
    with Service(FakeStore(), SETTINGS.model_copy(update=parts)) as service:
        service.stored("cat.md", "The cat sleeps.")
        hits = service.retrieve("cat", top_k=3).json()["hits"]
        service.post("/query", {"query": "where is the cat"})
        second, first = service.get("/recordings").json()["recordings"]
    assert (first["query"], first["top_k"], first["ids"]) == ("cat", 3, [hit["id"] for hit in hits])
    assert second["query"] == "where is the cat"


def test_a_question_that_is_nobodys_is_not_recorded(tmp_path: Path) -> None:
    parts = {"recording": Recording(ratio=1), "recording_folder": str(tmp_path)}
    with Service(FakeStore(), SETTINGS.model_copy(update=parts)) as service:
        service.stored("cat.md", "The cat sleeps.")
        nobodys = {"x-record": "no"}
        for _ in range(2):  # the second is answered out of the cache
            assert service.post("/retrieve", {"query": "is anybody there?"}, **nobodys).status == 200
        service.post("/query", {"query": "is anybody there?"}, **nobodys)
        assert service.get("/recordings").json()["recordings"] == []
        service.post("/retrieve", {"query": "is anybody there?"})
        assert len(service.get("/recordings").json()["recordings"]) == 1


def test_by_default_nothing_is_recorded() -> None:
    with Service(FakeStore()) as service:
        answer = service.get("/recordings")
        assert (answer.status, answer.json()["type"]) == (404, "urn:lightragctl:recording-disabled")
