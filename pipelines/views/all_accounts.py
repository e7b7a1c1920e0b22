"""The dataset that shows the tables of all accounts, `insightly_all`: one view a table, with the column `instance`."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import dlt
from dlt.common.schema import Schema
from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.job_client_impl import SqlJobClientBase

from pipelines.destinations.pipeline_state import SCHEMA
from pipelines.destinations.system_tables import RUNS
from pipelines.destinations.target import Busy, Target
from pipelines.engine.report import FAILED, WORST_FIRST, Report
from sources.insightly.config.accounts import ALL, DEFAULT, is_account_name

DIGITS = 38
"""Digits that a decimal has at most, on DuckDB and by dlt's rule elsewhere."""
OF_A_BIGINT = 19


class Type(NamedTuple):
    """A type of dlt's; digits are told of decimals alone."""

    name: str
    precision: int | None = None
    scale: int | None = None


TEXT, DOUBLE = Type("text"), Type("double")
Columns = Mapping[str, Type]


def common(types: Collection[Type]) -> Type:
    """The type that holds the values of all: numbers stay numbers, whatever else differs is told as text.

    >>> common({Type("bigint"), Type("decimal", 20, 2)})
    Type(name='decimal', precision=21, scale=2)
    >>> common({Type("bigint"), Type("timestamp")})
    Type(name='text', precision=None, scale=None)
    """
    if len(set(types)) == 1:
        return next(iter(types))
    if not {each.name for each in types} <= {"bigint", "decimal", "double"}:
        return TEXT
    if DOUBLE in types:
        return DOUBLE
    scale = max(each.scale or 0 for each in types)
    whole = max(each.precision - (each.scale or 0) if each.precision else OF_A_BIGINT for each in types)
    return Type("decimal", scale + whole, scale) if scale + whole <= DIGITS else DOUBLE


def united(tables: Collection[Columns], order: Iterable[str] = ()) -> dict[str, Type]:
    """The columns of all tables, those of `order` first: a view that is replaced keeps its columns where they were."""
    names = dict.fromkeys(name for table in tables for name in table)
    ordered = [*(name for name in order if name in names), *names]
    return {name: common({table[name] for table in tables if name in table}) for name in ordered}


MADE = "_views"
"""A view that lists our views, with a digest of each. Only what differs is made anew: on Postgres whoever reads a view
holds up its replacement, and so the sync. And nobody else's views are touched."""
INSTANCE, THEIRS = "instance", "api_instance"
"""Our column, and what a column of the same name that a table has is called."""
DIALECTS = ("duckdb", "postgres")
Tables = dict[str, dict[str, Type]]
COLUMNS = """
select c.table_schema, t.table_type, c.table_name, c.column_name, c.data_type, c.numeric_precision, c.numeric_scale
from information_schema.columns c
join information_schema.tables t using (table_catalog, table_schema, table_name)
where c.table_catalog = current_database() and (c.table_schema = %s or c.table_schema like %s)
order by c.table_schema, c.table_name, c.ordinal_position"""


@dataclass
class Views:
    """The views there are, which of them were made anew or dropped, and which failed and why.

    `note` says why there are none.
    """

    accounts: list[str] = field(default_factory=list)
    views: int = 0
    refreshed: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def refresh(base: Target) -> Views:
    """Makes a view over each table that an account has, and drops those of tables that are gone.

    The destination tells which accounts there are, not the settings: a scheduler's task may know one account alone.

    Args:
        base: the dataset that those of the accounts are named after; it is itself that of the account `default`.

    Raises:
        ConfigurationError: there can be no such dataset.
        Busy: another run is at work on the destination.
    """
    target = base.for_account(ALL)
    if not target.exists():
        return Views(note="nothing was synced yet")
    with target.lock(), _client(target) as client:
        if not isinstance(client, SqlJobClientBase) or client.capabilities.sqlglot_dialect not in DIALECTS:
            return Views(note=f"there are views over all accounts on DuckDB and Postgres, not on {target.destination}")
        return _AllAccounts(client).refresh()


def refresh_after(report: Report, base: Target) -> None:
    """Refreshes the views after a sync and adds the result to its report, which fails if they do."""
    dataset, exit_code = base.for_account(ALL).dataset, 1
    try:
        views = refresh(base)
    except Busy as busy:
        views = Views(note=f"{busy}; the next sync refreshes the views")
    except Exception as error:  # the sync is reported, whatever happens to the views
        views, exit_code = Views(failed={"*": str(error)}), getattr(error, "exit_code", 1)
    if views.failed:
        reasons = [f"{dataset}.{view}: {reason}" for view, reason in views.failed.items()]
        report.exit_code = min(report.exit_code, exit_code, key=WORST_FIRST.index)
        report.status, report.reason = FAILED, "; ".join(filter(None, [report.reason, *reasons]))
    report.facts["all_accounts"] = {"dataset": dataset, **views.to_dict()}


@contextmanager
def _client(target: Target) -> Iterator[Any]:
    """dlt's client of a dataset that no pipeline loads into."""
    dataset = dlt.dataset(target.adapter.factory(), target.dataset, schema=Schema(SCHEMA))
    with dataset.destination_client as client:
        yield client


class _AllAccounts:
    def __init__(self, client: SqlJobClientBase) -> None:
        self.sql = client.sql_client
        self.types = client.capabilities.get_type_mapper()
        self.base = self.sql.dataset_name.removesuffix(f"_{ALL}")

    def refresh(self) -> Views:
        accounts, here = self._look()
        told = Views(list(accounts))
        if not accounts:
            told.note = "nothing was synced yet"
            return told
        if not self.sql.has_dataset():
            self.sql.create_dataset()
        recorded = self._recorded() if MADE in here else {}
        wanted = {}
        for name in sorted({name for tables in accounts.values() for name in tables}):
            if name in here and name not in recorded:
                told.failed[name] = "there is something else of that name"
            else:
                wanted[name] = self._select(name, accounts, here.get(name, ()))
        if new := wanted.keys() - recorded.keys():
            # Before they are there: whatever happens then, they are known to be ours.
            recorded |= dict.fromkeys(new, "")
            self._record(recorded)
        now = dict(recorded)
        for name, sql in wanted.items():
            digest = hashlib.sha256(sql.encode()).hexdigest()[:16]
            if name not in here or recorded[name] != digest:
                now[name] = digest if self._replace(name, sql, told) else ""
        for name in recorded.keys() - wanted.keys():
            if self._drop(name, told):
                del now[name]
        if now != recorded:
            self._record(now)
        told.views = sum(map(bool, now.values()))
        return told

    def _look(self) -> tuple[dict[str, Tables], dict[str, list[str]]]:
        """The tables of each account, and what the dataset of the views holds already, with its columns in order."""
        found: dict[str, Tables] = defaultdict(lambda: defaultdict(dict))
        here: dict[str, list[str]] = defaultdict(list)
        for dataset, kind, table, column, *told in self.sql.execute_sql(COLUMNS, self.base, f"{self.base}_%") or ():
            account = DEFAULT if dataset == self.base else dataset.removeprefix(f"{self.base}_")
            if dataset == self.sql.dataset_name:
                here[table].append(column)
            elif self._dataset(account) == dataset and kind == "BASE TABLE" and not table.startswith("_dlt_"):
                found[account][table][column] = self._type(*told)
        accounts = {name: found[name] for name in sorted(found, key=lambda name: (name != DEFAULT, name))}
        return {name: tables for name, tables in accounts.items() if RUNS in tables}, here

    def _dataset(self, account: str) -> str | None:
        """Where an account's tables are, None if no account can be called so."""
        if account == DEFAULT:
            return self.base
        return f"{self.base}_{account}" if is_account_name(account) else None

    def _select(self, table: str, accounts: Mapping[str, Tables], order: Iterable[str]) -> str:
        quoted, text = self.sql.escape_column_name, self._sql_type(TEXT)
        held = {name: tables[table] for name, tables in accounts.items() if table in tables}
        columns = united(held.values(), [INSTANCE if name == THEIRS else name for name in order if name != INSTANCE])
        parts = []
        for account, own in held.items():
            cells = [f"cast('{account}' as {text}) as {quoted(INSTANCE)}"]
            for name, type_ in columns.items():
                value = quoted(name) if name in own else "null"
                cell = value if own.get(name) == type_ else f"cast({value} as {self._sql_type(type_)})"
                cells.append(f"{cell} as {quoted(THEIRS if name == INSTANCE else name)}")
            with self.sql.with_alternative_dataset_name(str(self._dataset(account))):
                parts.append(f"select {', '.join(cells)} from {self.sql.make_qualified_table_name(table)}")
        return " union all ".join(parts)

    def _type(self, name: str, precision: int | None, scale: int | None) -> Type:
        kind = self.types.from_destination_type(name, precision, scale)["data_type"]
        return Type("decimal", precision, scale) if kind in ("decimal", "wei") else Type(str(kind))

    def _sql_type(self, type_: Type) -> str:
        column: Any = {"name": "", "data_type": type_.name, "precision": type_.precision, "scale": type_.scale}
        return self.types.to_destination_type(column, {"name": "", "columns": {}})

    def _recorded(self) -> dict[str, str]:
        rows = self.sql.execute_sql(f"select name, digest from {self._name(MADE)}") or ()
        return {str(name): str(digest) for name, digest in rows}

    def _record(self, views: Mapping[str, str]) -> None:
        told = {name.replace("'", "''"): digest for name, digest in sorted(views.items())}
        rows = [f"select '{name}' as name, '{digest}' as digest" for name, digest in told.items()]
        self._run(f"create or replace view {self._name(MADE)} as {' union all '.join(rows)}")

    def _replace(self, name: str, sql: str, told: Views) -> bool:
        view = self._name(name)
        try:
            try:
                self._run(f"create or replace view {view} as {sql}")
            except DatabaseException:
                # Postgres leaves columns, and their types, where they are; then the view has to go first.
                self._run(f"drop view if exists {view}", f"create view {view} as {sql}")
        except DatabaseException as error:
            told.failed[name] = _said(error)
        else:
            told.refreshed.append(name)
        return name not in told.failed

    def _drop(self, name: str, told: Views) -> bool:
        try:
            self._run(f"drop view if exists {self._name(name)}")
        except DatabaseException as error:
            told.failed[name] = _said(error)
        else:
            told.dropped.append(name)
        return name not in told.failed

    def _run(self, *statements: str) -> None:
        with self.sql.begin_transaction():
            for statement in statements:
                self.sql.execute_sql(statement)

    def _name(self, view: str) -> str:
        return self.sql.make_qualified_table_name(view)


def _said(error: DatabaseException) -> str:
    return " ".join(str(error).split())
