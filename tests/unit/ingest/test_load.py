"""Loading: what is sent, what is sent again, and what the user learns, against a service kept in memory."""

import hashlib
import io
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from lightragctl.client.api import ApiClient, ApiError
from lightragctl.client.retry import RetryWait
from lightragctl.core.errors import UnavailableError, UsageError
from lightragctl.ingest.load import (
    Failure,
    Interrupted,
    LoadConditions,
    LoadEvent,
    LoadProgress,
    Summary,
    _HighestChunk,
    _Speed,
    load,
)

Answer = Callable[[httpx.Request], httpx.Response | None]


@dataclass
class Service:
    """lightrag-api as its contract says. `disturb` may answer, or raise, before it does."""

    texts: dict[str, str] = field(default_factory=dict)
    posted: list[str] = field(default_factory=list)
    flushes: int = 0
    outdated: set[str] = field(default_factory=set)
    disturb: Answer = lambda request: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: httpx.Request) -> httpx.Response:
        with self.lock:
            disturbed = self.disturb(request)
            if disturbed is not None:
                return disturbed
            if request.url.path == "/documents/flush":
                self.flushes += 1
                return httpx.Response(200, json={"workspace": "default", "rows": len(self.texts)})
            return self._list() if request.method == "GET" else self._store(request)

    def _list(self) -> httpx.Response:
        documents = [
            {
                "id": f"doc-{source}",
                "source": source,
                "sha256": hashlib.sha256(text.encode()).hexdigest(),
                "chunks": 2,
                "state": "ready",
                "current": source not in self.outdated,
                "updated_at": 1,
            }
            for source, text in self.texts.items()
        ]
        return httpx.Response(200, json={"workspace": "default", "documents": documents, "next": None})

    def _store(self, request: httpx.Request) -> httpx.Response:
        (document,) = json.loads(request.content)["documents"]
        source, text = document["source"], document["text"]
        status = "created" if source not in self.texts else "unchanged" if self.texts[source] == text else "updated"
        self.texts[source] = text
        self.posted.append(source)
        progress = {"event": "progress", "source": source, "chunks_done": 2, "chunks": 2}
        accepted = {"event": "document", "id": f"doc-{source}", "source": source, "status": status, "chunks": 2}
        return httpx.Response(
            200, content="".join(json.dumps(line) + "\n" for line in (progress, accepted, {"event": "done"}))
        )


def posted_source(request: httpx.Request) -> str:
    if request.method != "POST" or request.url.path != "/documents":
        return ""
    return str(json.loads(request.content)["documents"][0]["source"])


def problem(status: int, detail: str, **headers: str) -> httpx.Response:
    body = {"type": "about:blank", "title": "x", "status": status, "detail": detail, "hint": f"hint of {detail}"}
    return httpx.Response(status, json=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(8):
        (tmp_path / f"{number}.md").write_text(f"document {number}")
    return tmp_path


def run(
    service: Service,
    folder: Path,
    *paths: str,
    notify: Callable[[LoadEvent], None] = lambda event: None,
    **conditions: Any,
) -> Summary:
    transport = httpx.MockTransport(service.answer)
    with ApiClient("http://127.0.0.1:8080", timeout_s=5, transport=transport) as api:
        return load(paths or ("."), api, None, notify, LoadConditions(cwd=folder, **conditions))


def counts(summary: Summary) -> tuple[int, int, int, int]:
    return summary.created, summary.updated, summary.unchanged, len(summary.failed)


def test_every_document_is_sent_once_then_flushed(service: Service, folder: Path) -> None:
    summary = run(service, folder)
    assert counts(summary) == (8, 0, 0, 0)
    assert summary.chunks == 16
    assert sorted(service.texts) == [f"{folder}/{number}.md" for number in range(8)]
    assert len(service.posted) == 8
    assert service.flushes == 1


def test_only_what_has_changed_is_sent_again(service: Service, folder: Path) -> None:
    run(service, folder)
    service.posted.clear()
    (folder / "3.md").write_text("another text")
    (folder / "new.md").write_text("a new one")
    assert counts(run(service, folder)) == (1, 1, 7, 0)
    assert sorted(service.posted) == [f"{folder}/3.md", f"{folder}/new.md"]


def test_a_document_cut_with_other_settings_is_sent_again(service: Service, folder: Path) -> None:
    run(service, folder)
    service.posted.clear()
    service.outdated = {f"{folder}/5.md"}
    run(service, folder)
    assert service.posted == [f"{folder}/5.md"]


def test_a_run_with_nothing_new_still_flushes_what_an_earlier_one_left(service: Service, folder: Path) -> None:
    run(service, folder)
    run(service, folder)
    assert service.flushes == 2


def test_without_any_document_the_service_is_not_asked(service: Service, tmp_path: Path) -> None:
    (tmp_path / "picture.png").touch()

    def disturb(request: httpx.Request) -> httpx.Response | None:
        raise AssertionError(request.url)

    service.disturb = disturb
    summary = run(service, tmp_path, ".", "none.md")
    assert (summary.skipped, summary.failed) == (1, (Failure(f"{tmp_path}/none.md", "does not exist"),))
    assert summary.skipped_kinds == ((".png", 1),)


def test_a_bad_file_does_not_stop_the_rest(service: Service, folder: Path) -> None:
    (folder / "bad.md").write_bytes(b"\0\1\2")
    (folder / "empty.md").touch()
    summary = run(service, folder)
    assert counts(summary) == (8, 0, 0, 2)
    assert [(one.source, one.reason) for one in summary.failed] == [
        (f"{folder}/bad.md", "is not text: it contains NUL bytes"),
        (f"{folder}/empty.md", "has no text"),
    ]


def test_a_refused_document_does_not_stop_the_rest(service: Service, folder: Path) -> None:
    service.disturb = lambda request: problem(413, "too large") if posted_source(request).endswith("/4.md") else None
    summary = run(service, folder)
    assert counts(summary) == (7, 0, 0, 1)
    assert summary.failed == (Failure(f"{folder}/4.md", "too large", "hint of too large"),)


def test_a_busy_service_is_tried_again(service: Service, folder: Path) -> None:
    tries: Counter[str] = Counter()
    events: list[LoadEvent] = []

    def disturb(request: httpx.Request) -> httpx.Response | None:
        tries[posted_source(request)] += 1
        busy = posted_source(request).endswith(("/1.md", "/2.md")) and tries[posted_source(request)] == 1
        return problem(503, "Milvus does not answer", Retry_After="1") if busy else None

    service.disturb = disturb
    assert counts(run(service, folder, notify=events.append)) == (8, 0, 0, 0)
    waiting = [event for event in events if isinstance(event, RetryWait)]
    assert {(event.source, event.next_try_s) for event in waiting} == {
        (f"{folder}/1.md", 1.0),
        (f"{folder}/2.md", 1.0),
    }


def test_a_service_that_restarts_is_waited_for(service: Service, folder: Path) -> None:
    failures = iter(range(3))

    def disturb(request: httpx.Request) -> httpx.Response | None:
        if next(failures, None) is not None:
            raise httpx.ConnectError("refused")
        return None

    service.disturb = disturb
    assert counts(run(service, folder)) == (8, 0, 0, 0)
    assert len(service.posted) == 8


def test_an_acknowledgement_that_got_lost_makes_no_duplicate(service: Service, folder: Path) -> None:
    lost = {f"{folder}/6.md"}
    first = service._store

    def store(request: httpx.Request) -> httpx.Response:
        answer = first(request)
        if posted_source(request) in lost:
            lost.clear()
            raise httpx.RemoteProtocolError("peer closed connection")
        return answer

    service.disturb = lambda request: store(request) if posted_source(request) else None
    assert counts(run(service, folder)) == (7, 0, 1, 0)
    assert len(service.texts) == 8


def test_a_service_that_stays_away_ends_the_load_after_three_documents(service: Service, folder: Path) -> None:
    def disturb(request: httpx.Request) -> httpx.Response | None:
        if posted_source(request):
            raise httpx.ConnectError("refused")
        return None

    service.disturb = disturb
    with pytest.raises(UnavailableError, match=r"after 3 documents without an answer, last .*md: .*refused") as caught:
        run(service, folder, wait_s=0.1)
    assert "lightragctl status" in caught.value.hint


def test_a_service_that_goes_away_for_the_last_document_ends_the_load(service: Service, folder: Path) -> None:
    service.disturb = lambda request: problem(503, "no models") if posted_source(request) else None
    with pytest.raises(UnavailableError, match=r"gave up after 1 document without an answer, last .*/1.md: no models"):
        run(service, folder, "1.md", wait_s=0.1)


def test_one_document_that_nobody_takes_does_not_stop_the_rest(service: Service, folder: Path) -> None:
    service.disturb = lambda request: problem(504, "too slow") if posted_source(request).endswith("/0.md") else None
    summary = run(service, folder, wait_s=0.1, threads=1)
    assert counts(summary) == (7, 0, 0, 1)


def test_data_of_another_model_stop_the_load_at_once(service: Service, folder: Path) -> None:
    service.disturb = lambda request: problem(409, "other model") if posted_source(request) else None
    with pytest.raises(ApiError, match="other model") as caught:
        run(service, folder, threads=1)
    assert caught.value.hint == "hint of other model"
    assert service.posted == []
    assert service.flushes == 0


def test_a_workspace_that_the_service_refuses_is_an_error(service: Service, folder: Path) -> None:
    service.disturb = lambda request: problem(400, "bad workspace")
    with pytest.raises(ApiError, match="bad workspace"):
        run(service, folder)


def test_an_interrupted_load_says_what_stands_and_continues(service: Service, folder: Path) -> None:
    events: list[LoadEvent] = []

    def press_ctrl_c(event: LoadEvent) -> None:
        events.append(event)
        if isinstance(event, LoadProgress) and event.done_documents == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(service, folder, notify=press_ctrl_c, threads=1)
    said = events[-1]
    assert isinstance(said, Interrupted)
    stored = len(service.posted)  # what was under way may have been stored without us hearing of it
    assert 3 <= said.acknowledged_documents <= stored <= 8
    assert said.acknowledged_documents + said.remaining_documents == 8

    summary = run(service, folder)
    assert (summary.created, summary.unchanged) == (8 - stored, stored)
    assert sorted(service.posted) == sorted(set(service.posted))
    assert len(service.texts) == 8
    assert service.flushes == 1


def test_an_interrupt_does_not_wait_for_a_request_that_hangs(service: Service, folder: Path) -> None:
    released = threading.Event()

    class Hanging(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b'{"event":"progress","source":"x","chunks_done":1,"chunks":2}\n'
            released.wait(60)

    def press_ctrl_c(event: LoadEvent) -> None:
        if isinstance(event, LoadProgress):
            raise KeyboardInterrupt

    service.disturb = lambda request: httpx.Response(200, stream=Hanging()) if posted_source(request) else None
    timer = threading.Timer(10, released.set)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run(service, folder, notify=press_ctrl_c)
        assert not released.is_set()
    finally:
        timer.cancel()
        released.set()


def test_standard_input_is_loaded(service: Service, tmp_path: Path) -> None:
    summary = run(service, tmp_path, "-", stdin=io.BytesIO("从管道来的文本".encode()))
    assert counts(summary) == (1, 0, 0, 0)
    assert list(service.texts.values()) == ["从管道来的文本"]


def test_what_comes_from_a_pipe_replaces_only_what_has_its_name(service: Service, tmp_path: Path) -> None:
    for text in (b"a", b"b", b"a"):
        run(service, tmp_path, "-", stdin=io.BytesIO(text))
    assert sorted(service.texts.values()) == ["a", "b"]
    for text in (b"old", b"new"):
        summary = run(service, tmp_path, "-", stdin=io.BytesIO(text), source="notes")
    assert summary.updated == 1
    assert service.texts["notes"] == "new"


@pytest.mark.parametrize(
    ("paths", "source"), [(("0.md",), "x"), (("-",), ""), (("-",), "a\udcff"), (("-",), "x" * 5000)]
)
def test_a_name_for_no_pipe_or_no_name_is_a_usage_error(
    service: Service, folder: Path, paths: tuple[str, ...], source: str
) -> None:
    with pytest.raises(UsageError, match="--source"):
        run(service, folder, *paths, stdin=io.BytesIO(b"a"), source=source)
    assert service.posted == []


def test_a_pipe_may_not_have_the_name_of_a_file_of_the_same_load(service: Service, folder: Path) -> None:
    with pytest.raises(UsageError, match="is also loaded from a file"):
        run(service, folder, "0.md", "-", stdin=io.BytesIO(b"a"), source=f"{folder}/0.md")


def test_closed_standard_input_is_one_failed_document(service: Service, folder: Path) -> None:
    summary = run(service, folder, "-", "0.md", stdin=None)
    assert counts(summary) == (1, 0, 0, 1)
    assert summary.failed == (Failure("stdin", "cannot be read: standard input is closed"),)


def test_what_is_not_in_the_text_is_named_also_when_nothing_has_changed(service: Service, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<nav>menu</nav><p>text<p hidden>secret")
    for _ in range(2):
        summary = run(service, tmp_path)
        assert summary.left_out == ((f"{tmp_path}/a.html", ("navigation", "hidden text")),)
    assert summary.unchanged == 1


def test_the_encoding_that_is_named_is_used(service: Service, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("张伟 李娜".encode("gb18030"))
    failed = run(service, tmp_path).failed
    assert "--encoding" in failed[0].hint
    assert counts(run(service, tmp_path, encoding="gb18030")) == (1, 0, 0, 0)


def test_a_document_that_was_lost_is_tried_again_when_the_others_are_done(service: Service, folder: Path) -> None:
    tries: Counter[str] = Counter()

    def disturb(request: httpx.Request) -> httpx.Response | None:
        source = posted_source(request)
        tries[source] += 1
        return problem(504, "too slow") if source.endswith("/2.md") and tries[source] == 1 else None

    service.disturb = disturb
    assert counts(run(service, folder, wait_s=0.1, threads=1)) == (8, 0, 0, 0)


def test_a_document_that_was_stored_although_its_answer_was_lost_is_no_failure(service: Service, folder: Path) -> None:
    def disturb(request: httpx.Request) -> httpx.Response | None:
        if posted_source(request).endswith("/2.md") and f"{folder}/2.md" not in service.texts:
            service._store(request)
            return problem(504, "too slow")
        return None

    service.disturb = disturb
    summary = run(service, folder, wait_s=0.1, threads=1)
    assert counts(summary) == (8, 0, 0, 0)
    assert summary.chunks == 16


def test_what_failed_is_in_one_order_whatever_ended_first(service: Service, folder: Path) -> None:
    for name in ("z", "0a", "5a"):
        (folder / f"{name}.md").touch()
    failed = [one.source for one in run(service, folder).failed]
    assert failed == sorted(failed)
    assert len(failed) == 3


def test_a_repeated_count_of_chunks_is_no_sign_of_life() -> None:
    reached = _HighestChunk()
    assert [reached.is_passed_by(chunks) for chunks in (16, 32, 16, 32, 33)] == [True, True, False, False, True]


def test_the_rate_is_that_of_the_last_minute() -> None:
    speed = _Speed(0.0)
    assert speed.at(10.0, 100, 1000) == (10.0, 100.0)
    for now_s in range(20, 200, 10):
        last = speed.at(float(now_s), 100 + now_s / 10, 1000 + now_s)
    assert last == (pytest.approx(0.1), pytest.approx(1.0))


def test_progress_counts_up_to_the_end_with_rate_and_time_left(service: Service, folder: Path) -> None:
    ticks = iter(range(10_000))
    lock = threading.Lock()

    def clock() -> float:
        with lock:
            return float(next(ticks))

    events: list[LoadEvent] = []
    run(service, folder, notify=events.append, clock=clock, threads=1)
    progress = [event for event in events if isinstance(event, LoadProgress)]
    assert [event.done_documents for event in progress] == sorted(event.done_documents for event in progress)
    assert {event.total_documents for event in progress} == {8}
    assert progress[-1].done_documents == 8
    assert progress[-1].done_chunks == 16
    assert progress[-1].remaining_s == 0
    assert all(event.remaining_s for event in progress[:-2])
    assert progress[-1].rate_chunks_per_s > 0
