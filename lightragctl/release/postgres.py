"""The one door to PostgreSQL: sessions, and its errors in our words. Does network I/O.

The password is handed to the driver in memory: it is in no command line, no file and no message.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lightragctl.core.errors import LightragctlError, RefusedError, UnavailableError
from lightragctl.core.stores import PASSWORD, Database

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]
    Cursor = psycopg.Cursor[tuple[Any, ...]]

OLDEST = 12
"""The oldest major version: earlier ones have no `pg_attribute.attgenerated`, and write floats with fewer digits."""
_LOGIN = ("password authentication", "pg_hba.conf", "does not exist", "not permitted", "permission denied", "SSL")
"""In messages of a refused login: to try again does not help."""
_TEXT = {
    "application_name": "lightragctl",
    "client_encoding": "UTF8",
    "datestyle": "ISO",
    "timezone": "UTC",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "lock_timeout": "60s",
}
"""Of a session: equal values have equal text on every server, and a slow destination does not end a copy."""


class PostgresError(LightragctlError):
    """PostgreSQL refused a login or a statement."""

    code = "postgres"


class PostgresUnavailableError(UnavailableError):
    """PostgreSQL does not answer, or closed the connection."""

    code = "postgres-unavailable"


@contextlib.contextmanager
def connect(database: Database) -> Iterator["Connection"]:
    """A session of a server that is new enough; it ends with the block, and what is not committed is undone.

    Raises:
        PostgresUnavailableError: it does not answer.
        PostgresError: it refuses the login or a statement of the block.
        RefusedError: it is too old.
    """
    with translated(database):
        connection = _driver().connect(
            host=database.host,
            port=database.port,
            dbname=database.name,
            user=database.user,
            password=database.password,
            connect_timeout=10,
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=3,
            autocommit=True,
            **database.tls,
        )
        with contextlib.closing(connection):
            check_version(connection.info.server_version, database.address)
            settings = {**database.settings, **_TEXT}
            called = ", ".join(["set_config(%s, %s, false)"] * len(settings))
            connection.execute(f"SELECT {called}", [word for pair in settings.items() for word in pair])
            yield connection


def check_version(number: int, address: str) -> None:
    """Does nothing when a server is new enough.

    Args:
        number: as `server_version_num`: 150018 is 15.18.
        address: of the server.

    Raises:
        RefusedError: it is too old.
    """
    if number < OLDEST * 10_000:
        message = f"PostgreSQL at {address} is {version_text(number)}; lightragctl needs {OLDEST} or newer"
        raise RefusedError(message, "upgrade the server")


def version_text(number: int) -> str:
    """A version as people write it; before 10, the major version had two parts."""
    major, rest = divmod(number, 10_000)
    return f"{major}.{rest}" if major >= 10 else f"{major}.{rest // 100}.{rest % 100}"


@contextlib.contextmanager
def translated(database: Database) -> Iterator[None]:
    """Raises errors of the driver as ours. They are not chained, as the driver's hold the password."""
    driver = _driver()
    try:
        yield
    except driver.Error as error:
        raise _ours(error, database) from None


def _driver() -> Any:
    try:
        import psycopg
    except ModuleNotFoundError as error:
        raise LightragctlError("the package psycopg is missing", "pip install 'lightragctl[postgres]'") from error
    return psycopg


def _ours(error: "psycopg.Error", database: Database) -> LightragctlError:
    from psycopg import errors

    where = f"PostgreSQL at {database.address}"
    text = " ".join(str(error).split())
    if isinstance(error, errors.DiskFull):
        return LightragctlError(f"{where} has no space left: {text}", "free some space, and resume")
    if isinstance(error, errors.UndefinedTable):
        hint = "lightrag-server creates its tables when it starts: start it once with this database"
        return PostgresError(f"{where}: {text}", hint)
    if isinstance(error, errors.InsufficientPrivilege):
        return PostgresError(f"{where}: {text}", f"grant user {database.user} what lightrag-server has")
    if _is_login(error, text):
        hint = f"check POSTGRES_USER, {PASSWORD} and POSTGRES_DATABASE of components.lightrag-server.environment"
        return PostgresError(f"cannot log in to {where} as user {database.user}: {_shortened(text)}", hint)
    if isinstance(error, errors.OperationalError | errors.InterfaceError):
        hint = "check that it is running and that this machine or the operation's pod can reach it"
        return PostgresUnavailableError(f"{where} does not answer: {_shortened(text)}", hint)
    return PostgresError(f"{where}: {text}")


def _is_login(error: "psycopg.Error", text: str) -> bool:
    return error.sqlstate is None and "FATAL:" in text and any(word in text for word in _LOGIN)


def _shortened(text: str) -> str:
    """Without the words before the cause, which repeat the address."""
    return text.rpartition("FATAL: ")[2].strip() if "FATAL: " in text else text.removeprefix("connection failed: ")
