"""Reads the rows of a workspace that lightrag-server keeps in PostgreSQL: one snapshot, each table as CSV.

The column `workspace` is left out, so that rows of one name can be written under another. Text, order and null values
are the same on every server: two tables are equal when the SHA-256 of their CSV is. Does network I/O.
"""

import base64
import contextlib
import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any, cast

from lightragctl.core.errors import RefusedError, UsageError
from lightragctl.core.profile import Runtime
from lightragctl.core.settings import LightragServerSettings, SecretRef
from lightragctl.core.stores import PASSWORD, VARIABLES, Database, StoreKind, Table, database, in_postgres
from lightragctl.release.postgres import connect, translated, version_text
from lightragctl.release.writers import WRITER
from lightragctl.service.gateway import secret_value

if TYPE_CHECKING:
    from lightragctl.release.postgres import Connection
    from lightragctl.release.release import Release

_PIECE_BYTES = 1024 * 1024
_COLUMNS = """
    SELECT a.attname FROM pg_attribute a
    WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    ORDER BY a.attnum
"""


class MissingTableError(RefusedError):
    """A table that lightrag-server creates at its start is not there, or is one of an older LightRAG."""

    code = "missing-table"


@dataclass(frozen=True)
class Extent:
    """What a table has of a workspace: the number of rows, and the SHA-256 of their CSV."""

    rows: int
    digest: str


@dataclass
class TableRows:
    """The rows of one table; `extent` is known when the stream was read to its end."""

    name: str
    columns: Sequence[str]
    open: Callable[[], AbstractContextManager[IO[bytes]]]
    extent: Extent | None = None


@dataclass(frozen=True)
class WorkspaceTables:
    """The tables of one workspace in PostgreSQL.

    Attributes:
        workspace: its name, the value of the column `workspace`.
        kinds: the stores that are in PostgreSQL.
        database: where; it may have to read a secret.
    """

    workspace: str
    kinds: Sequence[StoreKind]
    database: Callable[[], Database] = field(repr=False)

    @property
    def tables(self) -> Sequence[Table]:
        """Those of its stores; one with foreign keys comes after the table that they refer to."""
        return [table for kind in self.kinds for table in kind.tables]

    def of(self, workspace: str) -> "WorkspaceTables":
        """The tables of another workspace in the same database."""
        return replace(self, workspace=workspace)

    def check(self) -> str:
        """The version of the server, where all tables are.

        Raises:
            MissingTableError: one is not.
            PostgresError, PostgresUnavailableError, RefusedError: as `connect`.
        """
        at = self.database()
        with connect(at) as connection:
            for table in self.tables:
                columns_of(connection, table.name, at)
            return version_text(connection.info.server_version)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Sequence[TableRows]]:
        """All tables as of one moment; each is to be read once, one after the other.

        Raises:
            MissingTableError: there is no such table.
            PostgresError, PostgresUnavailableError, RefusedError: as `connect`.
        """
        at = self.database()
        with connect(at) as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield [self._rows(connection, at, table) for table in self.tables]

    def _rows(self, connection: "Connection", at: Database, table: Table) -> TableRows:
        columns = columns_of(connection, table.name, at)
        found = TableRows(table.name, columns, lambda: reading(found))

        @contextlib.contextmanager
        def reading(one: TableRows) -> Iterator[IO[bytes]]:
            stream = CsvStream(csv_pieces(connection, table, columns, self.workspace), at)
            yield cast(IO[bytes], stream)
            one.extent = stream.extent

        return found


class CsvStream(io.RawIOBase):
    """The CSV of a table as a stream; `extent` when it is at its end."""

    def __init__(self, pieces: Iterator[bytes | int], at: Database) -> None:
        self._pieces, self._at = pieces, at
        self._rest = b""
        self._seen = hashlib.sha256()
        self.extent: Extent | None = None

    def readable(self) -> bool:
        """See `io`."""
        return True

    def read(self, size: int = -1) -> bytes:
        """See `io`."""
        if size < 0:
            return b"".join(iter(lambda: self.read(_PIECE_BYTES), b""))
        while len(self._rest) < size and self.extent is None:
            with translated(self._at):
                piece = next(self._pieces)
            if isinstance(piece, int):
                self.extent = Extent(piece, self._seen.hexdigest())
                break
            self._seen.update(piece)
            self._rest += piece
        found, self._rest = self._rest[:size], self._rest[size:]
        return found


def csv_pieces(connection: "Connection", table: Table, columns: Sequence[str], workspace: str) -> Iterator[bytes | int]:
    """The CSV of some columns of the rows of a workspace, with a header, by primary key; last, the number of rows."""
    from psycopg import sql

    order = [sql.SQL('{} COLLATE "C"').format(sql.Identifier(name)) for name in table.key]
    statement = sql.SQL(
        "COPY (SELECT {columns} FROM {table} WHERE workspace = {workspace} ORDER BY {order}) "
        "TO STDOUT (FORMAT csv, HEADER)"
    ).format(
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        table=sql.Identifier(table.name),
        workspace=sql.Literal(workspace),
        order=sql.SQL(", ").join(order),
    )
    cursor = connection.cursor()
    buffer = bytearray()
    with cursor.copy(statement) as copy:
        for piece in copy:
            buffer += piece
            if len(buffer) >= _PIECE_BYTES:
                yield bytes(buffer)
                buffer.clear()
    yield bytes(buffer)
    yield cursor.rowcount


def measure(connection: "Connection", at: Database, table: Table, columns: Sequence[str], workspace: str) -> Extent:
    """What a table has of a workspace."""
    stream = CsvStream(csv_pieces(connection, table, columns, workspace), at)
    while stream.read(_PIECE_BYTES):
        pass
    if stream.extent is None:
        raise AssertionError("a stream that is read to its end has its extent")
    return stream.extent


def columns_of(connection: "Connection", table: str, at: Database) -> list[str]:
    """The columns of a table but `workspace` and generated ones, in their order.

    Raises:
        MissingTableError: there is no such table.
    """
    found = [str(name) for (name,) in connection.execute(_COLUMNS, [table])]
    if "workspace" not in found:
        message = f"PostgreSQL at {at.address} has no table {table} with a column workspace"
        hint = "lightrag-server creates its tables when it starts: start it once with this database"
        raise MissingTableError(message, hint)
    return [name for name in found if name != "workspace"]


def find_tables(release: "Release") -> WorkspaceTables | None:
    """The tables of the workspace that the release's lightrag-server serves; None when all its stores are files.

    Raises:
        NotRunningError: there is no such release.
    """
    applied = release.runtime.applied()
    if WRITER not in applied.settings:
        return None
    settings = LightragServerSettings.model_validate(applied.settings[WRITER])
    kinds = in_postgres(settings.environment)
    if not kinds:
        return None
    return WorkspaceTables(settings.workspace, kinds, lambda: _database(_resolved(release, settings.environment)))


def _database(environment: Mapping[str, str]) -> Database:
    try:
        return database(environment)
    except ValueError as error:
        raise UsageError(f"components.{WRITER}.environment.POSTGRES_PORT is not a port") from error


def _resolved(release: "Release", given: Mapping[str, str | SecretRef]) -> dict[str, str]:
    """The variables that lead to the database, with values of secrets.

    Raises:
        UsageError: a secret cannot be read.
    """
    wanted = {name: given[name] for name in VARIABLES if name in given}
    environ = dict(release.environ)
    hidden = {one.env for one in wanted.values() if isinstance(one, SecretRef) and one.env}
    if missing := hidden - set(environ):
        environ |= {name: value for name, value in _handed(release).items() if name in missing}
    where = f"components.{WRITER}.environment"
    found = {
        name: one if isinstance(one, str) else secret_value(one, environ, f"{where}.{name}")
        for name, one in wanted.items()
    }
    if PASSWORD not in found:
        raise UsageError(f"{where}.{PASSWORD} is not set", "refer to a secret: {env: NAME}, or {secret: {name, key}}")
    return found


def _handed(release: "Release") -> dict[str, str]:
    """The secrets of lightrag-server that this process does not have in its environment."""
    if release.loaded.profile.runtime is Runtime.LOCAL:
        held = release.runtime.applied(include_secrets=True).secret_values
        return {name: base64.b64decode(value[""]).decode() for name, value in held.items() if "" in value}
    component = release.plan.components.get(WRITER)
    secrets: Mapping[str, Any] = component.secrets(release.plan) if component and component.secrets else {}
    read = {name: release.runtime.secret(key) for name, key in secrets.items() if name in VARIABLES}
    return {name: value for name, value in read.items() if value is not None}
