"""A re-embedding on real stores: renames, aliases, another dimension, and the way back."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightragctl.operations.model import Phase
from lightragctl.service.hashed_embeddings import hashed_vectors
from lightragctl.vectors.collections import MilvusCollections
from tests.contract.conftest import CALL_S
from tests.fakes.reembedded import NEW, OLD, Reembedded
from tests.milvus.fixtures import LiteServer
from tests.milvus.server import MilvusServer

_numbers = count()


@pytest.fixture(params=["lite", pytest.param("milvus", marks=pytest.mark.milvus)])
def store(request: pytest.FixtureRequest) -> Iterator[tuple[MilvusCollections, str]]:
    server: LiteServer | MilvusServer = request.getfixturevalue(request.param)
    opened, workspace = MilvusCollections(server.uri, CALL_S), f"reembedded{next(_numbers)}"
    yield opened, workspace
    for name in opened.list_collections():
        if name.startswith((workspace, "kept_0001", "reembed_0001")):
            opened.drop(name)
    opened.close()


@pytest.mark.parametrize("upstream", [False, True], ids=["ours", "upstream"])
def test_vectors_of_another_dimension_take_the_place_and_return(
    store: tuple[MilvusCollections, str], tmp_path: Path, upstream: bool
) -> None:
    opened, workspace = store
    made = Reembedded(tmp_path, rows=40, upstream=upstream, workspace=workspace, store=opened)
    opened.flush(f"{workspace}_chunks_old_8d")
    record = made.run()
    assert record.phase is Phase.SUCCEEDED, record.cause
    chunks = f"{workspace}_chunks_new_6d"
    assert opened.resolve(chunks) == (chunks if upstream else f"{chunks}_g1")
    assert opened.row_count(chunks) == 40
    row = opened.get(chunks, ["k003"], ["vector", "content", "file_path"])["k003"]
    assert np.allclose(row["vector"], hashed_vectors(["chunks text 3"], 6)[0])
    assert row["file_path"] == "3.md"

    made.place.store.delete(record.id)
    seeds = {one["old_alias"] or one["source"]: one["kept"] for one in record.results["moves"]}
    back: dict[str, Any] = {"old": NEW.model_dump(mode="json"), "profile": record.originals["release"]["profile"]}
    made.embed = lambda asked: hashed_vectors(asked, OLD.dimension)  # type: ignore[method-assign]
    record = made.run(**back, seeds=seeds)
    assert record.phase is Phase.SUCCEEDED, record.cause
    assert opened.row_count(f"{workspace}_chunks_old_8d") == 40
