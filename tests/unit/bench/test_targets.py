"""What is asked, over which header the key goes, and which answers are good."""

import json

import pytest

from lightragctl.bench.targets import (
    KINDS,
    FirstToken,
    RequestOutcome,
    Target,
    endpoint,
    hits,
    judge,
    kind_named,
    request_bytes,
)
from lightragctl.core.errors import UsageError
from tests.fakes.load_server import GOOD, STREAM, event

DATA = {"entities": [], "relationships": [], "chunks": [{"chunk_id": "c-1"}, {"content": "x"}, {"chunk_id": "c-2"}]}
FOUND = json.dumps({"status": "success", "message": "", "data": DATA}).encode()
NOTHING = json.dumps({"status": "failure", "message": "no results", "data": {}}).encode()
VECTORS = b'{"object":"list","data":[{"index":0,"embedding":[0.1]}],"model":"m"}'
WHOLE = b"".join(STREAM)


def parsed(request: bytes) -> tuple[str, dict[str, str], dict[str, object]]:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert int(headers["Content-Length"]) == len(body)
    return first, headers, json.loads(body)


def test_a_question_goes_into_the_body_beside_the_fields() -> None:
    target = Target("http://127.0.0.1:8080", fields={"top_k": 3, "workspace": "news"})
    first, headers, body = parsed(request_bytes(target, "wo ist 北京?"))
    assert first == "POST /retrieve HTTP/1.1"
    assert headers["Host"] == "127.0.0.1:8080"
    assert headers["Content-Type"] == "application/json"
    assert body == {"query": "wo ist 北京?", "top_k": 3, "workspace": "news"}


@pytest.mark.parametrize(
    ("kind", "path", "body"),
    [
        ("query", "/query", {"query": "q", "stream": True}),
        ("embeddings", "/v1/embeddings", {"input": "q"}),
        ("chat", "/v1/chat/completions", {"messages": [{"role": "user", "content": "q"}], "stream": True}),
        ("lightrag", "/query/data", {"query": "q"}),
    ],
)
def test_each_kind_asks_in_its_own_words(kind: str, path: str, body: object) -> None:
    first, _, asked = parsed(request_bytes(Target("http://h", kind), "q"))
    assert first == f"POST {path} HTTP/1.1"
    assert asked == body


@pytest.mark.parametrize("url", ["http://h/proxy", "http://h/proxy/", "http://h/proxy/v1", "http://h/proxy/v1/"])
def test_a_base_address_may_end_in_v1_as_openai_writes_it(url: str) -> None:
    assert parsed(request_bytes(Target(url, "embeddings"), "q"))[0] == "POST /proxy/v1/embeddings HTTP/1.1"


def test_the_key_goes_where_the_service_looks_for_it() -> None:
    ours = parsed(request_bytes(Target("http://h", "retrieve", api_key="secret"), "q"))[1]
    upstream = parsed(request_bytes(Target("http://h", "lightrag", api_key="secret"), "q"))[1]
    assert ours["Authorization"] == "Bearer secret"
    assert upstream["X-API-Key"] == "secret"


def test_an_endpoint_knows_its_port() -> None:
    assert [endpoint(Target(url)).port for url in ("http://h", "https://h", "http://[::1]:81")] == [80, 443, 81]
    assert endpoint(Target("https://h")).tls
    assert endpoint(Target("http://[::1]:81")).host == "::1"


@pytest.mark.parametrize(
    "target",
    [
        Target("h:80"),
        Target("ftp://h"),
        Target("http://h:port"),
        Target("http://"),
        Target("http://h/a\r\nX-Evil: 1"),
        Target("http://h", "nonsense"),
        Target("http://h", api_key="two\r\nlines"),
        Target("http://h", api_key=""),
    ],
)
def test_what_cannot_be_asked_is_refused(target: Target) -> None:
    with pytest.raises(UsageError):
        request_bytes(target, "q")


@pytest.mark.parametrize(
    ("kind", "status", "body", "outcome"),
    [
        ("retrieve", 200, GOOD, RequestOutcome.OK),
        ("retrieve", 200, b'{"hits":[]}', RequestOutcome.OK),
        ("retrieve", 200, b"<html>a proxy's page</html>", RequestOutcome.BAD_BODY),
        ("retrieve", 200, GOOD[:-1], RequestOutcome.BAD_BODY),
        ("retrieve", 200, b"", RequestOutcome.BAD_BODY),
        ("retrieve", 429, GOOD, RequestOutcome.HTTP),
        ("retrieve", 302, GOOD, RequestOutcome.HTTP),
        ("embeddings", 200, VECTORS, RequestOutcome.OK),
        ("embeddings", 200, b'{"error":{"message":"out of memory"}}', RequestOutcome.BAD_BODY),
        ("lightrag", 200, FOUND, RequestOutcome.OK),
        ("lightrag", 200, NOTHING, RequestOutcome.BAD_BODY),
        ("query", 200, WHOLE, RequestOutcome.OK),
        ("chat", 200, WHOLE.replace(b"\n", b"\r\n"), RequestOutcome.OK),
        ("chat", 200, b"".join(STREAM[:-1]), RequestOutcome.BAD_BODY),
        ("chat", 200, event("") + STREAM[-1], RequestOutcome.BAD_BODY),
        ("chat", 200, STREAM[1] + b'data: {"error": {"message": "gone"}}\n\n' + STREAM[-1], RequestOutcome.BAD_BODY),
        ("chat", 200, event('the word "error" and [DONE]') + STREAM[-1], RequestOutcome.OK),
    ],
)
def test_an_answer_is_judged_by_its_status_and_its_body(
    kind: str, status: int, body: bytes, outcome: RequestOutcome
) -> None:
    assert judge(kind_named(kind), status, body) is outcome


def test_the_first_token_is_the_first_text_wherever_the_pieces_are_cut() -> None:
    stream = b": a comment\n\n" + b"".join(STREAM)
    told = stream.index(STREAM[1]) + len(STREAM[1]) - 1  # the line is whole with its line end
    for cut in range(1, len(stream)):
        tokens = FirstToken()
        assert tokens.feed(stream[:cut]) == (cut >= told)
        assert cut >= told or tokens.feed(stream[cut:])


def test_hits_are_taken_from_bodies_that_were_kept() -> None:
    def ids(kind: str, body: bytes) -> list[str]:
        return [hit.id for hit in hits(KINDS[kind], body)]

    assert ids("retrieve", GOOD) == [f"chunk-{n}" for n in range(5)]
    assert {hit.source for hit in hits(KINDS["retrieve"], GOOD)} == {"a.md"}
    assert ids("query", WHOLE) == ["chunk-1", "chunk-2"]
    assert ids("lightrag", FOUND) == ["c-1", "c-2"]
    assert ids("embeddings", VECTORS) == []
    assert ids("retrieve", b"no JSON") == []


def test_a_source_that_upstream_keeps_as_a_name_is_told_as_the_path() -> None:
    body = b'{"status": "success", "data": {"chunks": [{"chunk_id": "doc-1", "file_path": "%2Fdocs%2Fa.md"}]}}'
    assert [hit.source for hit in kind_named("lightrag").hits(body)] == ["/docs/a.md"]


def test_credentials_of_a_url_are_sent_as_basic_ones_and_its_query_as_it_is() -> None:
    first, headers, _ = parsed(request_bytes(Target("http://me:p%40ss@h:81/base/?api_key=k%20y", "embeddings"), "q"))
    assert first == "POST /base/v1/embeddings?api_key=k%20y HTTP/1.1"
    assert headers["Authorization"] == "Basic bWU6cEBzcw=="
    assert headers["Host"] == "h:81"
    assert headers["Accept-Encoding"] == "identity"


def test_credentials_and_a_key_go_together_where_they_have_headers_of_their_own() -> None:
    headers = parsed(request_bytes(Target("http://me:pw@h", "lightrag", api_key="key"), "q"))[1]
    assert (headers["Authorization"], headers["X-API-Key"]) == ("Basic bWU6cHc=", "key")
    with pytest.raises(UsageError, match="mutually exclusive"):
        request_bytes(Target("http://me:pw@h", "retrieve", api_key="key"), "q")


@pytest.mark.parametrize("url", ["http://me:s3cret@h:x", "ftp://me:s3cret@h", "http://me:s3 cret@h", "me:s3cret@h"])
def test_an_address_that_is_refused_is_told_without_its_password(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        endpoint(Target(url))
    assert "s3" not in refused.value.message


def test_milvus_takes_no_credentials_in_its_address() -> None:
    with pytest.raises(UsageError, match="supports no credentials"):
        endpoint(Target("http://root:Milvus@h:19530", "milvus"))
