"""pymilvus without its surprises: imported whatever the environment says, silent, its errors in our words. No I/O.

`vectors.milvus` and `vectors.search` alone use it. pymilvus reads MILVUS_URI when it is imported and fails on a path,
reads any `.env` above itself, and logs each error with a traceback.
"""

import contextlib
import logging
import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import grpc  # type: ignore[import-untyped]

from lightragctl.core.errors import LightragctlError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.proxies import proxy_for
from lightragctl.core.urls import shown
from lightragctl.vectors.model import (
    CollectionMissingError,
    InvalidFilterError,
    InvalidRowError,
    NotLoadedError,
    StoreError,
    StoreUnavailableError,
    WrongDimensionError,
)

CONNECT_S = 5.0
"""How long a new connection may take; one to an idle server takes 5 ms, a dead port is refused in as little."""
MISSING_HINT = Hint("load documents first: ", Command("ingest", "PATH"))


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Sets variables for the length of the block."""
    before = {name: os.environ.get(name) for name in values}  # noqa: TID251 - what pymilvus reads when it is imported
    os.environ.update(values)  # noqa: TID251
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]  # noqa: TID251
            else:
                os.environ[name] = value  # noqa: TID251


with _environment(MILVUS_URI="", PYTHON_DOTENV_DISABLED="1"):
    from pymilvus import DataType, MilvusClient, MilvusException
    from pymilvus.client.ts_utils import get_collection_ts, get_eventually_ts, update_collection_ts
    from pymilvus.client.utils import check_status
    from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2
    from pymilvus.grpc_gen.milvus_pb2_grpc import MilvusServiceStub

logging.getLogger("pymilvus").setLevel(logging.CRITICAL)


def channel_options(address: str) -> dict[str, Any]:
    """gRPC's options for a channel to Milvus at `host:port`: gRPC by itself sends even loopback through a proxy."""
    proxy = proxy_for(f"grpc://{address}")
    return {"grpc.http_proxy": proxy} if proxy else {"grpc.enable_http_proxy": 0}


def route(uri: str) -> str:
    """The address of a Milvus for a message, with the proxy that leads there."""
    proxy = proxy_for(f"grpc://{urlsplit(uri).netloc}")
    return f"{shown(uri)} through the proxy {shown(proxy)}" if proxy else shown(uri)


def stub(address: str) -> tuple[Any, Any]:
    """A channel to Milvus at `host:port` and the stub of its service on it, for what pymilvus's client does slowly.

    No keep-alive: Milvus Lite ends a connection with pings during a long call. Each call must have a deadline.
    """
    options = {
        "grpc.max_receive_message_length": -1,
        "grpc.max_send_message_length": -1,
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.max_reconnect_backoff_ms": 500,
        **channel_options(address),
    }
    channel = grpc.insecure_channel(address, options=list(options.items()))
    return channel, MilvusServiceStub(channel)


SdkError = (MilvusException, grpc.RpcError)
"""All that a call through pymilvus may raise."""

__all__ = ["DataType", "MilvusClient", "MilvusServiceStub", "check_status", "common_pb2", "milvus_pb2", "schema_pb2"]


# Codes are those of Milvus's `merr` package, which Milvus Lite shares in part; 2.3 answers much with 65535 and Milvus
# Lite with 1, so that the text decides where the code does not. All texts were seen on 2.3.5 or Milvus Lite 3.2.2.
_MISSING_CODES = {100}
_NOT_LOADED_CODES = {101, 103, 106}
_UNAVAILABLE_CODES = {2, 8, 503, 901, 902, 903, 904, 905, 906}
_MISSING = re.compile(r"CollectionNotExists|can't find collection")  # 2.3.0 with the code of everything
_NOT_LOADED = re.compile(r"not loaded|not fully loaded|is in state 'released'|fail to get shard leaders")
_UNAVAILABLE = re.compile(
    r"fail connecting|retry timeout|retry run out|closed channel|should create connection first|service unavailable"
    r"|not ready|wait_for|is state abnormal|deadline exceeded",
    re.IGNORECASE,
)
_BAD_FILTER = re.compile(
    r"parse expression|not a boolean expression|create query plan|maximum recursion depth|too large to convert"
    r"|unsupported (?:expr|left|right)|PlanProto"  # what 2.3 parses and cannot compute
)
_TOO_LARGE = re.compile(r"larger than max|maxOutputSize|message too large")
_BAD_ROW = re.compile(r"max.length|not a number|data type is inconsistent|missed an field|divide the dim|num_rows")
_LITE_ILLEGAL_ARGUMENT = 6
_ILLEGAL_PARAMETER = 1100


def store_error(problem: Any, subject: str, *, writing: bool = False) -> LightragctlError:
    """What an error of pymilvus means.

    Args:
        problem: one of `SdkError`.
        subject: the collection, or what else the call was about.
        writing: rows were sent; so an illegal argument is a row, else it is a filter.
    """
    code, text = _code_and_text(problem)
    if isinstance(code, grpc.StatusCode) or code in _UNAVAILABLE_CODES or _UNAVAILABLE.search(text):
        message = f"the vector store does not respond ({subject}): {_first_line(text)}"
        return StoreUnavailableError(message, Hint("see whether vector-engine is up: ", Command("status")))
    if code in _MISSING_CODES or _MISSING.search(text):
        return CollectionMissingError(f"there is no collection {subject}", MISSING_HINT)
    if code in _NOT_LOADED_CODES or _NOT_LOADED.search(text):
        return NotLoadedError(f"collection {subject} is not loaded: {_first_line(text)}", "load it, or wait a minute")
    return _refusal(code, text, subject, writing)


def lost_connection(problem: Any) -> bool:
    """Whether the client must be rebuilt; a call that merely timed out is no reason."""
    code, text = _code_and_text(problem)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return False
    return isinstance(code, grpc.StatusCode) or "closed channel" in text or "fail connecting" in text.lower()


def too_large(problem: Any) -> bool:
    """True when a request or an answer was larger than the server or a proxy allows; a smaller one may work."""
    code, text = _code_and_text(problem)
    return code is grpc.StatusCode.RESOURCE_EXHAUSTED or bool(_TOO_LARGE.search(text))


def unimplemented(problem: Any) -> bool:
    """True when the server does not know the call."""
    return _code_and_text(problem)[0] is grpc.StatusCode.UNIMPLEMENTED


def last_write(collection: str, address: str) -> int:
    """Milvus's timestamp of what this process wrote last; a search that names it sees all of that."""
    return int(get_collection_ts(collection, address) or get_eventually_ts())


def note_write(collection: str, address: str, timestamp: int) -> None:
    """Lets pymilvus know of a write that did not go through it, so that its reads of level Session see it."""
    update_collection_ts(collection, max(timestamp, get_collection_ts(collection, address) or 0), address)


def dimension_of(described: Any) -> int:
    """The dimension of a collection, from pymilvus's description of it."""
    return next(int(one["params"]["dim"]) for one in described["fields"] if one["name"] == "vector")


def wrong_dimension(collection: str, has: int, given: int) -> WrongDimensionError:
    """The error for vectors of another dimension; each server reports it differently."""
    message = f"collection {collection} has dimension {has}, the vectors {given}"
    return WrongDimensionError(message, "use the embedding model that the collection was filled with")


def _refusal(code: int, text: str, subject: str, writing: bool) -> LightragctlError:
    illegal = code in (_LITE_ILLEGAL_ARGUMENT, _ILLEGAL_PARAMETER)
    if writing and (illegal or _BAD_ROW.search(text)):
        return InvalidRowError(f"a row does not fit collection {subject}: {text}")
    if not writing and (code == _LITE_ILLEGAL_ARGUMENT or _BAD_FILTER.search(text)):
        return InvalidFilterError(f"the filter is not understood: {text}", 'example: file_path == "notes/a.md"')
    return StoreError(f"the vector store refused ({subject}): {text or 'it gave no reason'} (code {code})")


def _code_and_text(problem: Any) -> tuple[Any, str]:
    if isinstance(problem, grpc.RpcError):
        return problem.code(), str(problem.details() or problem.code())
    return problem.code, str(problem.message)


def _first_line(text: str) -> str:
    return text.split("\n", 1)[0][:300]
