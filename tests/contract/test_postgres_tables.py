"""The rows of a workspace in a real PostgreSQL: read as CSV, written beside, renamed, and what goes wrong."""

import csv
import io
import itertools
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from lightragctl.core.errors import LightragctlError, RefusedError
from lightragctl.core.stores import KINDS, Database
from lightragctl.release import placed_tables
from lightragctl.release.placed_files import uri
from lightragctl.release.placed_tables import PlacedTables, equal
from lightragctl.release.postgres import PostgresError, PostgresUnavailableError, check_version, connect, version_text
from lightragctl.release.workspace_tables import Extent, MissingTableError, WorkspaceTables

if TYPE_CHECKING:
    from tests.postgres.server import Postgres

pytestmark = pytest.mark.slow

NAMES = itertools.count()
KEY_VALUES = """
    CREATE TABLE {} (id varchar(255), workspace varchar(255), content text, meta jsonb, size double precision,
        sidecar_location text, create_time timestamp(0) DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (workspace, id))
"""
GRAPH = """
    CREATE TABLE lightrag_graph_nodes (workspace text, namespace text DEFAULT 'graph', id text,
        properties jsonb DEFAULT '{}', updated_at timestamptz DEFAULT now(), PRIMARY KEY (workspace, namespace, id));
    CREATE TABLE lightrag_graph_edges (workspace text, namespace text DEFAULT 'graph', src_id text, tgt_id text,
        properties jsonb DEFAULT '{}', PRIMARY KEY (workspace, namespace, src_id, tgt_id),
        FOREIGN KEY (workspace, namespace, src_id) REFERENCES lightrag_graph_nodes ON DELETE CASCADE,
        FOREIGN KEY (workspace, namespace, tgt_id) REFERENCES lightrag_graph_nodes ON DELETE CASCADE)
"""
HOSTILE = [
    None,
    "",
    " ",
    "NULL",
    "\\N",
    "\\.",
    'a "quoted" word',
    "two\r\nlines\n",
    "comma, \t tab",
    "café 書 🙂",
    "'; DROP",
]


class Killed(BaseException):
    """The process ends here."""


class Base:
    """A database of its own with LightRAG's tables, as far as the copy looks at them."""

    def __init__(self, server: "Postgres") -> None:
        import psycopg

        self.server, self.name = server, f"test_{next(NAMES)}"
        server.run("postgres", f"CREATE DATABASE {self.name}")
        self.session = psycopg.connect(**server.parameters(self.name), autocommit=True)
        plain = [table.name for kind in KINDS[:2] for table in kind.tables]
        self.run("; ".join([*map(KEY_VALUES.format, plain), GRAPH]))

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        cursor = self.session.execute(statement, values or None)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []

    def clear(self) -> None:
        self.run("TRUNCATE " + ", ".join(table.name for kind in KINDS for table in kind.tables))

    @property
    def database(self) -> Database:
        return self.server.database(self.name)

    def tables(self, workspace: str = "default") -> WorkspaceTables:
        return WorkspaceTables(workspace, KINDS, lambda: self.database)

    def fill(self, workspace: str, values: list[Any]) -> None:
        for number, value in enumerate(values):
            put = "INSERT INTO {} (workspace, id, content, meta, size) VALUES (%s, %s, %s, %s, %s)"
            meta = json.dumps({"b": [1.50], "a": None})
            for table in ("lightrag_doc_full", "lightrag_doc_status"):
                self.run(put.format(table), workspace, f"doc-{number}", value, meta, number / 3)
            self.run(
                "INSERT INTO lightrag_graph_nodes (workspace, id) VALUES (%s, %s)", workspace, f"N{number} {value}"
            )
        names = [row[0] for row in self.run("SELECT id FROM lightrag_graph_nodes WHERE workspace = %s", workspace)]
        for one, other in itertools.pairwise(names):
            put = "INSERT INTO lightrag_graph_edges (workspace, src_id, tgt_id) VALUES (%s, %s, %s)"
            self.run(put, workspace, one, other)

    def content(self) -> dict[str, dict[str, list[tuple[Any, ...]]]]:
        """The rows by workspace and table; without workspaces that have none."""
        found: dict[str, dict[str, list[tuple[Any, ...]]]] = {}
        for table in (table for kind in KINDS for table in kind.tables):
            for workspace, text in self.run(
                f"SELECT workspace, to_jsonb(t) - 'workspace' FROM {table.name} t ORDER BY 1, 2"
            ):
                found.setdefault(workspace, {}).setdefault(table.name, []).append(text)
        return found


@pytest.fixture(scope="module")
def shared(postgres: "Postgres") -> Base:
    return Base(postgres)


@pytest.fixture
def base(shared: Base) -> Iterator[Base]:
    yield shared
    shared.clear()


def read(tables: WorkspaceTables) -> tuple[dict[str, bytes], dict[str, Extent], dict[str, list[str]]]:
    """The CSV, the extents and the columns of all tables."""
    texts, extents, columns = {}, {}, {}
    with tables.snapshot() as found:
        for one in found:
            with one.open() as stream:
                texts[one.name] = b"".join(iter(lambda: stream.read(100), b""))
            assert one.extent is not None
            extents[one.name], columns[one.name] = one.extent, list(one.columns)
    return texts, extents, columns


def put(placed: PlacedTables, texts: dict[str, bytes], columns: dict[str, list[str]]) -> None:
    placed.begin()
    for name, text in texts.items():
        placed.write(name, columns[name], [text[:7], text[7:]])


def test_rows_come_back_under_another_name_whatever_is_in_them(base: Base, postgres: "Postgres") -> None:
    base.fill("default", HOSTILE)
    base.fill("other", ["not mine"])
    texts, extents, columns = read(base.tables())
    assert extents["lightrag_doc_full"].rows == len(HOSTILE)
    assert extents["lightrag_llm_cache"].rows == 0
    rows = csv.DictReader(io.StringIO(texts["lightrag_doc_full"].decode(), newline=""))
    assert {row["id"]: row["content"] for row in rows} == {f"doc-{n}": text or "" for n, text in enumerate(HOSTILE)}
    assert "workspace" not in columns["lightrag_doc_full"]

    elsewhere = Base(postgres)
    placed = PlacedTables(elsewhere.tables("copied"), "restore-1")
    placed.check(columns)
    put(placed, texts, columns)
    assert equal(extents, placed.measured(columns)) == []
    placed.switch()
    assert elsewhere.content()["copied"] == base.content()["default"]
    assert read(elsewhere.tables("copied"))[:2] == (texts, extents)


def test_what_was_there_is_kept_until_it_is_cleaned_up(base: Base) -> None:
    base.fill("default", ["old"])
    base.fill("other", ["not mine", "nor this"])
    before = base.content()
    placed = PlacedTables(base.tables(), "restore-1")
    put(placed, *[read(base.tables("other"))[at] for at in (0, 2)])  # type: ignore[arg-type]
    assert not placed.is_switched()
    placed.switch()
    assert placed.is_switched()
    assert base.content()["default"] == base.content()["other"] == before["other"]
    with pytest.raises(RefusedError, match="restore-1 has written its rows already"):
        placed.begin()
    placed.switch()  # a repetition does nothing
    assert base.content()["default"] == before["other"]
    placed.cleanup()
    assert set(base.content()) == {"default", "other"}


@contextmanager
def _dying(monkeypatch: pytest.MonkeyPatch, at: int) -> Iterator[Callable[[], bool]]:
    """The process dies before its statement of this number; the result tells whether it did."""
    count, died = itertools.count(), False

    class Mortal:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def execute(self, *arguments: Any) -> Any:
            nonlocal died
            if next(count) == at:
                died = True
                raise Killed
            return self._inner.execute(*arguments)

    @contextmanager
    def connected(database: Database) -> Iterator[Any]:
        with connect(database) as connection:
            yield Mortal(connection)

    with monkeypatch.context() as patch:
        patch.setattr(placed_tables, "connect", connected)
        yield lambda: died


@pytest.mark.parametrize(
    ("old", "new", "step"),
    [
        pytest.param(["old"], ["new", "newer"], 29, id="some"),
        pytest.param(["old"], ["new", "newer"], 1, marks=pytest.mark.drill, id="all"),
        pytest.param([], ["new"], 1, marks=pytest.mark.drill, id="nothing before"),
        pytest.param(["old"], [], 1, marks=pytest.mark.drill, id="nothing new"),
    ],
)
def test_a_death_at_any_statement_leaves_the_old_or_the_new_rows(
    base: Base, monkeypatch: pytest.MonkeyPatch, old: list[str], new: list[str], step: int
) -> None:
    base.fill("default", old)
    base.fill("other", new)
    before = base.content()
    texts, _, columns = read(base.tables("other"))
    placed = PlacedTables(base.tables(), "restore-1")
    for at in itertools.count(step=step):
        with _dying(monkeypatch, at) as died:
            try:
                put(placed, texts, columns)
                placed.switch()
                placed.undo()
            except Killed:
                pass
        seen = base.content()
        assert seen.get("default", {}) in (before.get("default", {}), before.get("other", {}))
        if not placed.is_switched():
            put(placed, texts, columns)
            placed.switch()
        assert base.content().get("default", {}) == before.get("other", {})
        placed.undo()
        assert base.content() == before
        if not died():
            break
    assert at > 50


def test_paths_of_parsed_uploads_lead_to_their_new_folder(base: Base) -> None:
    base.fill("other", ["a", "b"])
    move = "UPDATE lightrag_doc_full SET sidecar_location = %s WHERE workspace = 'other' AND id = %s"
    base.run(move, uri("/old ü/inputs/other") + "__parsed__/a", "doc-0")
    base.run(move, "file:///elsewhere/b", "doc-1")
    texts, extents, columns = read(base.tables("other"))
    placed = PlacedTables(base.tables(), "restore-1")
    put(placed, texts, columns)
    assert equal(extents, placed.measured(columns)) == []
    placed.switch(("/old ü/inputs/other", "/new/inputs/default"))
    found = base.run("SELECT sidecar_location FROM lightrag_doc_full WHERE workspace = 'default' ORDER BY id")
    assert found == [("file:///new/inputs/default/__parsed__/a",), ("file:///elsewhere/b",)]


def test_a_changed_or_lost_row_is_found(base: Base) -> None:
    base.fill("other", ["a", "b"])
    texts, extents, columns = read(base.tables("other"))
    placed = PlacedTables(base.tables(), "restore-1")
    put(placed, texts, columns)
    base.run("UPDATE lightrag_doc_full SET content = 'B' WHERE workspace = 'default.restore-1.new' AND id = 'doc-1'")
    base.run("DELETE FROM lightrag_graph_edges WHERE workspace = 'default.restore-1.new'")
    assert equal(extents, placed.measured(columns)) == [
        "rows of table lightrag_doc_full differ: the SHA-256 of their CSV is another",
        "table lightrag_graph_edges has 0 rows, not 1",
    ]


def test_what_lightrag_server_has_not_created_is_named(postgres: "Postgres") -> None:
    base = Base(postgres)
    base.run("ALTER TABLE lightrag_doc_full DROP COLUMN meta")
    with pytest.raises(MissingTableError, match=r"table lightrag_doc_full .* has no column meta"):
        PlacedTables(base.tables(), "restore-1").check({"lightrag_doc_full": ["id", "content", "meta"]})
    base.run("DROP TABLE lightrag_doc_status")
    with pytest.raises(MissingTableError, match="no table lightrag_doc_status") as caught, base.tables().snapshot():
        pass
    assert "start it once" in caught.value.hint


def test_a_hostile_backup_writes_to_no_other_table(base: Base) -> None:
    placed = PlacedTables(base.tables(), "restore-1")
    with pytest.raises(RefusedError, match="pg_authid"):
        placed.write("pg_authid", ["id"], [])
    with pytest.raises(LightragctlError, match="does not exist"):
        placed.write("lightrag_doc_full", ['id") FROM pg_authid --'], [])


def test_wrong_passwords_and_databases_are_told_from_outages(base: Base, postgres: "Postgres") -> None:
    right = base.database
    wrong = Database(right.host, right.port, right.name, right.user, "wrong-password")
    with (
        pytest.raises(PostgresError, match=r"cannot log in .* password authentication failed") as caught,
        connect(wrong),
    ):
        pass
    assert "POSTGRES_PASSWORD" in caught.value.hint
    assert "wrong-password" not in repr(caught.value) + repr(caught.value.__context__) + repr(wrong)
    with pytest.raises(PostgresError, match='database "nowhere" does not exist'), connect(postgres.database("nowhere")):
        pass
    gone = Database(right.host, 1, right.name, right.user, "x")
    with pytest.raises(PostgresUnavailableError, match=r"does not answer: .*Connection refused"), connect(gone):
        pass


def die_while_read(server: "Postgres", stream: Any) -> None:
    assert stream.read(10)
    server.stop(signal.SIGQUIT)
    while stream.read(1_000_000):
        pass


def test_a_server_that_is_killed_while_it_is_read_is_an_outage(postgres: "Postgres") -> None:
    base = Base(postgres)
    rows = "INSERT INTO lightrag_doc_full (workspace, id, content) SELECT 'default', n, repeat('x', 1000000) FROM "
    base.run(f"{rows} generate_series(1, 20) n")
    try:
        with (
            pytest.raises(PostgresUnavailableError, match="does not answer"),
            base.tables().snapshot() as tables,
            tables[0].open() as stream,
        ):
            die_while_read(postgres, stream)
    finally:
        postgres.start()


@pytest.mark.parametrize(("number", "text"), [(90_624, "9.6.24"), (110_022, "11.22")])
def test_a_server_that_is_too_old_is_refused(number: int, text: str) -> None:
    with pytest.raises(RefusedError, match=f"is {text}; lightragctl needs 12 or newer"):
        check_version(number, "db:5432/rag")
    check_version(120_000, "db:5432/rag")
    assert version_text(150_018) == "15.18"
