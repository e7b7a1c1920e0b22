"""Postgres: a lock in the database, time limits for statements, and what its errors mean."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import dlt
from dlt.common.destination import Destination

from sources.insightly.errors import BadSetting, redact

from .base import DestinationAdapter, Unreachable
from .locks import Busy, this_process, wait_for

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

logger = logging.getLogger(__name__)

SCHEMES = ("postgresql", "postgres")
LOCK_TIMEOUT, STATEMENT_TIMEOUT = "60s", "1h"
"""How long a statement waits for the lock of another session, and how long it takes."""
HOLDER = """
    select a.application_name, a.usename, host(a.client_addr), to_char(a.backend_start at time zone 'utc', %s)
    from pg_locks l join pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'advisory' and l.granted and l.objsubid = 1
      and l.database = (select oid from pg_database where datname = current_database())
      and (l.classid::bigint << 32) | l.objid::bigint = %s
"""


class PostgresAdapter(DestinationAdapter):
    """A Postgres database."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._connection: Connection | None = None
        self._key = 0

    def factory(self) -> "Destination[Any, Any]":
        """The destination, with limits to the time that a statement waits for a lock, and takes.

        `options` in the credentials, such as `?options=-clock_timeout%3D5min`, come later and so have precedence.
        """
        credentials = self._credentials()
        query = dict(credentials.query or {})
        limits = f"-clock_timeout={LOCK_TIMEOUT} -cstatement_timeout={STATEMENT_TIMEOUT}"
        credentials.query = {**query, "options": f"{limits} {query.get('options', '')}".strip()}
        return dlt.destination(self.name, credentials=credentials)

    def check_credentials(self, credentials: Any) -> None:
        """Raises BadSetting for a URL that the driver does not know; its error would quote the URL."""
        super().check_credentials(credentials)
        if credentials.drivername not in SCHEMES:
            seen = f"{redact(credentials.drivername)}://***"
            fix = "a URL of Postgres begins with postgresql://"
            raise BadSetting(f"destination.{self.name}.credentials", seen, fix)

    def _credentials(self) -> Any:
        factory = super().factory()
        return factory.configuration(factory.spec(), accept_partial=True).credentials

    @contextmanager
    def lock(self, dataset: str, wait: float) -> Iterator[None]:
        """Holds an advisory lock for the dataset, which every machine sees and the server frees with the connection.

        Raises:
            Busy: another run still has the lock after `wait` seconds.
        """
        self._key = int.from_bytes(hashlib.sha256(f"insightly-sync\n{dataset}".encode()).digest()[:8], signed=True)
        self._connection = self._connect()
        try:
            wait_for(self._try_lock, f"{self}, dataset {dataset}", wait)
            yield
        finally:
            self._connection.close()
            self._connection = None

    def check_lock(self) -> None:
        """Locks again if the server has closed the connection that has the lock.

        Raises:
            Busy: another run has taken the lock.
        """
        if self._connection is None or self._is_alive():
            return
        logger.warning("the connection that has the lock on %s was closed; locking again", self)
        self._connection.close()
        self._connection = self._connect()
        if (holder := self._try_lock()) is not None:
            raise Busy(f"the connection that has the lock on {self} was closed, and another run ({holder}) has it now")

    def _is_alive(self) -> bool:
        import psycopg2

        assert self._connection is not None
        with suppress(psycopg2.Error), self._connection.cursor() as cursor:
            cursor.execute("select 1")
            return True
        return False

    def _connect(self) -> "Connection":
        # The connection is idle for as long as the run takes; firewalls and servers close idle ones.
        alive = {"keepalives": 1, "keepalives_idle": 30}
        with self.configured():
            import psycopg2

            url = self._credentials().to_native_representation()
        try:
            connection = psycopg2.connect(url, application_name=f"insightly {this_process()}"[:63], **alive)
        except psycopg2.Error as error:
            raise Unreachable(f"{self} cannot be read: {str(error).strip()}") from None
        connection.autocommit = True
        if connection.server_version >= 140_000:
            with connection.cursor() as cursor:
                cursor.execute("set idle_session_timeout = 0")
        return connection

    def _try_lock(self) -> str | None:
        assert self._connection is not None
        with self._connection.cursor() as cursor:
            cursor.execute("select pg_try_advisory_lock(%s)", (self._key,))
            if cursor.fetchone()[0]:
                return None
            cursor.execute(HOLDER, ("YYYY-MM-DD HH24:MI:SS", self._key))
            row = cursor.fetchone()
        if row is None:
            return "which has just ended"
        name, user, address, since = row
        return f"{name}, database user {user}{f' from {address}' if address else ''}, since {since} UTC"
