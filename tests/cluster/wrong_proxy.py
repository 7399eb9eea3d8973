"""A gRPC proxy in front of Milvus that negates the vectors of searches; runs in a pod: `proxy.py PORT MILVUS_PORT`."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
from pymilvus.grpc_gen import common_pb2, milvus_pb2

_CALL_S = 300.0
_SIZES = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def negated(message: bytes) -> bytes:
    """A SearchRequest for the opposite of its vectors."""
    request = milvus_pb2.SearchRequest.FromString(message)
    group = common_pb2.PlaceholderGroup.FromString(request.placeholder_group)
    for placeholder in group.placeholders:
        turned = [(-np.frombuffer(value, "<f4")).tobytes() for value in placeholder.values]
        del placeholder.values[:]
        placeholder.values.extend(turned)
    request.placeholder_group = group.SerializeToString()
    return bytes(request.SerializeToString())


class Proxy(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Passes every call on."""

    def __init__(self, milvus: str) -> None:
        self._channel = grpc.insecure_channel(milvus, options=_SIZES)

    def service(self, details: Any) -> Any:
        """The handler of one method, on bytes."""
        call, is_search = self._channel.unary_unary(details.method), details.method.endswith("/Search")

        def forward(message: bytes, context: Any) -> bytes:
            try:
                return bytes(call(negated(message) if is_search else message, timeout=_CALL_S))
            except grpc.RpcError as error:
                return _aborted(context.abort, error)

        return grpc.unary_unary_rpc_method_handler(forward)


def _aborted(abort: Callable[..., Any], error: Any) -> bytes:
    return bytes(abort(error.code(), error.details()))


def main(port: str, milvus_port: str) -> None:
    """Serve until the process is killed."""
    server = grpc.server(ThreadPoolExecutor(16), options=_SIZES)
    server.add_generic_rpc_handlers((Proxy(f"127.0.0.1:{milvus_port}"),))
    server.add_insecure_port(f"0.0.0.0:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
