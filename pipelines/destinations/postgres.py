"""Postgres: a lock in the database, time limits for statements, and what its errors mean."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dlt.common.destination import Destination

from sources.insightly.errors import BadSetting, chain, listing, redact

from .base import DestinationAdapter, Unreachable
from .locks import Busy, this_process, wait_for

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

    from .postgres_client import Connections

logger = logging.getLogger(__name__)

SCHEMES = ("postgresql", "postgres")
LOCK_TIMEOUT, STATEMENT_TIMEOUT = "30s", "1h"
"""How long a statement waits for a lock of another session, and how long it takes. dlt tries it five times."""
NO_PRIVILEGE, READ_ONLY, LOCK_NOT_AVAILABLE, CANCELED = "42501", "25006", "55P03", "57014"
SHOWN = 3
"""Missing rights that a message names."""

HOLDER = """
    select a.application_name, a.usename, host(a.client_addr), to_char(a.backend_start at time zone 'utc', %s)
    from pg_locks l join pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'advisory' and l.granted and l.objsubid = 1
      and l.database = (select oid from pg_database where datname = current_database())
      and (l.classid::bigint << 32) | l.objid::bigint = %s
"""
BLOCKERS = """
    select n.nspname || '.' || c.relname, a.pid, a.usename, a.application_name, a.state,
           to_char(a.xact_start at time zone 'utc', %(time)s)
    from pg_locks l join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
    join pg_stat_activity a on a.pid = l.pid
    where l.granted and n.nspname = %(schema)s and c.relkind in ('r', 'p', 'v') and a.application_name <> %(own)s
    order by l.mode <> 'AccessExclusiveLock', a.xact_start limit 1
"""
TABLES = """
    select format('%%I.%%I', n.nspname, c.relname), pg_get_userbyid(c.relowner), pg_has_role(c.relowner, 'usage'),
           array(select r from unnest(array['select', 'insert', 'update', 'delete']) r
                 where not has_table_privilege(c.oid, r))
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = %s and c.relkind in ('r', 'p') and has_schema_privilege(n.oid, 'usage') order by 1
"""
SCHEMA = """
    select quote_ident(nspname), array(select r from unnest(array['usage', 'create']) r
                                       where not has_schema_privilege(oid, r))
    from pg_namespace where nspname = %s
"""
TIME = "YYYY-MM-DD HH24:MI:SS"


class PostgresAdapter(DestinationAdapter):
    """A Postgres database."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._connection: Connection | None = None
        self._key = 0

    def factory(self, read_only: bool = False) -> "Destination[Any, Any]":
        del read_only
        credentials = self._credentials
        with self.configured():
            from .postgres_client import MergingPostgres
        destination = MergingPostgres(credentials, destination_name=self.name)
        destination.connections = self._connections
        return destination

    def check_credentials(self, credentials: Any) -> None:
        """Raises BadSetting for a URL that the driver does not know; its error would quote the URL."""
        super().check_credentials(credentials)
        if credentials.drivername not in SCHEMES:
            seen = f"{redact(credentials.drivername)}://***"
            fix = "a URL of Postgres begins with postgresql://"
            raise BadSetting(f"destination.{self.name}.credentials", seen, fix)

    @cached_property
    def location(self) -> str:
        socket = self._credentials.query.get("host")
        return f"{super().location}\n{socket}" if socket else str(super().location)

    @cached_property
    def _credentials(self) -> Any:
        """The credentials, with limits to the time that a statement waits for a lock, and takes.

        A socket in the query of the URL, as libpq writes it, is the host. `options` there, such as
        `?options=-clock_timeout%3D5min`, come later and so have precedence.

        Raises:
            BadSetting: dlt cannot read them; its own error has causes that quote them.
        """
        with self.configured():
            factory = super().factory()
            credentials = factory.configuration(factory.spec(), accept_partial=True).credentials
        query = dict(credentials.query or {})
        if "host" in query and not credentials.host:
            credentials.host = "localhost"  # dlt requires one, libpq prefers the one in the query
            credentials.username = credentials.username or query.get("user")
            credentials.database = credentials.database or query.get("dbname")
            credentials.password = credentials.password or ""
        limits = f"-clock_timeout={LOCK_TIMEOUT} -cstatement_timeout={STATEMENT_TIMEOUT}"
        options = f"{limits} {query.get('options', '')}".strip()
        # A connection may be idle for as long as the run takes; firewalls close idle ones.
        alive = {"keepalives_idle": "30"}
        credentials.query = {"application_name": application_name(), **alive, **query, "options": options}
        return credentials

    @cached_property
    def _connections(self) -> "Connections":
        with self.configured():
            from .postgres_client import Connections
        return Connections()

    @contextmanager
    def lock(self, dataset: str, wait: float, writes: bool) -> Iterator[None]:
        """Holds an advisory lock for the dataset, which every machine sees and the server frees with the connection.

        Clients of dlt share their connections until the end.

        Raises:
            Busy: another run still has the lock after `wait` seconds.
        """
        with self._connections.kept():
            if not writes:
                yield
                return
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
        with self.configured():
            import psycopg2

            credentials = self._credentials
        # In a URL, dlt writes the spaces of options as +, which Postgres does not read.
        named = {"options": credentials.query["options"], "application_name": application_name()}
        try:
            connection = psycopg2.connect(credentials.to_native_representation(), **named)
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
            cursor.execute(HOLDER, (TIME, self._key))
            row = cursor.fetchone()
        if row is None:
            return "which has just ended"
        name, user, address, since = row
        # Postgres hides address and time from other users without pg_read_all_stats.
        seen = f"{name}, database user {user}{f' from {address}' if address else ''}"
        return f"{seen}, since {since} UTC" if since else seen

    def explain(self, error: BaseException, dataset: str) -> str | None:
        """Names the right that is missing on what, or the session that holds a lock."""
        import psycopg2

        found = _error_of_driver(error)
        code = getattr(found, "pgcode", None)
        if code == READ_ONLY:
            return "the database is read-only: it is a replica, or default_transaction_read_only is on; use another one"
        if code == CANCELED and "statement timeout" in str(found):
            return (
                f"a statement took longer than statement_timeout ({STATEMENT_TIMEOUT} unless the credentials' options "
                "set another)"
            )
        if code not in (NO_PRIVILEGE, LOCK_NOT_AVAILABLE):
            return None
        with suppress(psycopg2.Error), closing(self._connect()) as connection, connection.cursor() as cursor:
            return _missing_rights(cursor, dataset) if code == NO_PRIVILEGE else _blocker(cursor, dataset)
        return None


def _error_of_driver(error: BaseException) -> Any:
    """The error of psycopg2 behind one of dlt, which keeps that of a load job in an attribute; None without one."""
    import psycopg2

    for each in chain(error):
        for behind in chain(getattr(each, "client_exception", None) or each):
            if isinstance(behind, psycopg2.Error):
                return behind
    return None


def _missing_rights(cursor: Any, schema: str) -> str | None:
    cursor.execute(
        "select quote_ident(current_user), quote_ident(current_database()), "
        "has_database_privilege(current_database(), 'create'), has_database_privilege(current_database(), 'temporary')"
    )
    user, database, can_create, can_create_temporary = cursor.fetchone()
    grants = [] if can_create_temporary else [("temporary", f"database {database}")]
    cursor.execute(SCHEMA, (schema,))
    if row := cursor.fetchone():
        grants += [(right, f"schema {row[0]}") for right in row[1]]
    elif not can_create:
        grants.append(("create", f"database {database}"))
    cursor.execute(TABLES, (schema,))
    tables = cursor.fetchall()
    grants += [(right, table) for table, _, _, missing in tables for right in missing]
    if grants:
        lacking = listing([f"{right.upper()} on {place}" for right, place in grants], SHOWN)
        right, place = grants[0]
        return f"the database user {user} lacks {lacking}: grant {right} on {place} to {user}"
    foreign = [(table, owner) for table, owner, is_own, _ in tables if not is_own]
    if foreign:
        table, owner = foreign[0]
        return (
            f"{table} belongs to {owner}, and only its owner can change its columns: "
            f"alter table {table} owner to {user}"
        )
    return None


def _blocker(cursor: Any, schema: str) -> str | None:
    cursor.execute(BLOCKERS, {"time": TIME, "schema": schema, "own": application_name()})
    row = cursor.fetchone()
    if row is None:
        return f"a table was locked by another session for longer than lock_timeout ({LOCK_TIMEOUT})"
    table, pid, user, name, state, since = row
    # Postgres hides the rest from users without pg_read_all_stats.
    doing = f", {state}, in a transaction since {since} UTC" if since else ""
    return (
        f"{table} is locked by another session: pid {pid}, database user {user}, {name or 'unnamed'}{doing}; end it, "
        "or run again later"
    )


def application_name() -> str:
    """What names the connections of this process in `pg_stat_activity`."""
    return f"insightly {this_process()}"[:63]
