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
from tests.postgres.fixtures import PASSWORD

if TYPE_CHECKING:
    from tests.postgres.server import Postgres

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
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
        return dict(found)


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


def test_what_cannot_be_saved_is_told_before_anything_is_stopped(release: Release) -> None:
    before = release.part("lightrag-server")["pid"]
    stranger = Tool(release.tool.home, release.tool.cwd, {"RAG_PASSWORD": "not-the-password"})
    done = stranger.run("backup", "create", "--name", release.name, *release.place)
    assert done.returncode == 1
    assert "as user postgres: password authentication failed" in done.stderr
    assert "not-the-password" not in done.stderr
    release.server.run(release.base, "ALTER TABLE lightrag_entity_chunks RENAME TO elsewhere")
    try:
        status, told = release.told("backup", "create")
        assert (status, told["errors"][0]["code"]) == (8, "missing-table")
        assert "no table lightrag_entity_chunks" in told["errors"][0]["message"]
    finally:
        release.server.run(release.base, "ALTER TABLE elsewhere RENAME TO lightrag_entity_chunks")
    assert release.part("lightrag-server")["pid"] == before
    assert not list(Path(release.tool.cwd, "saves").rglob("manifest.json"))


def test_all_is_lost_and_comes_back_under_another_name_too(release: Release) -> None:
    before = release.answer()
    status, made = release.told("backup", "create")
    assert (status, made["table_count"], made["table_rows"] > 4) == (0, 10, True), made
    saves = Path(release.tool.cwd, "saves")
    assert not [path for path in saves.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    release.server.run(release.base, "DELETE FROM lightrag_doc_status; DELETE FROM lightrag_graph_nodes")
    release.server.run(release.base, "UPDATE lightrag_doc_chunks SET content = 'wrong'")
    assert release.told("restore", "latest", "--target-workspace", "third")[0] == 0
    status, done = release.told("restore", "latest", "--yes")
    assert status == 0, done
    assert done["proof"]["table_rows"] == made["table_rows"]
    assert done["proof"]["entities"] > 1
    assert release.answer() == before
    assert [one["name"] for one in done["kept"]].count(f"tables:default:{done['operation']}") == 1
    assert f"default.{done['operation']}.kept" in release.workspaces("lightrag_doc_chunks")
    assert release.told("operations", "cleanup", "--all", "--yes")[0] == 0
    assert set(release.workspaces("lightrag_doc_chunks")) == {"default", "third"}
    assert release.workspaces("lightrag_graph_edges")["third"] == release.workspaces("lightrag_graph_edges")["default"]
    assert release.answer() == before


@pytest.mark.drill
def test_a_clone_has_the_rows_and_a_dead_database_leaves_no_backup(release: Release) -> None:
    assert release.told("clone", "default", "second")[0] == 0
    assert release.workspaces("lightrag_doc_status")["second"] == 1
    known = release.told("backup", "list")[1]["backups"]
    release.server.stop(signal.SIGQUIT)
    try:
        status, done = release.told("backup", "create")
        assert (status, done["errors"][0]["code"]) == (1, "postgres-unavailable")
    finally:
        release.server.start()
    assert release.told("backup", "list")[1]["backups"] == known
