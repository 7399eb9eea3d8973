"""The client: what a user is told when the service says no, says nonsense, or says nothing."""

import json
from collections.abc import Callable, Iterator

import httpx
import pytest

from lightragctl.client.api import ApiClient, ApiError
from lightragctl.core.errors import LightragctlError, UnavailableError
from lightragctl.core.hint import Command, Hint, hint_parts

HIT = {"id": "doc-1-chunk-000", "score": 0.9, "text": "t", "source": "/a.md", "chunk_order": 0}


def client(answer: Callable[[httpx.Request], httpx.Response]) -> ApiClient:
    return ApiClient("http://127.0.0.1:8080/", timeout_s=30, transport=httpx.MockTransport(answer))


def lines(*events: object) -> httpx.Response:
    return httpx.Response(200, content="".join(json.dumps(event) + "\n" for event in events))


def test_retrieve_sends_what_was_asked_and_returns_hits() -> None:
    bodies = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append((request.method, request.url.path, json.loads(request.content)))
        return httpx.Response(
            200, json={"workspace": "w", "collection": "c_g1", "hits": [HIT], "timing_ms": {"total": 3.5}, "new": 1}
        )

    with client(answer) as api:
        found = api.retrieve("问题", 3, workspace="w")
    assert bodies == [("POST", "/retrieve", {"query": "问题", "top_k": 3, "workspace": "w"})]
    assert (found.hits[0].source, found.hits[0].score, found.timing_ms["total"]) == ("/a.md", 0.9, 3.5)


def test_only_a_question_that_is_nobodys_asks_not_to_be_recorded() -> None:
    sent = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("X-Record"))
        return httpx.Response(200, json={"workspace": "w", "collection": "c_g1", "hits": []})

    with client(answer) as api:
        api.retrieve("a user's")
        api.retrieve("nobody's", recorded=False)
    assert sent == [None, "no"]


def test_query_returns_the_answer_with_its_citations() -> None:
    citation = {"marker": 1, "id": "doc-1-chunk-000", "source": "/a.md", "text": "t"}
    body = {"answer": "Yes [1].", "citations": [citation], "hits": [HIT], "model": "m", "timing_ms": {"chat": 1}}
    answer = client(lambda _: httpx.Response(200, json=body)).query("why?", filter="created_at > 0")
    assert (answer.answer, answer.citations[0].source, answer.model) == ("Yes [1].", "/a.md", "m")


def test_a_key_goes_with_every_request_and_none_where_there_is_none() -> None:
    sent: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("Authorization"))
        document = {"event": "document", "id": "d", "source": "/a", "status": "created", "chunks": 1}
        return lines(document) if request.url.path == "/documents" else httpx.Response(200, json={"rows": 0})

    for key in ("k", None):
        api = ApiClient("http://127.0.0.1:8080", 30, httpx.MockTransport(answer), api_key=key)
        api.post_document("/a", "text")
        api.flush()
    assert sent == ["Bearer k", "Bearer k", None, None]


def test_a_refused_key_is_an_error_that_says_where_the_key_comes_from() -> None:
    type_ = "urn:lightragctl:unauthorized"
    problem = {"type": type_, "title": "Unauthorized", "status": 401, "detail": "no", "hint": "header"}
    with pytest.raises(ApiError, match="no") as caught:
        client(lambda _: httpx.Response(401, json=problem)).retrieve("q")
    assert "components.lightrag-api.api_key" in caught.value.hint


def test_all_pages_of_documents_are_read() -> None:
    stored = {"source": "/a", "sha256": "0", "chunks": 1, "state": "ready", "current": True, "updated_at": 1}
    pages = {None: ("doc-1", "doc-1"), "doc-1": ("doc-2", "doc-2"), "doc-2": ("doc-3", None)}

    def answer(request: httpx.Request) -> httpx.Response:
        id_, following = pages[request.url.params.get("after")]
        return httpx.Response(200, json={"workspace": "w", "documents": [{**stored, "id": id_}], "next": following})

    assert [document.id for document in client(answer).list_documents("w")] == ["doc-1", "doc-2", "doc-3"]


def test_a_document_is_deleted_by_its_source() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.method == "DELETE"
        return httpx.Response(200, json={"deleted": {"id": "d", "source": request.url.params["source"], "chunks": 2}})

    assert client(answer).delete_document(source="/a b&c.md").source == "/a b&c.md"


def test_a_posted_document_reports_progress_until_it_is_acknowledged() -> None:
    moved: list[tuple[int, int]] = []
    document = {"event": "document", "id": "d", "source": "/a", "status": "created", "chunks": 64}
    progress = [{"event": "progress", "source": "/a", "chunks_done": n, "chunks": 64} for n in (32, 64)]
    api = client(lambda _: lines(*progress, document, {"event": "done"}))
    accepted = api.post_document("/a", "text", on_progress=lambda done, chunks: moved.append((done, chunks)))
    assert (accepted.status, accepted.chunks, moved) == ("created", 64, [(32, 64), (64, 64)])


def test_a_problem_becomes_an_error_with_its_detail_and_hint() -> None:
    problem = {"type": "urn:lightragctl:queue-full", "title": "x", "status": 429, "detail": "full", "hint": "wait"}
    response = httpx.Response(429, json=problem, headers={"Retry-After": "2"})
    with pytest.raises(ApiError) as caught:
        client(lambda _: response).retrieve("q")
    error = caught.value
    assert (error.message, error.hint, error.status, error.code) == ("full", "wait", 429, "queue-full")
    assert error.retry_after_s == 2


def test_the_commands_of_a_hint_arrive_as_commands() -> None:
    hint = Hint("turn it on: ", Command("up", "--set a=1"))
    problem = {"title": "Conflict", "status": 409, "detail": "off", "hint": hint, "hint_parts": hint_parts(hint)}
    with pytest.raises(ApiError) as caught:
        client(lambda _: httpx.Response(409, json=problem)).query("why?")
    assert isinstance(caught.value.hint, Hint)
    assert caught.value.hint.line(["--name", "two"], []) == "turn it on: lightragctl up --name two --set a=1"


def test_a_problem_inside_a_stream_is_the_same_error() -> None:
    problem = {"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": "no Milvus", "hint": ""}
    with pytest.raises(ApiError, match="no Milvus") as caught:
        client(lambda _: lines({"event": "error", "problem": problem})).post_document("/a", "text")
    assert caught.value.status == 503


def test_an_error_that_is_no_problem_document_is_shown_as_it_is() -> None:
    with pytest.raises(ApiError, match="502: Bad gateway here"):
        client(lambda _: httpx.Response(502, text="Bad gateway here")).flush()


def test_a_refused_connection_says_where_and_what_to_do() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[Errno 111] Connection refused")

    with pytest.raises(UnavailableError, match=r"nothing answers at http://127\.0\.0\.1:8080") as caught:
        client(answer).retrieve("q")
    assert "lightragctl status" in caught.value.hint
    assert "lightragctl up" in caught.value.hint


def test_a_silent_service_is_unavailable_after_the_timeout() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("timed out")

    with pytest.raises(UnavailableError, match="timed out: no data for 30 s"):
        client(answer).retrieve("q")


@pytest.mark.parametrize("content", ["", '{"event":"progress"}\n', '{"event":"docum'], ids=["empty", "early", "cut"])
def test_a_stream_that_ends_early_is_not_an_acknowledgement(content: str) -> None:
    with pytest.raises(UnavailableError):
        client(lambda _: httpx.Response(200, content=content)).post_document("/a", "text")


def test_a_connection_that_breaks_in_the_stream_is_unavailable() -> None:
    class Broken(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b'{"event":"progress","source":"/a","chunks_done":1,"chunks":2}\n'
            raise httpx.RemoteProtocolError("peer closed connection")

    with pytest.raises(UnavailableError, match="failed: peer closed"):
        client(lambda _: httpx.Response(200, stream=Broken())).post_document("/a", "text")


@pytest.mark.parametrize("content", ["<html>", "{}", '{"workspace":"w","collection":"c","hits":[{"id":1}]}', "[1]"])
def test_an_answer_that_is_not_understood_is_an_error_not_a_crash(content: str) -> None:
    with pytest.raises(LightragctlError, match="unexpected response"):
        client(lambda _: httpx.Response(200, content=content)).retrieve("q")


@pytest.mark.parametrize("line", ["[]", "{}", '{"event":"document","id":1}', '{"event":"progress","chunks_done":"x"}'])
def test_a_line_that_is_not_understood_is_an_error_not_a_crash(line: str) -> None:
    with pytest.raises(LightragctlError):
        client(lambda _: httpx.Response(200, content=line + "\n")).post_document(
            "/a", "text", on_progress=lambda done, chunks: None
        )
