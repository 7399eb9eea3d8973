"""Calls of a busy API server, and calls whose answer is lost, over real HTTP."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kubernetes.client import Configuration
from kubernetes.client.api_client import ApiClient

from lightragctl.core.objects import ref
from lightragctl.deploy.conditional import apply_over
from lightragctl.kube.calls import Answer, Caller, Request, pause_s
from lightragctl.kube.client import ClusterClient
from lightragctl.kube.lease import ReleaseLock
from lightragctl.kube.model import ABSENT, ChangedMeanwhileError, ClusterUnavailableError, InvalidObjectError
from tests.fakes.api_server import ApiServer, Fault
from tests.fakes.release import LEASE, ignore, lock_holder

BUSY, LOST = Fault(429, retry_after="1"), Fault(0, takes_effect=True)
CUT, HALF = Fault(0), Fault(504, takes_effect=True)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


def config(**data: str) -> dict[str, Any]:
    metadata = {"name": "a", "namespace": "lightrag"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def there(server: ApiServer) -> dict[str, Any]:
    return server.cluster.objects[ref(config())]


WRITES: dict[str, tuple[str, Callable[[ClusterClient], dict[str, Any]]]] = {
    "apply": ("PATCH", lambda client: client.apply(config(a="2"))),
    "apply over what was seen": ("PATCH", lambda client: apply_over(client, config(a="2"), client.get(ref(config())))),
    "replace": ("PUT", lambda client: client.replace({**(client.get(ref(config())) or {}), "data": {"a": "2"}})),
    "get": ("GET", lambda client: (client.apply(config(a="2")), client.get(ref(config())) or {})[1]),
}


@pytest.mark.parametrize("fault", [BUSY, CUT, LOST, HALF, Fault(503), Fault(500), Fault(502)], ids=str)
@pytest.mark.parametrize("write", WRITES)
def test_a_call_that_was_not_answered_is_sent_again(server: ApiServer, write: str, fault: Fault) -> None:
    client = server.client()
    client.apply(config(a="1"))
    method, act = WRITES[write]
    server.faults = {method: [fault, fault]}
    assert act(client)["data"] == {"a": "2"}
    assert there(server)["data"] == {"a": "2"}
    assert len(server.paused) >= 2 - (fault in (LOST, HALF))


@pytest.mark.parametrize("fault", [BUSY, CUT, LOST, HALF], ids=str)
def test_an_object_is_made_once_though_the_answer_was_lost(server: ApiServer, fault: Fault) -> None:
    client = server.client()
    assert client.resource("v1", "ConfigMap")
    server.faults = {"POST": [fault]}
    assert client.create(config(a="1"))["data"] == {"a": "1"}
    server.faults = {"PATCH": [fault]}
    other = {**config(a="1"), "metadata": {"name": "b", "namespace": "lightrag"}}
    assert apply_over(client, other, None)["data"] == {"a": "1"}


@pytest.mark.parametrize("fault", [BUSY, CUT, LOST, HALF], ids=str)
def test_an_object_is_deleted_once_though_the_answer_was_lost(server: ApiServer, fault: Fault) -> None:
    client = server.client()
    made = client.apply(config(a="1"))
    server.faults = {"DELETE": [fault]}
    assert client.delete(ref(made), made["metadata"]["uid"], version=made["metadata"]["resourceVersion"])
    assert not client.delete(ref(made), made["metadata"]["uid"])


def test_a_conflict_with_others_is_no_lost_answer(server: ApiServer) -> None:
    client = server.client()
    made = client.apply(config(a="1"))
    server.cluster.edit(ref(made), "somebody", ("data", "a"), "theirs")
    server.faults = {"PUT": [CUT], "PATCH": [CUT], "POST": [CUT]}
    with pytest.raises(ChangedMeanwhileError):
        client.replace({**made, "data": {"a": "2"}})
    with pytest.raises(ChangedMeanwhileError):
        client.create(config(a="2"))
    pinned = {**config(), "metadata": {**config()["metadata"], "resourceVersion": ABSENT}}
    with pytest.raises(ChangedMeanwhileError):
        client.apply(pinned)
    assert there(server)["data"] == {"a": "theirs"}


@pytest.mark.parametrize("fault", [CUT, LOST], ids=str)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_the_lock_is_taken_though_the_answer_was_lost(server: ApiServer, method: str, fault: Fault) -> None:
    client = server.client()
    if method == "PUT":
        with ReleaseLock(client, LEASE, lock_holder(), "up", ignore) as before:
            before.take()
    server.faults = {method: [fault]}
    with ReleaseLock(client, LEASE, lock_holder(alive=lambda pid: True), "up", ignore) as lock:
        lock.take()
        lock.check()
        assert lock.fence == (2 if method == "PUT" else 1)


def test_an_hour_of_rest_is_not_waited_for(server: ApiServer) -> None:
    client = server.client()
    client.apply(config(a="1"))
    server.faults = {"PATCH": [Fault(429, retry_after="3600")]}
    with pytest.raises(ClusterUnavailableError, match=r"429 .*Retry-After: 3600 s"):
        client.apply(config(a="2"))
    assert server.paused == []


def test_what_the_server_asks_for_is_waited_for_and_a_little_more(server: ApiServer) -> None:
    client = server.client()
    client.apply(config(a="1"))
    server.faults = {"PATCH": [BUSY, BUSY]}
    client.apply(config(a="2"))
    assert all(1.0 < waited_s < 1.3 for waited_s in server.paused)


def test_a_refusal_is_not_repeated(server: ApiServer) -> None:
    client = server.client()
    with pytest.raises(InvalidObjectError):
        client.apply({**config(), "daat": {}})
    assert [one for one in server.seen if one.startswith("PATCH")] == ["PATCH /api/v1/namespaces/lightrag/configmaps/a"]


def test_an_error_of_the_server_that_stays_is_told_soon(server: ApiServer) -> None:
    client = server.client()
    client.apply(config(a="1"))
    server.faults = {"PATCH": [Fault(500)] * 9}
    with pytest.raises(ClusterUnavailableError, match="500"):
        client.apply(config(a="2"))
    assert len(server.paused) == 3


def test_a_group_that_is_down_is_told_at_once_and_others_go_on(server: ApiServer) -> None:
    client = server.client()
    server.broken = {"/apis/metrics.k8s.io/v1beta1": Fault(503)}
    begin = time.monotonic()
    with pytest.raises(ClusterUnavailableError, match=r"503 for metrics\.k8s\.io/v1beta1"):
        client.resource("metrics.k8s.io/v1beta1", "PodMetrics")
    assert time.monotonic() - begin < 5
    assert client.resource("v1", "Pod")
    server.broken = {}
    assert client.resource("metrics.k8s.io/v1beta1", "PodMetrics")


def caller(url: str, pauses: list[float]) -> Caller:
    return Caller(ApiClient(Configuration(host=url, proxy="", no_proxy="")), "fake", pauses.append)


def test_a_server_that_was_never_there_is_not_waited_for() -> None:
    pauses: list[float] = []
    with pytest.raises(ClusterUnavailableError, match="no response"):
        caller("http://127.0.0.1:1", pauses).call(Request("GET", "/"))
    assert pauses == []


@contextmanager
def dripping(answer: bytes) -> Iterator[str]:
    """A server that sends an answer's head at once and then a byte each 20 ms, without end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    connection.recv(65536)
                    connection.sendall(answer)
                    while True:
                        connection.sendall(b" ")
                        time.sleep(0.02)
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_an_answer_that_drips_ends_at_the_deadline() -> None:
    with dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n") as url:
        begin = time.monotonic()
        with pytest.raises(ClusterUnavailableError, match="did not end in time"):
            caller(url, []).call(Request("PUT", "/"), within_s=0.2)
        assert time.monotonic() - begin < 2


def test_a_proxy_that_does_not_answer_is_named() -> None:
    configuration = Configuration(host="http://cluster.example", proxy="http://127.0.0.1:1", no_proxy="")
    with pytest.raises(ClusterUnavailableError, match=r"through the proxy http://127\.0\.0\.1:1") as caught:
        Caller(ApiClient(configuration), "fake").call(Request("GET", "/"))
    assert "no_proxy" in caught.value.hint


def test_pauses_grow_differ_and_end() -> None:
    assert [pause_s(sent, None, 1.0) for sent in range(1, 8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert pause_s(1, None, 0.0) < pause_s(1, None, 1.0)
    assert pause_s(1, 7.0, 0.0) >= 7.0


def test_unknown_fields_are_no_busy_server() -> None:
    assert not Answer(500, {"message": "failed to create typed patch object: .spec.x: field not declared"}).is_busy
    assert Answer(500, {"message": "etcdserver: leader changed"}).is_busy
    assert not Answer(409, {}).is_busy
