"""Snowflake and BigQuery: their tables and statements, checked without a connection."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import dlt
import pytest
import sqlglot
from sqlglot import exp

from pipelines.destinations.comments import comments
from pipelines.destinations.dataset import Dataset
from pipelines.destinations.system_tables import COLUMNS, DELETIONS, PUSHES, RUNS, table_resource
from pipelines.engine.run_log import last_runs
from pipelines.push.ledger import Ledger
from pipelines.sandbox import Sandbox
from sources.insightly import ENTITIES, insightly
from sources.insightly.config.settings import resolve_settings
from sources.insightly.context import SyncContext
from sources.insightly.rows.naming import child_table
from tests.support.crm import OPEN, Clock, contents_of, isolate
from tests.support.drivers import fake_drivers
from tests.support.expected import CORE, normalize

CREDENTIALS = {
    "snowflake": "snowflake://loader:unused@account/crm?warehouse=loading&role=loader",
    "bigquery": '{"project_id": "a-project", "private_key": "unused", "client_email": "loader@example.com"}',
}
TYPES = {
    "snowflake": {
        "integer": "DECIMAL(19, 0)",
        "string": "VARCHAR",
        "boolean": "BOOLEAN",
        "number": "DECIMAL(38, 9)",
        "datetime": "TIMESTAMPLTZ",
        "date": "DATE",
        "json": "VARCHAR",
    },
    "bigquery": {
        "integer": "INT64",
        "string": "STRING",
        "boolean": "BOOL",
        "number": "NUMERIC(38, 9)",
        "datetime": "TIMESTAMP",
        "date": "DATE",
        "json": "STRING",
    },
}
CASE = {"snowflake": str.upper, "bigquery": str}
RESERVED = {"select", "order", "group", "user", "table"}
"""Field names that SQL requires quotes for."""


@dataclass
class Warehouse:
    """An account that was read, and the client that generates a warehouse's SQL."""

    name: str
    pipeline: dlt.Pipeline
    client: Any

    def parsed(self, sql: str) -> list[exp.Expression]:
        return [each for each in sqlglot.parse(sql.replace("%s", "?"), dialect=self.name) if each is not None]

    def column(self, name: str) -> str:
        return CASE[self.name](normalize(name))

    def created(self, table: str) -> exp.Create:
        """The statement that creates a table."""
        (sql,) = self.client._get_table_update_sql(
            table, self.client.schema.get_new_table_columns(table, {}, case_sensitive=True), False
        )
        (statement,) = self.parsed(sql)
        assert isinstance(statement, exp.Create)
        return statement

    def merged(self, table: str) -> list[exp.Expression]:
        """The statements that merge a staging table into its table."""
        prepared = self.client.prepare_load_table(table)
        make = {
            "merge": self.client._create_merge_followup_jobs,
            "replace": self.client._create_replace_followup_jobs,
        }[prepared["write_disposition"]]
        (job,) = make([prepared])
        with open(job.new_file_path(), encoding="utf-8") as file:
            return [statement for line in file for statement in self.parsed(line)]


@pytest.fixture(scope="module", params=sorted(CREDENTIALS))
def warehouse(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    with (
        pytest.MonkeyPatch.context() as patch,
        fake_drivers(),
        Sandbox(contents=contents_of(0.05), switches=OPEN, clock=Clock()) as sandbox,
    ):
        isolate(folder, patch)
        patch.setenv(f"DESTINATION__{name.upper()}__CREDENTIALS", CREDENTIALS[name])
        patch.setenv("DESTINATION__REPLACE_STRATEGY", "insert-from-staging")
        first = sandbox.store.rows("contacts")[0]
        sandbox.store.put_raw("contacts", {**first, **dict.fromkeys(RESERVED, 1)})
        settings = resolve_settings(api_key=sandbox.key, base_url=sandbox.url, requests_per_second=1000)
        pipeline = dlt.pipeline("insightly", destination=name, dataset_name="insightly", pipelines_dir=str(folder))
        ledgers = [table_resource(table) for table in (RUNS, DELETIONS, PUSHES)]
        context = SyncContext(settings)
        pipeline.extract(insightly(context=context, requests=dict.fromkeys(CORE, context.request)))
        pipeline.extract(ledgers)
        pipeline.normalize()
        yield Warehouse(name, pipeline, pipeline.destination_client())


def test_warehouse_tables_have_types_and_quoted_names(warehouse: Warehouse) -> None:
    for entity in CORE:
        facts, statement = ENTITIES[entity], warehouse.created(entity)
        columns = {column.name: column.args["kind"].sql(warehouse.name) for column in statement.find_all(exp.ColumnDef)}
        for field, kind in facts.fields.items():
            if field not in (*facts.arrays, "CUSTOMFIELDS"):
                assert columns[warehouse.column(field)] == TYPES[warehouse.name][kind.type], (entity, field)
        assert all(column.this.args["quoted"] for column in statement.find_all(exp.ColumnDef))
        assert ("_deleted_at" in {name.lower() for name in columns}) == facts.swept
        for array in facts.arrays:
            child = warehouse.created(child_table(facts, array))
            assert warehouse.column("list_idx") in {column.name for column in child.find_all(exp.ColumnDef)}
    contacts = {column.name for column in warehouse.created("contacts").find_all(exp.ColumnDef)}
    assert {warehouse.column(name) for name in RESERVED} <= contacts


def test_warehouse_merge_replaces_rows_by_key_and_parent(warehouse: Warehouse) -> None:
    for table, key in (("contacts", "contact_id"), ("contacts__tags", "contact_id"), ("tags", "record_type")):
        delete, insert = warehouse.merged(table)
        assert isinstance(delete, exp.Delete)
        assert isinstance(insert, exp.Insert)
        assert {column.name for column in delete.find_all(exp.Column)} == {warehouse.column(key)}
        assert {(part.db.lower(), part.name.lower()) for part in delete.find_all(exp.Table)} == {
            ("insightly", table),
            ("insightly_staging", table),
        }
        spared = {column.name for column in insert.find(exp.Where).find_all(exp.Column)}  # type: ignore[union-attr]
        assert (warehouse.column("_is_empty") in spared) == (table != "contacts")
    assert [type(each).__name__ for each in warehouse.merged("countries")] == ["TruncateTable", "Insert"]


def test_descriptions_become_comments_of_warehouse_tables(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, schema = warehouse.client, warehouse.client.schema
    existing = {
        name: {warehouse.column(column): facts for column, facts in table["columns"].items()}
        for name, table in schema.tables.items()
    }
    monkeypatch.setattr(client, "get_storage_tables", lambda names: [(name, existing[name]) for name in names])
    # dlt writes the descriptions of the columns that it creates.
    for created, fewest in ((schema.tables, 1), ({}, 2)):
        statements = [sql for sql in comments(client, {}, created) if "contacts`" in sql or 'CONTACTS"' in sql]
        assert fewest <= len(statements) <= (fewest if warehouse.name == "bigquery" or created else 99)
        assert "the people whom the team deals with" in statements[0]
        assert all(warehouse.parsed(sql) for sql in statements)
        assert any("Main phone number" in sql for sql in statements) == (not created)
    assert "Main phone number" in warehouse.created("contacts").sql(warehouse.name)


def test_own_statements_are_valid_warehouse_sql(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = list[tuple[str, tuple[Any, ...]]]()
    client, contacts = warehouse.client.sql_client, ENTITIES["contacts"]
    answers = {"distinct entity": [("contacts",)], "count(*)": [(7, 2)]}

    def execute(sql: str, *values: Any) -> Any:
        sent.append((sql, values))
        return next((rows for words, rows in answers.items() if words in sql), [])

    @contextmanager
    def query(sql: str) -> Iterator[Any]:
        execute(sql)
        named = [(warehouse.column("contact_id"),), (warehouse.column("list_idx"),)]
        yield SimpleNamespace(description=named, fetchall=lambda: [(1, 0)], fetchmany=lambda _: [])

    monkeypatch.setattr(client, "execute_sql", execute)
    monkeypatch.setattr(client, "execute_query", query)
    monkeypatch.setattr(client, "begin_transaction", nullcontext)
    monkeypatch.setattr(warehouse.pipeline, "sql_client", lambda: nullcontext(client))
    dataset = Dataset(warehouse.pipeline)
    dataset.__dict__["_client"] = client
    dataset.live_ids(contacts)
    assert dataset.rows_by_id(contacts, "contacts__tags", [1, 2]) == [{"contact_id": 1, "list_idx": 0}]
    dataset.mark_deleted(contacts, {1: "deleted", 2: "hidden"}, remove=False)
    dataset.mark_deleted(contacts, {1: "deleted"}, remove=True)
    dataset.clear_columns({"contacts": ["phone", "order"]})
    assert dataset.remove_orphans(contacts) > 0
    dataset.record_restored()
    last_runs(warehouse.pipeline)
    ledger = Ledger(dataset, "push", "contacts", "create")
    ledger.record_intent(1, "create", datetime.now(UTC))
    ledger.record_result(1, "create", "done", 5)
    ledger.record_loaded([1])
    ledger.created_ids()

    assert len(sent) > 20
    known = {warehouse.column(name) for table in COLUMNS.values() for name in table}
    for sql, values in sent:
        assert sql.count("%s") == len(values)
        assert None not in values
        (statement,) = warehouse.parsed(sql)
        if isinstance(statement, exp.Update | exp.Delete):
            assert statement.args.get("where") is not None, sql
        for table in statement.find_all(exp.Table):
            assert table.this.args["quoted"]
        bare = {each.name for each in statement.find_all(exp.Identifier) if not each.args["quoted"]}
        words = {word for word in bare if not re.fullmatch("[a-z]", word)}
        assert {warehouse.column(word) for word in words} <= known, sql
