"""Loading through lightrag-server: what is handed over, what is not again, and what the user learns."""

import hashlib
import io
import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from lightragctl.client.api import ApiClient, StoredDocument
from lightragctl.client.lightrag import LightragClient, LightragTarget, UpstreamDocument
from lightragctl.core.errors import NeedsAttentionError, WaitExpired
from lightragctl.core.source_names import plain_source, upstream_source
from lightragctl.ingest.load import Failure, LoadConditions, LoadEvent, LoadProgress, Summary
from lightragctl.ingest.via_lightrag import BATCH, LOGS_HINT, DocumentStep, decide, load_into_lightrag

SHA = "a" * 64


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Servers:
    """lightrag-server and lightrag-api, as far as a load sees them. A text that says `bad` cannot be processed.

    `rounds` are looks until a document is processed; without `working` nothing goes on until it is told to.
    """

    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    handed_over: list[str] = field(default_factory=list)
    rounds: int = 1
    working: bool = True
    fenced: bool = False
    forgets: bool = False
    loses_answers: int = 0
    flushes: int = 0
    slow: set[str] = field(default_factory=set)
    most_missing: int = 0
    keeps: bool = False
    vanishes: Path | None = None
    now_s: float = 0.0
    tracks: Any = field(default_factory=itertools.count)

    def hold(self, source: str, text: str, status: str = "processed", noted: str | None = "ready") -> None:
        """A document from before."""
        self._put(source, text, "track_old")
        self.documents[source]["status"] = status
        if noted:
            self.records[source] = self._record(source, sha256(text), noted)

    def upstream(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else {}
        match request.method, request.url.path:
            case "POST", "/documents/paginated":
                told = {"documents": list(self.documents.values()), "pagination": {"has_next": False}}
                return httpx.Response(200, json=told)
            case "POST", "/documents/texts":
                return self._insert(body)
            case "GET", "/documents/pipeline_status":
                busy = self.working and any(one["status"] == "processing" for one in self.documents.values())
                fence = {"recovery_required": self.fenced, "recovery_message": "mend it"}
                return httpx.Response(200, json={"busy": busy, "latest_message": "at work", **fence})
            case "DELETE", "/documents/delete_document":
                assert not any(one["status"] == "processing" for one in self.documents.values())
                gone = set() if self.keeps else set(body["doc_ids"])
                self.most_missing = max(self.most_missing, len(gone))
                self.documents = {key: one for key, one in self.documents.items() if one["id"] not in gone}
                return httpx.Response(200, json={"status": "deletion_started"})
            case "POST", "/documents/reprocess_failed":
                self.working = True
                return httpx.Response(200, json={})
        return self._tracked(request.url.path.rpartition("/")[2])

    def api(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else {}
        match request.method, request.url.path:
            case "PUT", "/documents/records":
                for one in body["documents"]:
                    self.records[one["source"]] = self._record(one["source"], one["sha256"], one["state"])
                return httpx.Response(200, json={"recorded": len(body["documents"])})
            case "POST", "/documents/flush":
                self.flushes += 1
                return httpx.Response(200, json={"rows": 1})
        told = {"documents": list(self.records.values()), "next": None}
        return httpx.Response(200, json=told)

    def clock(self) -> float:
        self.now_s += 1.0
        return self.now_s

    def _insert(self, body: dict[str, Any]) -> httpx.Response:
        if self.vanishes:
            self.vanishes.unlink(missing_ok=True)
        if any(plain_source(name) in self.documents for name in body["file_sources"]):
            return httpx.Response(409, json={"detail": "already there"})
        track = f"track_{next(self.tracks)}"
        for name, text in zip(body["file_sources"], body["texts"], strict=True):
            source = plain_source(name)
            self.handed_over.append(source)
            if not self.forgets:
                self._put(source, text, track)
        if self.loses_answers:
            self.loses_answers -= 1
            return httpx.Response(502)
        return httpx.Response(200, json={"track_id": track})

    def _put(self, source: str, text: str, track: str) -> None:
        self.documents[source] = {
            "id": f"doc-{source}",
            "status": "processing",
            "file_path": upstream_source(source),
            "track_id": track,
            "left": self.rounds,
            "text": text,
        }

    def _tracked(self, track: str) -> httpx.Response:
        found = [one for one in self.documents.values() if one["track_id"] == track]
        for one in found:
            if self.working and one["status"] == "processing":
                one["left"] -= 1
                if one["left"] < 0:
                    one |= {"status": "processed", "chunks_count": 2}
                    if plain_source(one["file_path"]) in self.slow:
                        self.slow.remove(plain_source(one["file_path"]))
                        one |= {"status": "failed", "error_msg": "Worker execution timeout after 60s"}
                    if "bad" in one["text"]:
                        one |= {"status": "failed", "error_msg": "the model said no"}
        return httpx.Response(200, json={"documents": found})

    def _record(self, source: str, checksum: str, state: str) -> dict[str, Any]:
        told = {"id": source, "source": source, "sha256": checksum, "chunks": 2, "state": state}
        return {**told, "current": True, "updated_at": 1}


def load(servers: Servers, folder: Path) -> tuple[Summary, list[LoadEvent]]:
    events: list[LoadEvent] = []
    stdin = io.BytesIO(b"From standard input.")
    conditions = LoadConditions(cwd=folder, stdin=stdin, clock=servers.clock, wait_s=1000, poll_s=0.0)
    server = LightragClient("http://l", 5.0, transport=httpx.MockTransport(servers.upstream))
    api = ApiClient("http://a", 5.0, transport=httpx.MockTransport(servers.api))
    target = LightragTarget(server, api, "default")
    return load_into_lightrag([str(folder)], target, events.append, conditions), events


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / f"{name}.md").write_text(f"Text of {name}.\n")
    return tmp_path


def held(status: str) -> UpstreamDocument:
    return UpstreamDocument(id="doc-1", status=status, file_path="%2Fa.md")


def record(checksum: str = SHA, state: Any = "ready") -> StoredDocument:
    return StoredDocument(id="1", source="/a.md", sha256=checksum, chunks=1, state=state, current=True, updated_at=1)


@pytest.mark.parametrize(
    ("known", "there", "step"),
    [
        (None, None, DocumentStep.SEND),
        (record(), None, DocumentStep.SEND),
        (None, held("processed"), DocumentStep.REPLACE),
        (record("b" * 64), held("processed"), DocumentStep.REPLACE),
        (record(), held("processed"), DocumentStep.SKIP),
        (record(state="writing"), held("processed"), DocumentStep.SKIP),
        (record(state="writing"), held("failed"), DocumentStep.REPLACE),
        (record(state="writing"), held("pending"), DocumentStep.FOLLOW),
        (record(state="writing"), held("processing"), DocumentStep.FOLLOW),
    ],
)
def test_what_is_done_with_a_document(known: Any, there: Any, step: DocumentStep) -> None:
    assert decide(known, there, SHA) is step


def test_new_documents_are_handed_over_and_their_records_kept(folder: Path) -> None:
    servers = Servers()
    summary, events = load(servers, folder)
    assert (summary.created, summary.unchanged, summary.failed, summary.chunks) == (2, 0, (), 4)
    assert {one["state"] for one in servers.records.values()} == {"ready"}
    assert servers.flushes == 1
    assert any(isinstance(event, LoadProgress) and event.done_documents == 2 for event in events)


def test_a_second_run_hands_nothing_over(folder: Path) -> None:
    servers = Servers()
    load(servers, folder)
    servers.handed_over.clear()
    summary, _ = load(servers, folder)
    assert (summary.created, summary.unchanged) == (0, 2)
    assert servers.handed_over == []


def test_a_changed_document_takes_the_place_of_the_old_one(folder: Path) -> None:
    servers = Servers()
    load(servers, folder)
    (folder / "a.md").write_text("Another text of a.\n")
    summary, _ = load(servers, folder)
    assert (summary.created, summary.updated, summary.unchanged) == (0, 1, 1)
    assert "Another" in servers.documents[str(folder / "a.md")]["text"]


def test_what_an_interrupted_run_handed_over_is_waited_for(folder: Path) -> None:
    servers = Servers()
    servers.hold(str(folder / "a.md"), "Text of a.\n", "processing", "writing")
    summary, _ = load(servers, folder)
    assert (summary.created, servers.handed_over) == (2, [str(folder / "b.md")])


def test_a_server_that_was_restarted_is_told_to_go_on(folder: Path) -> None:
    servers = Servers(working=False)
    assert load(servers, folder)[0].created == 2


def test_a_document_that_failed_is_named_and_handed_over_by_the_next_run(folder: Path) -> None:
    (folder / "b.md").write_text("A bad text.\n")
    servers = Servers()
    summary, _ = load(servers, folder)
    assert (summary.created, summary.failed) == (1, (Failure(str(folder / "b.md"), "the model said no"),))
    servers.handed_over.clear()
    load(servers, folder)
    assert servers.handed_over == [str(folder / "b.md")]


def test_what_the_server_forgot_is_told(folder: Path) -> None:
    summary, _ = load(Servers(forgets=True), folder)
    assert len(summary.failed) == 2
    assert "run the same command again" in summary.failed[0][1]


def test_a_server_that_does_not_get_on_ends_the_load(folder: Path) -> None:
    with pytest.raises(WaitExpired, match="no progress for 900 s: at work"):
        load(Servers(rounds=10**6), folder)


def test_a_server_that_needs_a_person_ends_the_load(folder: Path) -> None:
    with pytest.raises(NeedsAttentionError, match="mend it"):
        load(Servers(rounds=3, fenced=True), folder)


def test_an_answer_that_is_lost_on_the_way_loses_no_document(folder: Path) -> None:
    servers = Servers(loses_answers=1)
    summary, _ = load(servers, folder)
    assert (summary.created, summary.failed, len(servers.handed_over)) == (2, (), 2)


def test_more_documents_than_a_batch_are_all_loaded(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number}.md").write_text(f"Number {number}.\n")
    servers = Servers(rounds=2)
    assert load(servers, tmp_path)[0].created == 50
    assert sorted(servers.handed_over) == sorted(set(servers.handed_over))


def changed(servers: Servers, folder: Path, count: int) -> list[str]:
    """So many documents that lightrag-server has in another version."""
    paths = [folder / f"{number:02}.md" for number in range(count)]
    for path in paths:
        path.write_text(f"New text of {path.name}.\n")
        servers.hold(str(path), f"Old text of {path.name}.\n")
    return [str(path) for path in paths]


def test_changed_documents_are_deleted_a_few_at_a_time_just_before_they_are_sent(folder: Path) -> None:
    servers = Servers()
    changed(servers, folder, 40)
    summary, _ = load(servers, folder)
    assert (summary.created, summary.updated, summary.failed) == (2, 40, ())
    assert servers.most_missing == BATCH


def test_a_file_that_vanishes_after_the_plan_is_one_failed_document_and_stays_as_it_was(
    folder: Path,
) -> None:
    servers = Servers()
    sources = changed(servers, folder, 3)
    servers.vanishes = Path(sources[1])
    summary, _ = load(servers, folder)
    assert [one.source for one in summary.failed] == [sources[1]]
    assert "No such file" in summary.failed[0].reason
    assert (summary.created, summary.updated) == (2, 2)
    assert servers.documents[sources[1]]["text"].startswith("Old text")


def test_an_old_version_that_cannot_be_deleted_fails_that_document_alone(folder: Path) -> None:
    servers = Servers(keeps=True)
    (source,) = changed(servers, folder, 1)
    summary, _ = load(servers, folder)
    assert summary.failed == (Failure(source, "lightrag-server has not deleted the old version", LOGS_HINT),)
    assert summary.created == 2


def test_a_document_that_was_too_slow_gets_a_second_try_alone(folder: Path) -> None:
    servers = Servers(slow={str(folder / "a.md")})
    summary, _ = load(servers, folder)
    assert (summary.created, summary.failed) == (2, ())
    assert servers.handed_over.count(str(folder / "a.md")) == 2


def test_a_document_that_is_too_slow_twice_has_failed(folder: Path) -> None:
    servers = Servers(slow=_Always({str(folder / "a.md")}))
    summary, _ = load(servers, folder)
    assert [(one.source, one.reason) for one in summary.failed] == [
        (str(folder / "a.md"), "Worker execution timeout after 60s")
    ]


class _Always(set[str]):
    def remove(self, element: str) -> None:
        """Nothing is ever taken out."""
