"""Load on Milvus itself: whole runs against searches over real gRPC."""

import numpy as np
import pytest

from lightragctl.bench.compare import ends
from lightragctl.bench.milvus import search_requests
from lightragctl.bench.plan import LoadPlan, WarmUp
from lightragctl.bench.quality import answers
from lightragctl.bench.result import LoadReport
from lightragctl.bench.run import run
from lightragctl.bench.schedule import Closed, Constant, Shape
from lightragctl.bench.targets import Target
from lightragctl.core.errors import UnavailableError
from lightragctl.vectors.model import IndexSpec
from lightragctl.vectors.sdk import milvus_pb2
from tests.fakes.milvus_server import MilvusServer

INDEX = IndexSpec("HNSW", "COSINE", search={"ef": 64})
VECTORS = np.eye(4, dtype=np.float32)


def measured(url: str, shape: Shape, timeout_s: float = 5.0) -> LoadReport:
    requests = search_requests("chunks", VECTORS, 2, INDEX)
    questions = [f"question {number}" for number in range(len(VECTORS))]
    target, warm_up = Target(url, "milvus"), WarmUp(0)
    whole = LoadPlan(target, questions, shape, 4, warm_up=warm_up, timeout_s=timeout_s, spin=False, requests=requests)
    return run(whole, lambda _: None)


@pytest.mark.parametrize("shape", [Constant(100, 1), Closed(1)], ids=["open", "closed"])
def test_each_question_is_a_search_of_its_own(shape: Shape) -> None:
    with MilvusServer() as server:
        report = measured(server.url, shape)
    assert report.outcomes == {"ok": len(server.requests)}
    assert {(one.collection_name, one.nq) for one in server.requests} == {("chunks", 1)}
    assert len({one.placeholder_group for one in server.requests}) == 4
    for hits in answers(report).values():
        assert [(hit.id, hit.source) for hit in hits] == [("c-1", "c-1.md"), ("c-2", "c-2.md")]


def test_a_refusal_is_counted_by_milvuss_code() -> None:
    refused = milvus_pb2.SearchResults()
    refused.status.code = 101
    refused.status.reason = "collection not loaded"
    with MilvusServer(refused) as server:
        report = measured(server.url, Constant(50, 1))
    assert (report.outcomes, report.statuses) == ({"http": 50}, {101: 50})
    assert [(one.status, one.start) for one in report.bad_answers] == [(101, "collection not loaded")]
    assert ends(report).failed == {"code 101": 50}


def test_what_takes_too_long_is_a_timeout_and_what_breaks_is_a_connection() -> None:
    with MilvusServer(delay_s=0.6) as server:
        assert measured(server.url, Constant(4, 1), timeout_s=0.2).outcomes == {"timeout": 4}
    with MilvusServer(last=100) as server:
        report = measured(server.url, Closed(2), timeout_s=0.5)
    assert report.outcomes["ok"] > 90
    assert report.outcomes["connection"] + report.outcomes.get("timeout", 0) < 200, "one that is down is not hammered"


def test_a_milvus_that_is_not_there_is_told() -> None:
    with MilvusServer() as server:
        url = server.url
    with pytest.raises(UnavailableError, match="Milvus does not answer"):
        measured(url, Closed(1))
