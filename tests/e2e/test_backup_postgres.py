"""The story of a workspace whose key-value data, document status and graph are in PostgreSQL, and what goes wrong."""

import json
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import Tool
from tests.e2e.test_lightrag_server import Release as LightragRelease
from tests.e2e.test_lightrag_server import quiet, runtime_of

if TYPE_CHECKING:
    from tests.postgres.server import Postgres

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(find_spec("lightrag") is None, reason="upstream LightRAG is not installed: make lightrag"),
]

STORES = {
    "LIGHTRAG_KV_STORAGE": "PGKVStorage",
    "LIGHTRAG_DOC_STATUS_STORAGE": "PGDocStatusStorage",
    "LIGHTRAG_GRAPH_STORAGE": "PGTableGraphStorage",
}


class Release(LightragRelease):
    """A local release whose lightrag-server keeps all but vectors in PostgreSQL."""

    def __init__(self, base: Path, server: "Postgres") -> None:
        from tests.postgres.server import PASSWORD

        self.server, self.base = server, f"story_{server.port}"
        server.run("postgres", f"CREATE DATABASE {self.base}")
        where = {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": str(server.port), "POSTGRES_DATABASE": self.base}
        given = {**STORES, **where, "POSTGRES_USER": "postgres"}
        words = [f"components.lightrag-server.environment.{name}='{value}'" for name, value in given.items()]
        words.append("components.lightrag-server.environment.POSTGRES_PASSWORD={env: RAG_PASSWORD}")
        words.append(f"backup.destination=file://{base}/saves")
        super().__init__(base, "tables", *(part for word in words for part in ("--set", word)))
        self.place = [part for word in words for part in ("--set", word)]
        self.plain, self.tool = self.tool, Tool(self.tool.home, base, {"RAG_PASSWORD": PASSWORD})

    def told(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """The exit status and the document of a command, by a user who does not have the password at hand."""
        done = self.plain.run(*arguments, "--name", self.name, *self.place, "-o", "json")
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout)

    def answer(self) -> dict[str, Any]:
        """What upstream finds of the documents."""
        body = {"query": "Penguins", "mode": "mix", "hl_keywords": ["South"], "ll_keywords": ["Penguins"]}
        with self.client("lightrag-server") as upstream:
            found: dict[str, Any] = upstream.post("/query/data", json=body).raise_for_status().json()["data"]
        assert found["entities"]
        assert found["chunks"]
        return found

    def workspaces(self, table: str) -> dict[str, int]:
        found = self.server.run(self.base, f"SELECT workspace, count(*) FROM {table} GROUP BY 1")
        return {name: count for name, count in found}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, postgres: "Postgres") -> Iterator[Release]:
    base = tmp_path_factory.mktemp("tables")
    made = Release(base, postgres)
    made.options += ("--set", "components.embedder.model=hashing")
    try:
        done = made.up()
        assert done.returncode == 0, done.stdout + done.stderr
        (base / "about.md").write_text("Penguins live in the South. Auks live in the North.\n")
        assert made.ingest(str(base / "about.md"))["created"] == 1
        yield made
    finally:
        made.run("down", "--purge", "--yes")


def test_all_is_lost_and_comes_back_elsewhere_too(release: Release) -> None:
    before = release.answer()
    status, made = release.told("backup", "create")
    assert (status, made["table_count"], made["table_rows"] > 4) == (0, 10, True), made
    release.server.run(release.base, "DELETE FROM lightrag_doc_status; DELETE FROM lightrag_graph_nodes")
    release.server.run(release.base, "UPDATE lightrag_doc_chunks SET content = 'wrong'")
    status, done = release.told("restore", "latest", "--yes")
    assert status == 0, done
    assert done["proof"]["table_rows"] == made["table_rows"]
    assert done["proof"]["entities"] > 1
    assert release.answer() == before
    kept = [one for one in done["kept"] if one["name"].startswith("tables:")]
    assert len(kept) == 1
    assert f"default.{done['operation']}.kept" in release.workspaces("lightrag_doc_chunks")
    assert release.told("clone", "default", "second")[0] == 0
    assert release.told("restore", "latest", "--target-workspace", "third")[0] == 0
    assert release.workspaces("lightrag_doc_status")["second"] == 1
    assert release.told("operations", "cleanup", "--all", "--yes")[0] == 0
    assert set(release.workspaces("lightrag_graph_nodes")) == {"default", "second", "third"}
    assert release.answer() == before
