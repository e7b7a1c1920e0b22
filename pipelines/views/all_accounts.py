"""The dataset `insightly_all`: one view per table over all accounts, with the column `instance`."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, NamedTuple

import dlt
from dlt.common.schema import Schema
from dlt.destinations.job_client_impl import SqlJobClientBase

from pipelines.destinations.locks import Busy
from pipelines.destinations.pipeline_state import SCHEMA
from pipelines.destinations.system_tables import RUNS, description_of
from pipelines.destinations.target import Target
from pipelines.engine.report import WORST_FIRST, Report
from sources.insightly.config.accounts import ALL, DEFAULT, is_account_name

from .dialect import writer_of
from .registry import Registry, View

LIST = "_views"
"""The view that lists the others."""
INSTANCE, RENAMED = "instance", "api_instance"
"""The column with the name of the account, and the new name of a table's own column of that name."""
DIALECTS = ("duckdb", "postgres")
MAX_DIGITS = 38
"""The digits that a decimal can have on DuckDB, and by dlt's rule elsewhere."""
BIGINT_DIGITS = 19
COLUMNS = """
select c.table_schema, t.table_type, c.table_name, c.column_name, c.data_type, c.numeric_precision, c.numeric_scale
from information_schema.columns c
join information_schema.tables t using (table_catalog, table_schema, table_name)
where c.table_catalog = current_database() and (c.table_schema = %s or c.table_schema like %s)
order by c.table_schema, c.table_name, c.ordinal_position"""


class Type(NamedTuple):
    """One of dlt's data types; only a decimal has precision and scale."""

    name: str
    precision: int | None = None
    scale: int | None = None


TEXT, DOUBLE = Type("text"), Type("double")
Columns = Mapping[str, Type]
Tables = dict[str, dict[str, Type]]


def common_type(types: Collection[Type]) -> Type:
    """The type that can store the values of all: a number if all are numbers, else text.

    >>> common_type({Type("bigint"), Type("decimal", 20, 2)})
    Type(name='decimal', precision=21, scale=2)
    >>> common_type({Type("bigint"), Type("timestamp")})
    Type(name='text', precision=None, scale=None)
    """
    if len(set(types)) == 1:
        return next(iter(types))
    if not {each.name for each in types} <= {"bigint", "decimal", "double"}:
        return TEXT
    if DOUBLE in types:
        return DOUBLE
    scale = max(each.scale or 0 for each in types)
    integer = max(each.precision - (each.scale or 0) if each.precision else BIGINT_DIGITS for each in types)
    return Type("decimal", scale + integer, scale) if scale + integer <= MAX_DIGITS else DOUBLE


def union_columns(tables: Collection[Columns], order: Iterable[str] = ()) -> dict[str, Type]:
    """The columns of all tables, those in `order` first, so that a view keeps the order of its columns."""
    names = dict.fromkeys(name for table in tables for name in table)
    ordered = [*(name for name in order if name in names), *names]
    return {name: common_type({table[name] for table in tables if name in table}) for name in ordered}


@dataclass
class AllAccounts:
    """The views over all accounts: how many there are, which were replaced or dropped, and which failed and why.

    `note` says why there are none.
    """

    accounts: list[str] = field(default_factory=list)
    views: int = 0
    refreshed: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    note: str | None = None


def refresh(base: Target) -> AllAccounts:
    """Creates a view over each table of any account, and drops the views of tables that no longer exist.

    The accounts are those found at the destination, not those in the settings: a task of a scheduler may know only
    one.

    Args:
        base: the dataset of the account `default`; those of the other accounts are named after it.

    Raises:
        ConfigurationError: the destination cannot have this dataset.
        Busy: another run is using the destination.
    """
    target = base.for_account(ALL)
    if not target.exists():
        return AllAccounts(note="nothing was synced yet")
    with target.lock(), _client(target) as client:
        if not isinstance(client, SqlJobClientBase) or client.capabilities.sqlglot_dialect not in DIALECTS:
            note = f"views over all accounts exist on DuckDB and Postgres, not on {target.destination}"
            return AllAccounts(note=note)
        return _Views(client).refresh()


def refresh_after(report: Report, base: Target) -> None:
    """Refreshes the views after a sync and adds the result to its report, which fails if they do."""
    dataset, exit_code = base.for_account(ALL).dataset, 1
    try:
        views = refresh(base)
    except Busy as busy:
        views = AllAccounts(note=f"{busy}; the next sync refreshes the views")
    except Exception as error:  # the sync is reported, whatever happens to the views
        views, exit_code = AllAccounts(failed={"*": str(error)}), getattr(error, "exit_code", 1)
    if views.failed:
        reasons = [f"{dataset}.{view}: {reason}" for view, reason in views.failed.items()]
        exit_code = min(report.exit_code, exit_code, key=WORST_FIRST.index)
        report.fail("; ".join(filter(None, [report.reason, *reasons])), exit_code)
    report.facts["all_accounts"] = {"dataset": dataset, **asdict(views)}


@contextmanager
def _client(target: Target) -> Iterator[Any]:
    """dlt's client for a dataset that no pipeline loads into."""
    dataset = dlt.dataset(target.adapter.factory(), target.dataset, schema=Schema(SCHEMA))
    with dataset.destination_client as client:
        yield client


class _Views:
    def __init__(self, client: SqlJobClientBase) -> None:
        self.sql = client.sql_client
        self.types = client.capabilities.get_type_mapper()
        self.base = self.sql.dataset_name.removesuffix(f"_{ALL}")

    def refresh(self) -> AllAccounts:
        accounts, existing = self._read_tables()
        result = AllAccounts(list(accounts))
        if not accounts:
            result.note = "nothing was synced yet"
            return result
        if not self.sql.has_dataset():
            self.sql.create_dataset()
        registry = Registry(self.sql, writer_of(self.sql, self.sql.dataset_name), LIST, ("name",))
        views = dict[str, View]()
        for name in sorted({name for tables in accounts.values() for name in tables}):
            if name in existing and name not in registry.entries:
                result.failed[name] = "there is something else with this name"
            else:
                select = self._select(name, accounts, existing.get(name, ()))
                view = self.sql.make_qualified_table_name(name)
                texts = self._comments(name, accounts)
                views[name] = View(f"create or replace view {view} as {select}", (), partial(dict, texts), str(texts))
        changes = registry.refresh(views, existing.__contains__)
        result.refreshed, result.dropped = changes.replaced, changes.dropped
        result.failed |= changes.failed
        failed = views.keys() & changes.failed
        result.views = sum(bool(entry.digest) and name not in failed for name, entry in registry.entries.items())
        return result

    def _comments(self, table: str, accounts: Mapping[str, Tables]) -> dict[str, str]:
        """What a view and its columns are; the text about a custom field is beside the table of each account."""
        names = {column for tables in accounts.values() for column in tables.get(table, ())} - {INSTANCE}
        return {
            "": f"All accounts: {description_of(table) or table}",
            INSTANCE: "Account that the row is of, by its name in the settings.",
            **{name: text for name in sorted(names) if (text := description_of(table, name))},
        }

    def _read_tables(self) -> tuple[dict[str, Tables], dict[str, list[str]]]:
        """The tables of each account, and what is in the dataset of the views, with its columns in order."""
        found: dict[str, Tables] = defaultdict(lambda: defaultdict(dict))
        existing: dict[str, list[str]] = defaultdict(list)
        for dataset, kind, table, column, *type_ in self.sql.execute_sql(COLUMNS, self.base, f"{self.base}_%") or ():
            account = DEFAULT if dataset == self.base else dataset.removeprefix(f"{self.base}_")
            if dataset == self.sql.dataset_name:
                existing[table].append(column)
            elif self._dataset(account) == dataset and kind == "BASE TABLE" and not table.startswith("_dlt_"):
                found[account][table][column] = self._type(*type_)
        accounts = {name: found[name] for name in sorted(found, key=lambda name: (name != DEFAULT, name))}
        return {name: tables for name, tables in accounts.items() if RUNS in tables}, existing

    def _dataset(self, account: str) -> str | None:
        """The dataset of an account, None if no account can have this name."""
        if account == DEFAULT:
            return self.base
        return f"{self.base}_{account}" if is_account_name(account) else None

    def _select(self, table: str, accounts: Mapping[str, Tables], order: Iterable[str]) -> str:
        """The query for a table of all accounts; `order` are the columns of the existing view."""
        quoted, text = self.sql.escape_column_name, self._sql_type(TEXT)
        tables = {account: tables[table] for account, tables in accounts.items() if table in tables}
        order = [INSTANCE if name == RENAMED else name for name in order if name != INSTANCE]
        columns, parts = union_columns(tables.values(), order), []
        for account, types in tables.items():
            cells = [f"cast('{account}' as {text}) as {quoted(INSTANCE)}"]
            for name, type_ in columns.items():
                value = quoted(name) if name in types else "null"
                cell = value if types.get(name) == type_ else f"cast({value} as {self._sql_type(type_)})"
                cells.append(f"{cell} as {quoted(RENAMED if name == INSTANCE else name)}")
            with self.sql.with_alternative_dataset_name(str(self._dataset(account))):
                parts.append(f"select {', '.join(cells)} from {self.sql.make_qualified_table_name(table)}")
        return " union all ".join(parts)

    def _type(self, name: str, precision: int | None, scale: int | None) -> Type:
        kind = self.types.from_destination_type(name, precision, scale)["data_type"]
        return Type("decimal", precision, scale) if kind in ("decimal", "wei") else Type(str(kind))

    def _sql_type(self, type_: Type) -> str:
        column: Any = {"name": "", "data_type": type_.name, "precision": type_.precision, "scale": type_.scale}
        return self.types.to_destination_type(column, {"name": "", "columns": {}})
