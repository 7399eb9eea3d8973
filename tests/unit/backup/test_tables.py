"""Tables of PostgreSQL in a backup: what the manifest has of them, and stores that do not fit. The database is a fake.

`tests/contract/test_postgres_tables.py` has the real one.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import pyrage
import pytest

from lightragctl.backup.chain import open_chain
from lightragctl.backup.examine import examine
from lightragctl.backup.graph import entity_id
from lightragctl.backup.manifest import InvalidBackupError, Manifest, parse, sealed, summary
from lightragctl.backup.origin import BackupOrigin
from lightragctl.backup.site import Work
from lightragctl.core.errors import RefusedError
from lightragctl.core.stores import KINDS, Database
from lightragctl.release.postgres import PostgresUnavailableError
from lightragctl.release.workspace_tables import WorkspaceTables
from tests.fakes.backup import Workspace, memory
from tests.fakes.copied import of_backup
from tests.unit.backup.test_copies import target
from tests.unit.backup.test_create import backed_up, verified
from tests.unit.backup.test_verify import flipped

DOCUMENTS = b'id,content\ndoc-1,"two\nlines"\ndoc-2,\ndoc-3,""\n'
NODES = b"namespace,id,properties\ngraph,Penguins,{}\ngraph,the South,{}\n"
TABLES = {"lightrag_doc_full": DOCUMENTS, "lightrag_graph_nodes": NODES}


def unreachable() -> Database:
    raise AssertionError("nothing connects")


def filled(tables: dict[str, bytes] = TABLES) -> Workspace:
    made = Workspace(tables=dict(tables))
    made.fill(3)
    return made


def test_rows_of_tables_are_in_the_backup_with_their_number_and_digest() -> None:
    storage = memory()
    made = backed_up(filled(), storage)
    found = made.tables[0]
    assert (found.name, found.columns, found.rows) == ("lightrag_doc_full", ("id", "content"), 3)
    assert found.digest == found.sha256 == hashlib.sha256(DOCUMENTS).hexdigest()
    assert storage.read(f"{made.id}/tables/lightrag_doc_full.csv", 1000) == DOCUMENTS
    assert (summary(made).table_count, summary(made).table_rows) == (2, 5)
    assert verified(storage, made.id).ok
    with BackupOrigin(open_chain(storage, made.id)).tables() as tables:
        for one in tables:
            with one.open() as rows:
                assert rows.read() == TABLES[one.name]


def test_encrypted_ones_have_the_digest_of_their_plain_text() -> None:
    key = pyrage.x25519.Identity.generate()
    storage = memory()
    made = backed_up(filled(), storage, recipients=(str(key.to_public()),))
    stored = storage.read(f"{made.id}/tables/lightrag_doc_full.csv.age", 10_000)
    assert b"doc-1" not in stored
    assert made.tables[0].sha256 == hashlib.sha256(stored).hexdigest()
    assert made.tables[0].digest == hashlib.sha256(DOCUMENTS).hexdigest()
    origin = BackupOrigin(open_chain(storage, made.id, (str(key),)))
    with origin.tables() as tables, next(iter(tables)).open() as rows:
        assert rows.read() == DOCUMENTS
    assert set(origin.entities()) == {entity_id("Penguins"), entity_id("the South")}


def test_a_flipped_bit_in_a_table_is_found() -> None:
    storage = memory()
    made = backed_up(filled(), storage)
    flipped(storage, f"{made.id}/tables/lightrag_doc_full.csv", 20)
    assert "lightrag_doc_full" in verified(storage, made.id).problems[0]
    origin = BackupOrigin(open_chain(storage, made.id))
    with pytest.raises(InvalidBackupError), origin.tables() as tables, next(iter(tables)).open():
        pass


def test_without_a_fence_a_changed_row_of_a_table_leads_to_another_pass() -> None:
    made = filled()
    made.fence, opened = None, made.open_tables
    passes = []

    def changing():  # type: ignore[no-untyped-def]
        passes.append(1)
        if len(passes) == 2:
            made.tables["lightrag_doc_full"] += b"doc-4,new\n"
        return opened()

    made.open_tables = changing  # type: ignore[method-assign]
    found = backed_up(made, memory())
    assert (found.consistency.passes, found.tables[0].rows) == (3, 4)


def test_a_database_that_goes_away_leaves_no_backup() -> None:
    class Broken:
        def __enter__(self) -> "Broken":
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def read(self, size: int) -> bytes:
            raise PostgresUnavailableError("PostgreSQL at db:5432/rag does not answer: gone")

    made, storage = filled(), memory()
    table = made.table("lightrag_doc_full", DOCUMENTS)
    made.table = lambda name, data: replace(table, open=Broken)  # type: ignore[method-assign,assignment]
    with pytest.raises(PostgresUnavailableError, match="does not answer"):
        backed_up(made, storage)
    assert not [path for path in storage.sizes("") if "manifest" in path or "tables" in path]


def test_a_manifest_of_before_tables_is_read_and_another_table_is_refused() -> None:
    made = backed_up(filled({}), memory())
    plain = made.model_dump(mode="json")
    del plain["tables"]
    assert parse(sealed(plain), made.id).tables == ()
    stored = {"path": "tables/x.csv", "size_bytes": 1, "sha256": "0" * 64, "digest": "0" * 64}
    entry = {**stored, "name": "pg_authid", "columns": ["id"], "rows": 1}
    with pytest.raises(InvalidBackupError, match=r"tables\.0\.name"):
        parse(sealed({**plain, "tables": [entry]}), made.id)


def backup_of(made: Manifest, storage: object) -> BackupOrigin:
    return BackupOrigin(open_chain(storage, made.id))  # type: ignore[arg-type]


def test_stores_that_would_stay_empty_are_refused(tmp_path: Path) -> None:
    storage = memory()
    origin = backup_of(backed_up(filled(), storage), storage)
    copied = target(tmp_path, origin)
    copied.origin = of_backup(origin)
    with (
        copied.open(None) as work,
        pytest.raises(RefusedError, match=r"was PGKVStorage, and is JsonKVStorage") as caught,
    ):
        examine(work, "t")
    assert "environment.LIGHTRAG_KV_STORAGE to PGKVStorage" in caught.value.hint
    with copied.open(None) as work:
        here = WorkspaceTables("default", (KINDS[0], KINDS[2]), unreachable)
        site = replace(work.site, tables=here)
        assert examine(Work(origin, site), "t").losses == ()
        both = replace(work.site, tables=replace(here, kinds=KINDS))
        with pytest.raises(RefusedError, match=r"was JsonDocStatusStorage, and is PGDocStatusStorage"):
            examine(Work(origin, both), "t")
        losses = examine(Work(origin, replace(site, files=None, tables=None)), "t").losses
        assert "2 tables of PostgreSQL: this release has no lightrag-server" in losses
