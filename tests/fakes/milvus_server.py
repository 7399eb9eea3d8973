"""A stand-in for Milvus's searches, for load: answers each alike over real gRPC, and misbehaves as it is told."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import grpc
from pymilvus.grpc_gen import schema_pb2

from lightragctl.vectors.sdk import milvus_pb2

SERVICE, METHOD = "milvus.proto.milvus.MilvusService", "Search"


def found(*ids: str) -> Any:
    """An answer with these hits, each of a document of its own."""
    results = schema_pb2.SearchResultData(topks=[len(ids)], scores=[0.9] * len(ids))
    results.ids.str_id.data.extend(ids)
    sources = results.fields_data.add(field_name="file_path")
    sources.scalars.string_data.data.extend(f"{one}.md" for one in ids)
    return milvus_pb2.SearchResults(results=results)


class MilvusServer:
    """Serves from entering to leaving.

    Attributes:
        answer: of every search.
        delay_s: before every answer.
        requests: those that came.
        last: it stops with so many.
    """

    def __init__(self, answer: Any = None, delay_s: float = 0.0, last: int | None = None) -> None:
        self.answer = found("c-1", "c-2") if answer is None else answer
        self.delay_s = delay_s
        self.last = last
        self.requests: list[Any] = []
        self._lock = threading.Lock()
        self._server = grpc.server(ThreadPoolExecutor(8))
        method = grpc.unary_unary_rpc_method_handler(
            self._search, milvus_pb2.SearchRequest.FromString, milvus_pb2.SearchResults.SerializeToString
        )
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})])
        self.url = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def _search(self, request: Any, _: Any) -> Any:
        with self._lock:
            self.requests.append(request)
            if len(self.requests) == self.last:
                threading.Thread(target=self.stop).start()
        time.sleep(self.delay_s)
        return self.answer

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Take no more searches and break those that are open."""
        self._server.stop(0).wait(10)
