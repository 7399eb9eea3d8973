"""Milvus is asked directly when it is ours, and through the environment's proxy when it is others'."""

import asyncio
import socket

import grpc
import numpy as np
import pytest

from lightragctl.vectors.milvus import MilvusStore
from lightragctl.vectors.model import IndexSpec, SearchBatch, StoreError, StoreUnavailableError
from lightragctl.vectors.sdk import channel_options, route
from lightragctl.vectors.search import MilvusSearch
from tests.fakes.milvus_server import MilvusServer

NOWHERE = "http://127.0.0.1:1"
BATCH = SearchBatch("c", np.ones((1, 2), np.float32), 1, IndexSpec("FLAT", "IP"), ["content"])


@pytest.fixture(autouse=True)
def _dead_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy"):
        monkeypatch.setenv(name, NOWHERE)
        monkeypatch.setenv(name.upper(), NOWHERE)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)


def test_searches_on_loopback_go_past_the_proxy() -> None:
    async def search(url: str) -> int:
        door = MilvusSearch(url)
        try:
            return len((await door.search(BATCH))[0])
        finally:
            await door.close()

    with MilvusServer() as server:
        assert asyncio.run(search(server.url)) == 2


def test_the_store_on_loopback_is_asked_past_the_proxy() -> None:
    with MilvusServer() as server, pytest.raises(StoreError) as caught:  # it knows nothing but searches, and says so
        MilvusStore(server.url, 5.0).list_collections()
    assert not isinstance(caught.value, StoreUnavailableError)


def test_a_milvus_of_others_is_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(10.0)
        monkeypatch.setenv("grpc_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        options = list(channel_options("milvus.example:19530").items())
        with grpc.insecure_channel("milvus.example:19530", options=options) as channel:
            channel.subscribe(lambda state: None, try_to_connect=True)
            asked = proxy.accept()[0]
            with asked:
                assert asked.recv(1024).startswith(b"CONNECT milvus.example:19530 HTTP/1")


def test_a_proxy_is_named_in_errors() -> None:
    assert route("http://milvus.example:19530") == f"http://milvus.example:19530 through the proxy {NOWHERE}"
    assert route("http://127.0.0.1:19530") == "http://127.0.0.1:19530"
