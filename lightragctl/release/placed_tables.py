"""Replaces the rows of a workspace in PostgreSQL: written under another name, then renamed in one transaction.

lightrag-server of the workspace must be stopped. Every step may be repeated after a crash: for an operation OP and a
workspace NAME there are rows of the workspaces `NAME.OP.new` until the switch, and `NAME.OP.kept`, what was there
before, after it. lightrag-server can serve neither: our names of workspaces have no dots. A row of `NAME.OP.kept` that
was never LightRAG's shows that the switch was made, also when nothing was there before. Does network I/O.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightragctl.core.errors import RefusedError
from lightragctl.core.stores import DOCUMENTS, LOCATION, Table
from lightragctl.release.placed_files import uri
from lightragctl.release.postgres import connect
from lightragctl.release.workspace_tables import Extent, MissingTableError, WorkspaceTables, columns_of, measure

if TYPE_CHECKING:
    from lightragctl.release.postgres import Connection

_MARKER = "lightragctl"
"""The key of the row that shows that the switch was made."""


@dataclass(frozen=True)
class PlacedTables:
    """Rows of an operation for one workspace.

    Attributes:
        tables: where they go.
        operation: its id, part of the names of the workspaces beside.
    """

    tables: WorkspaceTables
    operation: str

    def check(self, columns: Mapping[str, Iterable[str]]) -> None:
        """Does nothing when the database can hold these columns, by table.

        Raises:
            MissingTableError: a table or a column is missing.
        """
        at = self.tables.database()
        with connect(at) as connection:
            for table in self.tables.tables:
                there = columns_of(connection, table.name, at)
                if missing := sorted(set(columns.get(table.name, ())) - set(there)):
                    message = f"table {table.name} of PostgreSQL at {at.address} has no column {', '.join(missing)}"
                    hint = "the rows are of another LightRAG; restore them into a release with the same version"
                    raise MissingTableError(message, hint)

    def begin(self) -> None:
        """Delete the rows of an earlier attempt.

        Raises:
            RefusedError: the rows are in place already.
        """
        with connect(self.tables.database()) as connection, connection.transaction():
            if self._is_switched(connection):
                raise RefusedError(f"{self.operation} has written its rows already", "resume it, or abort it")
            self._delete(connection, self._new)

    def write(self, name: str, columns: Iterable[str], pieces: Iterable[bytes]) -> None:
        """Write the rows of one table, from CSV with a header; they are committed on return.

        Raises:
            RefusedError: the table is none of those.
            PostgresError: a row cannot be written.
        """
        from psycopg import sql

        if name not in {table.name for table in self.tables.tables}:
            raise RefusedError(f"table {name!r} is not one that lightrag-server keeps a workspace in")
        listed = sql.SQL(", ").join(map(sql.Identifier, columns))
        table = sql.Identifier(name)
        arrived = sql.Identifier("lightragctl_arrived")
        with connect(self.tables.database()) as connection, connection.transaction():
            # A copy cannot add a column. Like the table but for its constraints, and not logged.
            made = sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA")
            connection.execute(made.format(arrived, listed, table))
            taken = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, HEADER)").format(arrived, listed)
            with connection.cursor().copy(taken) as copy:
                for piece in pieces:
                    copy.write(piece)
            put = sql.SQL("INSERT INTO {} (workspace, {}) SELECT {}, {} FROM {}")
            connection.execute(put.format(table, listed, sql.Literal(self._new), listed, arrived))

    def measured(self, columns: Mapping[str, Iterable[str]]) -> dict[str, Extent]:
        """What was written, read again: rows and digest by table."""
        at = self.tables.database()
        with connect(at) as connection, connection.transaction():
            return {
                table.name: measure(connection, at, table, tuple(columns[table.name]), self._new)
                for table in self.tables.tables
                if table.name in columns
            }

    def switch(self, inputs: tuple[str, str] = ("", "")) -> None:
        """Have the written rows be those of the workspace, in one transaction; the previous rows are kept.

        Args:
            inputs: the folder of the workspace's uploads where the rows come from, and where they go; absolute.
        """
        with connect(self.tables.database()) as connection, connection.transaction():
            if self._is_switched(connection):
                return
            self._rename(connection, self.tables.workspace, self._kept)
            self._rename(connection, self._new, self.tables.workspace)
            self._relocate(connection, *inputs)
            self._mark(connection)

    def undo(self) -> None:
        """Restore the previous rows and delete those of the operation, in one transaction."""
        with connect(self.tables.database()) as connection, connection.transaction():
            if self._is_switched(connection):
                self._delete(connection, self.tables.workspace)
                self._unmark(connection)
                self._rename(connection, self._kept, self.tables.workspace)
            self._delete(connection, self._new)

    def is_switched(self) -> bool:
        """Whether the rows of the operation are in place."""
        with connect(self.tables.database()) as connection:
            return self._is_switched(connection)

    def size_bytes(self) -> int:
        """About the size of the rows that the workspace has."""
        from psycopg import sql

        asked = sql.SQL("SELECT coalesce(sum(pg_column_size(t.*)), 0) FROM {} t WHERE workspace = %s")
        with connect(self.tables.database()) as connection:
            found = [
                connection.execute(asked.format(sql.Identifier(table.name)), [self.tables.workspace]).fetchone()
                for table in self.tables.tables
            ]
        return sum(int(row[0]) for row in found if row)

    def cleanup(self) -> None:
        """Delete the previous rows."""
        with connect(self.tables.database()) as connection, connection.transaction():
            self._delete(connection, self._kept)

    @property
    def _new(self) -> str:
        return f"{self.tables.workspace}.{self.operation}.new"

    @property
    def _kept(self) -> str:
        return f"{self.tables.workspace}.{self.operation}.kept"

    def _rename(self, connection: "Connection", before: str, after: str) -> None:
        """Rows that others have foreign keys to are copied, and deleted when those have followed."""
        for table in self.tables.tables:
            if table.is_parent:
                self._copy(connection, table, before, after)
            else:
                _execute(connection, "UPDATE {} SET workspace = %s WHERE workspace = %s", table, [after, before])
        for table in self.tables.tables:
            if table.is_parent:
                _execute(connection, "DELETE FROM {} WHERE workspace = %s", table, [before])

    def _copy(self, connection: "Connection", table: Table, before: str, after: str) -> None:
        from psycopg import sql

        names = columns_of(connection, table.name, self.tables.database())
        listed = sql.SQL(", ").join(map(sql.Identifier, names))
        text = sql.SQL("INSERT INTO {} (workspace, {}) SELECT {}, {} FROM {} WHERE workspace = {}")
        name = sql.Identifier(table.name)
        connection.execute(text.format(name, listed, sql.Literal(after), listed, name, sql.Literal(before)))

    def _delete(self, connection: "Connection", workspace: str) -> None:
        for table in reversed(self.tables.tables):
            _execute(connection, "DELETE FROM {} WHERE workspace = %s", table, [workspace])

    def _relocate(self, connection: "Connection", before: str, after: str) -> None:
        """Lead the paths of parsed uploads to the folder where they are now."""
        if not before or before == after:
            return
        for table in self.tables.tables:
            if table.name == DOCUMENTS and LOCATION in columns_of(connection, table.name, self.tables.database()):
                start, end = uri(before), uri(after)
                text = (
                    f"UPDATE {{}} SET {LOCATION} = %s || substr({LOCATION}, %s) "
                    f"WHERE workspace = %s AND left({LOCATION}, %s) = %s"
                )
                values = [end, len(start) + 1, self.tables.workspace, len(start), start]
                _execute(connection, text, table, values)

    @property
    def _marked(self) -> Table:
        return self.tables.tables[0]

    def _mark(self, connection: "Connection") -> None:
        names = self._marked.key
        text = f"INSERT INTO {{}} (workspace, {', '.join(names)}) VALUES (%s{', %s' * len(names)})"
        _execute(connection, text, self._marked, [self._kept, *[_MARKER for _ in names]])

    def _unmark(self, connection: "Connection") -> None:
        text = f"DELETE FROM {{}} WHERE workspace = %s AND {self._marked.key[-1]} = %s"
        _execute(connection, text, self._marked, [self._kept, _MARKER])

    def _is_switched(self, connection: "Connection") -> bool:
        text = f"SELECT 1 FROM {{}} WHERE workspace = %s AND {self._marked.key[-1]} = %s"
        return _execute(connection, text, self._marked, [self._kept, _MARKER])


def _execute(connection: "Connection", text: str, table: Table, values: list[object]) -> bool:
    """Run a statement on a table; whether it gave a row."""
    from psycopg import sql

    statement: sql.Composed = sql.SQL(text).format(sql.Identifier(table.name))
    cursor = connection.execute(statement, values)
    return cursor.description is not None and cursor.fetchone() is not None


def equal(wanted: Mapping[str, Extent], found: Mapping[str, Extent]) -> list[str]:
    """How the rows of tables differ from what they must be, one sentence each."""
    problems = []
    for name, one in wanted.items():
        there = found.get(name, Extent(0, ""))
        if there.rows != one.rows:
            problems.append(f"table {name} has {there.rows} rows, not {one.rows}")
        elif there.digest != one.digest:
            problems.append(f"rows of table {name} differ: the SHA-256 of their CSV is another")
    return problems
