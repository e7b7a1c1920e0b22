"""What the tests share: an account to read, a destination to read it into, and the proof that both are equal."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import hypothesis
import pytest
import requests
from deltalake import DeltaTable, write_deltalake
from dlt.common.normalizers.naming.snake_case import NamingConvention

from benchmarks.postgres import Postgres, query
from pipelines.commands.sync import sync
from pipelines.destinations.system_tables import PUSHES, prepare
from pipelines.destinations.target import Target
from pipelines.engine.report import Report
from pipelines.engine.runner import opened
from pipelines.sandbox import Contents, Sandbox, Switches, generate
from pipelines.sandbox.store.child_rows import SEEDED
from sources.insightly import ENTITIES
from sources.insightly.config.settings import resolve_settings
from sources.insightly.entities import Entity, of_object
from sources.insightly.state.request import ReadRequest

# Nothing here asserts on time, and a busy machine is no bug.
hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("busy")

ROOT = Path(__file__).parents[1]
CORE = tuple(json.loads((ROOT / "tests/recorded/entities.json").read_text(encoding="utf-8"))["first_17"])
OPEN = Switches(rate=None)
"""A service without the limit of ten requests a second."""

TAGGED_TYPES = ("contacts", "leads", "opportunities", "organisations", "projects", "emails")
SQL_TYPES = {
    "integer": "BIGINT",
    "string": "VARCHAR",
    "boolean": "BOOLEAN",
    "number": "DECIMAL(38,15)",
    "datetime": "TIMESTAMP WITH TIME ZONE",
    "date": "DATE",
    "json": "VARCHAR",
}
CUSTOM_TYPES = {
    "BIT": "boolean",
    "DATE": "date",
    "DATETIME": "datetime",
    "NUMERIC": "number",
    "PERCENT": "number",
    "TEXT": "string",
    "MULTILINETEXT": "string",
    "DROPDOWN": "string",
    "MULTISELECT": "string",
}
normalize = NamingConvention().normalize_path

Row = dict[str, Any]
Reader = Callable[[str], list[Row]]


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
        """Of the first 17 entities, unless others are asked for: the rest has tests of its own."""
        given = {"api_key": self.sandbox.key, "base_url": self.sandbox.url, "requests_per_second": 1000}
        return resolve_settings(**{**given, "entities": "core", **settings})

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
        if copy.exists():
            self.clock.advance()
            self.restore(copy)
        else:
            load()
            self.save(copy)
        self.sandbox.reset_log()

    def digest(self, names: Iterable[str], settings: Row) -> str:
        """Names all that the first rows of a destination depend on."""
        store = self.sandbox.store
        tables = {name: table.raw for name, table in sorted(store.tables.items())}
        children = {name: list(store.below.all(name)) for name in SEEDED}
        account = (tables, children, store.definitions, store.history, store.instance, self.sandbox.switches)
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
        with duckdb.connect(str(self.database)) as connection:
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
    """An account, and a database of Postgres' to sync it into; what dlt is told of it is in the environment."""

    url: str = ""
    server: Postgres = field(kw_only=True)

    @property
    def target(self) -> Target:
        return Target("postgres")

    def save(self, copy: Path) -> None:
        self.server.copy(self.url, copy.name)
        copy.touch()

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
class LakeCrm(Crm):
    """An account, and a folder of Delta tables to sync it into, read by DuckDB."""

    @property
    def target(self) -> Target:
        return Target("filesystem")

    def save(self, copy: Path) -> None:
        shutil.copytree(self.folder / "lake", copy)

    def restore(self, copy: Path) -> None:
        shutil.copytree(copy, self.folder / "lake")

    @property
    def tables(self) -> dict[str, DeltaTable]:
        logs = (self.folder / "lake/insightly").glob("*/_delta_log")
        return {log.parent.name: DeltaTable(log.parent) for log in logs}

    def read(self, sql: str, database: Path | None = None) -> list[Row]:
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'; create schema insightly")
            for name, table in self.tables.items():
                # Whole, for Arrow cannot compare the `string_view` columns of a merge's files.
                connection.register(f"told {name}", table.to_pyarrow_table())
                connection.execute(f'create view insightly."{name}" as select * from "told {name}"')
            rows: list[Row] = connection.sql(sql).to_arrow_table().to_pylist()
            return rows

    def change(self, sql: str) -> None:
        """Carried out on copies of the tables, which then replace those of the lake."""
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'; create schema insightly")
            for name, table in self.tables.items():
                connection.register("told", table.to_pyarrow_table())
                connection.execute(f'create table insightly."{name}" as select * from told')
            connection.execute(sql)
            for name, table in self.tables.items():
                rows = connection.sql(f'select * from insightly."{name}"').to_arrow_table()
                if not rows.equals(before := table.to_pyarrow_table()):
                    write_deltalake(table, rows.cast(before.schema), mode="overwrite")

    def columns(self, name: str) -> dict[str, str]:
        return {row["column_name"]: row["column_type"] for row in self.read(f'describe insightly."{name}"')}

    def made(self) -> bool:
        return bool(self.tables)

    def states(self) -> list[Any]:
        return sorted((self.folder / "lake/insightly/_dlt_pipeline_state").iterdir())

    def arguments(self) -> list[str]:
        return ["--destination", "filesystem"]


@cache
def contents_of(scale: float) -> Contents:
    return generate(seed=1, scale=scale)


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings, or the working folder, of whoever runs it."""
    isolate(tmp_path, monkeypatch)


def isolate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("SOURCES__", "DESTINATION__"))]:
        if not name.endswith("REPLACE_STRATEGY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DLT_DATA_DIR", str(folder / "dlt"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    # pytest keeps its own folders to the user that runs it.
    with TemporaryDirectory(prefix="postgres") as folder:
        server = Postgres(Path(folder))
        yield server
        server.stop()


ON_POSTGRES = pytest.mark.parametrize("make_crm", ["postgres"], indirect=True)
IN_A_LAKE = pytest.mark.parametrize("make_crm", ["lake"], indirect=True)
"""Where the accounts of a test are synced to; DuckDB, where nothing is said."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """For `make test` more than there are processors: a fifth of the time it waits for processes of its own.

    Those of `make test-all` are schedulers and browsers, which want a processor.
    """
    cores = os.cpu_count() or 1
    return max(2, cores * 3 // 2) if config.option.markexpr == "not long" else cores


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves N cases of a test marked `few(N)` to `make test`, spread over all of them, and the rest to `test-all`."""
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("few") and not item.get_closest_marker("long"):
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for each in cases.values():
        marker = each[0].get_closest_marker("few")
        assert marker is not None
        quick = {at * len(each) // marker.args[0] for at in range(marker.args[0])}
        for at, item in enumerate(each):
            if at not in quick:
                item.add_marker("long")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Has tests that are marked `everywhere(NAME, ...)` run on those destinations as well, in `make test-all`.

    What is `quick` is asked of Postgres by `make test`.
    """
    marker = metafunc.definition.get_closest_marker("everywhere")
    if marker is not None and "make_crm" in metafunc.fixturenames:
        quick = {"postgres"} if marker.kwargs.get("quick") else set()
        also = [pytest.param(name, marks=() if name in quick else pytest.mark.long) for name in marker.args]
        metafunc.parametrize("make_crm", ["duckdb", *also], indirect=True)


@pytest.fixture
def make_crm(
    tmp_path: Path, copies: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Crm]]:
    """Makes accounts for one destination; options are those of `Sandbox`, and a `scale` of 1 is 1,000 contacts."""
    url = ""
    with ExitStack() as stack:

        def make(scale: float = 0.05, **options: Any) -> Crm:
            nonlocal url
            clock = Clock()
            options = {"contents": contents_of(scale), "switches": OPEN, "clock": clock, **options}
            sandbox = stack.enter_context(served(**options))
            match getattr(request, "param", "duckdb"):
                case "postgres":
                    server = request.getfixturevalue("postgres")
                    url = url or server.database()
                    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url)
                    return PostgresCrm(sandbox, tmp_path, clock, copies, url, server=server)
                case "lake":
                    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(tmp_path / "lake"))
                    return LakeCrm(sandbox, tmp_path, clock, copies)
            return Crm(sandbox, tmp_path, clock, copies)

        yield make


@pytest.fixture(scope="session")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("copies")


def served(**options: Any) -> Sandbox:
    """An account on a port of this process: a destination remembers the address of its account."""
    with suppress(OSError):
        return Sandbox(port=10_000 + os.getpid() % 20_000, **options)
    return Sandbox(**options)


@pytest.fixture
def synced_crm(make_crm: Callable[..., Crm]) -> Crm:
    """An account, and a destination that is up to date with it: some entities, and the ledger of pushes."""
    crm = make_crm()
    crm.prepare(partial(begin, crm), "ledger of pushes")
    return crm


def begin(crm: Crm) -> None:
    crm.sync_done("contacts", "leads", "tags")
    with opened("push", crm.settings(), crm.target) as runner:
        prepare(runner.pipeline, PUSHES)


EVERY_WAY_TO_TAGS = pytest.mark.parametrize(
    "crm",
    [
        pytest.param(("auto", True), id="auto"),
        pytest.param(("endpoint", True), id="endpoint", marks=pytest.mark.long),
        pytest.param(("auto", False), id="no TAGS", marks=pytest.mark.long),
    ],
    indirect=True,
)
"""Runs a test with tags from the records, by a call a record, and against an account whose records carry none."""


@pytest.fixture
def crm(make_crm: Callable[..., Crm], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Crm:
    tags, embedded = getattr(request, "param", ("auto", True))
    monkeypatch.setenv("SOURCES__INSIGHTLY__TAGS", tags)
    return make_crm(switches=replace(OPEN, embed_tags=embedded))


def read(database: Path, sql: str) -> list[Row]:
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        rows: list[Row] = connection.sql(sql).to_arrow_table().to_pylist()
        return rows


def columns(database: Path, table: str) -> dict[str, str]:
    """The columns of a table and their types; none where there is no such table."""
    sql = f"""select column_name, data_type from information_schema.columns
              where table_schema = 'insightly' and table_name = '{table}'"""
    return {row["column_name"]: row["data_type"] for row in read(database, sql)}


def assert_equal(reader: Reader, sandbox: Sandbox, entity: str, deleted: bool = False) -> None:
    """Asserts that every value of an entity's table and child tables is what the account holds.

    Args:
        reader: reads the destination.
        sandbox: the account.
        entity: the entity's name, or a custom object's as the API spells it.
        deleted: whether rows may be left over whose records have gone.
    """
    own, children = expected(sandbox, entity)
    key = [normalize(part) for part in facts_of(entity).key]
    live = {tuple(row[part] for part in key) for row in own}
    for table, wanted in {normalize(entity): own, **children}.items():
        held = [known(row) for row in reader(f'select * from insightly."{table}"')]
        if deleted:
            held = [row for row in held if tuple(row[part] for part in key) in live]
        order = [*key, "list_idx"] if table in children else key
        held.sort(key=lambda row: [row[part] for part in order])
        wanted = sorted(map(known, wanted), key=lambda row: [row[part] for part in order])
        assert len(held) == len(wanted), table
        for here, there in zip(held, wanted, strict=True):
            assert here == there, table


def expected(sandbox: Sandbox, entity: str) -> tuple[list[Row], dict[str, list[Row]]]:
    """The rows of an entity's table and of its child tables, made from the account's records."""
    facts = facts_of(entity)
    if entity == "tags":
        pairs = [(kind, name) for kind in TAGGED_TYPES for name in sandbox.store.tag_names(kind)]
        return [{"record_type": kind, "tag_name": name} for kind, name in pairs], {}
    definitions = [row for row in sandbox.store.definitions if facts.is_called(row["FIELD_FOR"])]
    custom = {row["FIELD_NAME"]: CUSTOM_TYPES.get(row["FIELD_TYPE"], "any") for row in definitions}
    own: list[Row] = []
    children: dict[str, list[Row]] = {f"{entity}__{array.lower()}": [] for array in facts.arrays}
    for record in records_of(sandbox, entity):
        key = {normalize(part): record[part] for part in facts.key}
        row = {
            normalize(name): stored(value, facts.fields[name].type if name in facts.fields else "any")
            for name, value in record.items()
            if name not in facts.arrays and name != "CUSTOMFIELDS"
        }
        for item in record.get("CUSTOMFIELDS") or ():
            row[normalize(item["FIELD_NAME"])] = stored(item["FIELD_VALUE"], custom.get(item["FIELD_NAME"], "any"))
        own.append(row)
        for array in facts.arrays:
            for index, item in enumerate(record.get(array) or ()):
                values = {normalize(name): stored(value, child_type(name)) for name, value in item.items()}
                children[f"{entity}__{array.lower()}"].append({**values, **key, "list_idx": index})
    return own, children


def records_of(sandbox: Sandbox, entity: str) -> list[Row]:
    """The account's records, or what it has of what is no list of records."""
    if entity == "custom_fields":
        return sandbox.store.definitions
    if entity in ("instance", "permissions"):
        told = requests.get(f"{sandbox.url}/{entity}", auth=(sandbox.key, ""), timeout=10).json()
        rows: list[Row] = told if isinstance(told, list) else told.get("OBJECT_PERMISSIONS", [told])
        return rows
    return sandbox.store.rows(entity)


def facts_of(name: str) -> Entity:
    """The entity of a name; a custom object's name is the API's."""
    return ENTITIES.get(name) or of_object(name, normalize(name))


def stored(value: Any, kind: str) -> Any:
    """What a destination is to hold for a JSON value; independent of the code under test."""
    if value is None or value == "":
        return None
    if kind in ("datetime", "date"):
        if value.startswith(("0001-01-01", "0000-00-00")):
            return None
        moment = datetime.strptime(value, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        return moment if kind == "datetime" else moment.date()
    if kind == "number":
        return Decimal(str(value))
    return value


def child_type(name: str) -> str:
    return "date" if name == "OCCASION_DATE" else "datetime" if name.endswith("_UTC") else "any"


def known(row: Row) -> Row:
    return {name: value for name, value in row.items() if value is not None}


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def command(*arguments: str, cwd: Path, **environment: str) -> Ran:
    """Runs `insightly` in a process of its own."""
    home = {"DLT_DATA_DIR": str(cwd / "dlt"), "COLUMNS": "200", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *arguments],
        cwd=cwd,
        env={**os.environ, **home, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def reach(sandbox: Sandbox) -> dict[str, str]:
    """The settings, as environment variables, that lead a process to the account."""
    return {
        "SOURCES__INSIGHTLY__BASE_URL": sandbox.url,
        "SOURCES__INSIGHTLY__API_KEY": sandbox.key,
        "SOURCES__INSIGHTLY__REQUESTS_PER_SECOND": "1000",
        "SOURCES__INSIGHTLY__ENTITIES": "core",
    }
