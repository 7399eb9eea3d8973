"""The fixture `postgres`: a real server for the tests of one worker."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.postgres.server import Postgres

PASSWORD = "correct-horse-battery"
"""Of the server's superuser."""


@pytest.fixture(scope="session")
def postgres() -> Iterator["Postgres"]:
    """A real PostgreSQL."""
    pytest.importorskip("psycopg", reason="the package psycopg is not installed")
    from tests.postgres.server import Postgres, programs

    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    server = Postgres(found)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.remove()
