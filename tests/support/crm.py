"""Accounts to read, and destinations to read them into."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import duckdb
import pytest
from deltalake import DeltaTable, write_deltalake
from dlt.common.normalizers.naming.snake_case import NamingConvention

from pipelines.commands.sync import sync
from pipelines.destinations.system_tables import PUSHES, ensure_table
from pipelines.destinations.target import Target
from pipelines.engine.report import Report
from pipelines.engine.runner import opened
from pipelines.sandbox import Contents, Sandbox, Switches, generate
from sources.insightly.config.settings import resolve_settings
from sources.insightly.state.request import ReadRequest
from tests.support.expected import CORE, Row, assert_equal, normalize
from tests.support.postgres import Postgres, query

OPEN = Switches(rate=None, etag=False)
"""A service without the limit of ten requests a second."""


class Clock:
    """The service's clock, moved by hand; it begins after all generated history."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 2, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, hours: float = 1) -> None:
        self.now += timedelta(hours=hours)


@dataclass
class Crm:
    """An account, and destinations in `folder` to sync it into; each sync is an hour after the one before."""

    sandbox: Sandbox
    folder: Path
    clock: Clock = field(default_factory=Clock)
    copies: Path = Path()
    """The folder of what `prepare` keeps."""

    @property
    def database(self) -> Path:
        return self.folder / "crm.duckdb"

    @property
    def target(self) -> Target:
        return Target(database=str(self.database))

    def settings(self, **settings: Any) -> Any:
        """Of the first 17 entities, unless others are named: the others have tests of its own."""
        defaults = {"api_key": self.sandbox.key, "base_url": self.sandbox.url, "requests_per_second": 1000}
        return resolve_settings(**{**defaults, "entities": "core", **settings})

    def sync(
        self, *names: str, request: ReadRequest | None = None, database: Path | None = None, **settings: Any
    ) -> Report:
        """Syncs; `sandbox.log` then holds the calls of this run alone."""
        self.clock.advance()
        self.sandbox.reset_log()
        target = self.target if database is None else Target(database=str(database))
        return sync(self.settings(**settings), target, names, request)

    def sync_done(self, *names: str, **options: Any) -> Report:
        """`sync`, which must succeed."""
        report = self.sync(*names, **options)
        assert (report.status, report.reason, report.exit_code) == ("done", None, 0)
        return report

    def first_sync(self, *names: str, **settings: Any) -> None:
        """Loads an empty destination, or copies what the first sync of an equal account left in an earlier test.

        For tests of what comes after it: there is no report, and `sandbox.log` is empty.
        """
        self.prepare(lambda: self.sync_done(*names, **settings), *names, **settings)

    def prepare(self, load: Callable[[], Any], *names: str, **settings: Any) -> None:
        """Runs `load` on an empty destination, or copies what it left there in an earlier test.

        Args:
            load: syncs the entities once.
            names, settings: what `load` depends on besides the account and its service.
        """
        assert not self.made()
        copy = self.copies / self.digest(names, settings)
        time = copy.with_suffix(".time")
        if time.exists():
            self.restore(copy)
            self.clock.now = datetime.fromisoformat(time.read_text())
        else:
            load()
            self.save(copy)
            time.write_text(self.clock.now.isoformat())
        self.sandbox.reset_log()

    def digest(self, names: Iterable[str], settings: Row) -> str:
        """Names all that the first rows of a destination depend on."""
        store = self.sandbox.store
        tables = {name: (table.raw, table.parents) for name, table in sorted(store.tables.items())}
        account = (tables, store.definitions, store.instance, self.sandbox.switches)
        request = (type(self), self.clock.now, names, sorted(self.settings(**settings).items()))
        return f"copy_{hashlib.sha256(repr((account, request)).encode()).hexdigest()[:16]}"

    def save(self, copy: Path) -> None:
        shutil.copy(self.database, copy)

    def restore(self, copy: Path) -> None:
        shutil.copy(copy, self.database)

    def read(self, sql: str, database: Path | None = None) -> list[Row]:
        return read(database or self.database, sql)

    def change(self, sql: str) -> None:
        """Changes the destination behind the program's back."""
        with attached(self.database, read_only=False) as connection:
            connection.execute(sql)

    def table(self, name: str) -> list[Row]:
        return self.read(f'select * from insightly."{name}" order by 1, 2')

    def count(self, name: str) -> int:
        return int(self.read(f'select count(*) as n from insightly."{name}"')[0]["n"])

    def columns(self, name: str) -> dict[str, str]:
        return columns(self.database, name)

    def made(self) -> bool:
        """Whether anything of a destination is there."""
        return self.database.exists()

    def states(self) -> list[Any]:
        """What dlt stored of its state, by every load that did."""
        return self.table("_dlt_pipeline_state")

    def column(self, name: str) -> str:
        """The column that a field becomes."""
        return normalize(name)

    def arguments(self) -> list[str]:
        """What leads the command to the destination."""
        return ["--database", str(self.database)]

    def assert_equal(self, *entities: str, deleted: bool = False, database: Path | None = None) -> None:
        for entity in entities or CORE:
            assert_equal(partial(self.read, database=database), self.sandbox, entity, deleted)


@dataclass
class PostgresCrm(Crm):
    """An account, and a database of Postgres' to sync it into; its credentials are in the environment."""

    url: str = ""
    server: Postgres = field(kw_only=True)

    @property
    def target(self) -> Target:
        return Target("postgres")

    def save(self, copy: Path) -> None:
        self.server.copy(self.url, copy.name)

    def restore(self, copy: Path) -> None:
        self.server.restore(copy.name, self.url)

    def read(self, sql: str, database: Path | None = None) -> list[Row]:
        return query(self.url, sql)

    def change(self, sql: str) -> None:
        query(self.url, sql)

    def columns(self, name: str) -> dict[str, str]:
        sql = f"""select attname, format_type(atttypid, atttypmod) as type from pg_attribute
                  where attrelid = to_regclass('insightly."{name}"') and attnum > 0 and not attisdropped"""
        return {row["attname"]: row["type"] for row in self.read(sql)}

    def made(self) -> bool:
        return bool(self.read("select 1 from pg_namespace where nspname like 'insightly%'"))

    def column(self, name: str) -> str:
        return NamingConvention(63).normalize_path(name)

    def arguments(self) -> list[str]:
        return ["--destination", "postgres"]


@dataclass
class DeltaCrm(Crm):
    """An account, and a folder of Delta tables to sync it into, read by DuckDB."""

    @property
    def target(self) -> Target:
        return Target("filesystem")

    def save(self, copy: Path) -> None:
        shutil.copytree(self.folder / "delta", copy)

    def restore(self, copy: Path) -> None:
        shutil.copytree(copy, self.folder / "delta")

    def logs(self) -> list[Path]:
        return list((self.folder / "delta/insightly").glob("*/_delta_log"))

    def tables(self, sql: str) -> dict[str, DeltaTable]:
        """The tables that a statement names."""
        return {log.parent.name: DeltaTable(log.parent) for log in self.logs() if log.parent.name in sql}

    def read(self, sql: str, database: Path | None = None) -> list[Row]:
        with attached(":memory:", read_only=False) as connection:
            connection.execute("create schema insightly")
            for name, table in self.tables(sql).items():
                # Whole, for Arrow cannot compare the `string_view` columns of a merge's files.
                connection.register(f"delta {name}", table.to_pyarrow_table())
                connection.execute(f'create view insightly."{name}" as select * from "delta {name}"')
            rows: list[Row] = connection.sql(sql).to_arrow_table().to_pylist()
            return rows

    def change(self, sql: str) -> None:
        """Carried out on copies of the tables, which then replace those of the destination."""
        with attached(":memory:", read_only=False) as connection:
            connection.execute("create schema insightly")
            tables = self.tables(sql)
            for name, table in tables.items():
                connection.register("delta", table.to_pyarrow_table())
                connection.execute(f'create table insightly."{name}" as select * from delta')
            connection.execute(sql)
            for name, table in tables.items():
                rows = connection.sql(f'select * from insightly."{name}"').to_arrow_table()
                if not rows.equals(before := table.to_pyarrow_table()):
                    write_deltalake(table, rows.cast(before.schema), mode="overwrite")

    def columns(self, name: str) -> dict[str, str]:
        return {row["column_name"]: row["column_type"] for row in self.read(f'describe insightly."{name}"')}

    def made(self) -> bool:
        return bool(self.logs())

    def states(self) -> list[Any]:
        return sorted((self.folder / "delta/insightly/_dlt_pipeline_state").iterdir())

    def arguments(self) -> list[str]:
        return ["--destination", "filesystem"]


@cache
def contents_of(scale: float) -> Contents:
    return generate(seed=1, scale=scale)


@contextmanager
def isolated_crm(folder: Path, scale: float = 0.05, **options: Any) -> Iterator[Crm]:
    """Opens an account of its own for a fixture that several tests share.

    Args:
        folder: where its destination and dlt's working files go.
        scale: the size of the generated account; 1 is 1,000 contacts.
        options: options of `Sandbox`, in place of the defaults.
    """
    clock = options.pop("clock", None) or Clock()
    options = {"contents": options.pop("contents", None) or contents_of(scale), "switches": OPEN, **options}
    with pytest.MonkeyPatch.context() as patch, Sandbox(clock=clock, **options) as sandbox:
        isolate(folder, patch)
        yield Crm(sandbox, folder, clock)


def isolate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the settings and the working folder of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith(("SOURCES__", "DESTINATION__"))]:
        if not name.endswith("REPLACE_STRATEGY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DLT_DATA_DIR", str(folder / "dlt"))


ON_POSTGRES = pytest.mark.parametrize("make_crm", ["postgres"], indirect=True)
ON_DELTA = pytest.mark.parametrize("make_crm", ["delta"], indirect=True)
"""Where the accounts of a test are synced to; DuckDB, where nothing is said."""


def begin(crm: Crm) -> None:
    crm.sync_done("contacts", "leads", "tags")
    with opened("push", crm.settings(), crm.target) as runner:
        ensure_table(runner.pipeline, PUSHES)


EVERY_WAY_TO_TAGS = pytest.mark.parametrize(
    "crm",
    [
        pytest.param(("auto", True), id="auto"),
        pytest.param(("endpoint", True), id="endpoint", marks=pytest.mark.sample(0)),
        pytest.param(("auto", False), id="no TAGS", marks=pytest.mark.sample(0)),
    ],
    indirect=True,
)
"""Runs a test with tags from the records, by a call a record, and against an account whose records carry none."""


def read(database: Path, sql: str) -> list[Row]:
    with attached(database) as connection:
        rows: list[Row] = connection.sql(sql).to_arrow_table().to_pylist()
        return rows


_DUCKDB = duckdb.connect()


@contextmanager
def attached(database: Path | str, read_only: bool = True) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to a file. All share one DuckDB, whose start takes longer than most queries."""
    with _DUCKDB.cursor() as connection:
        connection.execute(f"set timezone = 'UTC'; attach '{database}' as crm (read_only {read_only}); use crm")
        try:
            yield connection
        finally:
            connection.execute("use memory; detach crm")


def columns(database: Path, table: str) -> dict[str, str]:
    """The columns of a table and their types; none where there is no such table."""
    sql = f"""select column_name, data_type from information_schema.columns
              where table_schema = 'insightly' and table_name = '{table}'"""
    return {row["column_name"]: row["data_type"] for row in read(database, sql)}
