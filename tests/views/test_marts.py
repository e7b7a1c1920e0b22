"""Marts: what the files say, how they are planned, and their SQL in each dialect."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from pipelines.views.build import bundled
from pipelines.views.dialect import TESTED, ViewWriter
from pipelines.views.marts import Mart, MartPlan, Tables, Unusable, load, plan, tables_of
from pipelines.views.relations import known_tables
from sources.insightly import ENTITIES
from tests.support.expected import normalize
from tests.support.process import ROOT

KNOWN = known_tables(normalize)
MARTS = {mart.name: mart for mart in load(bundled())}
CASEFOLD = {"snowflake": str.upper}


def planned(marts: Sequence[Mart], *names: str, tables: Tables = KNOWN) -> dict[str, MartPlan]:
    """The plans over some tables, or over all if none is named."""
    existing = {name: tables[name] for name in names} if names else tables
    return {each.mart.name: each for each in plan(marts, existing, KNOWN)}


@cache
def everything() -> dict[str, MartPlan]:
    return planned(list(MARTS.values()))


def writer(dialect: str) -> ViewWriter:
    def write(name: str) -> str:
        return CASEFOLD.get(dialect, str)(name)

    return ViewWriter(dialect, write, lambda n: (write("crm"), write(n)), lambda n: (write("crm_marts"), write(n)))


def create(dialect: str, plan: MartPlan) -> str:
    assert plan.query is not None
    return writer(dialect).create(plan.mart.name, plan.query)


def mart(text: str, name: str = "mine") -> Mart:
    return Mart.parse(name, text, own=True)


def test_marts_are_the_files_of_the_repository() -> None:
    assert bundled() == ROOT / "marts"
    assert set(MARTS) == {path.stem for path in (ROOT / "marts").iterdir()}
    assert len(MARTS) >= 8


@pytest.mark.parametrize("name", MARTS)
def test_file_has_its_question_and_grain(name: str) -> None:
    assert re.fullmatch(r"[A-Z][^?]+\? One row per [^?]+\.", MARTS[name].answers)
    text = (ROOT / "marts" / f"{name}.sql").read_text(encoding="utf-8")
    assert "{{" not in text
    assert "{%" not in text


@pytest.mark.parametrize("name", MARTS)
def test_mart_reads_only_columns_of_every_account(name: str) -> None:
    each = everything()[name]
    assert (each.reason, each.without) == (None, ())
    assert MARTS[name].query is not None
    read = {table.name.removeprefix("current_") for table in tables_of(MARTS[name].query)} - MARTS.keys()
    assert read <= set(each.needs)
    for table in read:
        tables = {**{need: KNOWN[need] for need in each.needs}, table: {"other": "BIGINT"}}
        (without,) = plan(MARTS.values(), tables, tables, [name])
        assert without.query is None, f"{table} is not checked"


@pytest.mark.parametrize("name", MARTS)
def test_optional_tables_add_columns_but_no_rows(name: str) -> None:
    """They are on the right of a LEFT JOIN, or part of a union."""
    each = everything()[name]
    assert MARTS[name].optional <= set(each.needs)
    assert MARTS[name].query is not None
    for join in MARTS[name].query.find_all(exp.Join):
        if join.this.name in MARTS[name].optional:
            assert join.side == "LEFT"


@pytest.mark.parametrize("name", [name for name in MARTS if name.endswith("_wide") or name == "activities"])
def test_joins_of_wide_views_cannot_multiply_rows(name: str) -> None:
    """Each is by the key of a table, or of rows that are grouped by it: Postgres expects one row of `nth = 1`."""
    query = MARTS[name].query
    assert query is not None
    ctes = {cte.alias: cte.this for cte in query.ctes}
    for join in query.args["joins"]:
        source, alias = join.this.name.removeprefix("current_"), join.this.alias_or_name
        by = {column.name for column in join.args["on"].find_all(exp.Column) if column.table == alias}
        if source == "people":
            key = {"user_id"}
        elif source in ctes:
            key = {column.name for column in ctes[source].args["group"].expressions}
        else:
            key = {field.lower() for field in ENTITIES[source].key}
        assert (join.side, by) == ("LEFT", key), join.sql()


def test_every_taggable_entity_is_counted() -> None:
    tagged = {name for name, entity in ENTITIES.items() if entity.tagged}
    needs = everything()["tags_by_record_type"].needs
    assert {name.removesuffix("__tags") for name in needs if name.endswith("__tags")} == tagged
    assert {name for name in needs if not name.endswith("__tags")} == {n for n in tagged if ENTITIES[n].swept}


def test_swept_tables_have_views_without_deleted_records() -> None:
    tables = {
        **{name: KNOWN[name] for name in ("contacts", "pipelines", "opportunities_history")},
        "workshops__c": {"record_id": "BIGINT", "_dlt_load_id": "VARCHAR", "_deleted_at": "TIMESTAMPTZ"},
    }
    tables["contacts"] = {**tables["contacts"], "hobby__c": "VARCHAR"}
    made = planned([], tables=tables)
    assert set(made) == {"current_contacts", "current_workshops__c"}
    for name, query in ((name, each.query) for name, each in made.items()):
        assert query is not None
        columns = [column for column in tables[name.removeprefix("current_")] if not column.startswith("_")]
        assert query.named_selects == columns


def test_missing_tables_are_reported() -> None:
    made = planned(list(MARTS.values()), "tasks", "opportunities", "contacts", "contacts__tags")
    assert made["freshness"].reason == "needs _sync_runs (never loaded)"
    assert made["activity_by_owner_and_week"].reason == "needs events (never loaded), notes (never loaded)"
    assert made["stage_stays"].reason == (
        'needs opportunities_history (kept with sources.insightly.history = ["opportunities"])'
    )
    assert made["stage_conversion"].reason == made["stage_stays"].reason
    assert (made["overdue_tasks"].reason, made["overdue_tasks"].without) == (None, ("users",))
    assert made["tags_by_record_type"].reason is None
    assert {"contacts", "contacts__tags"}.isdisjoint(made["tags_by_record_type"].without)
    nothing = planned([MARTS["tags_by_record_type"]], "tasks")["tags_by_record_type"]
    assert nothing.reason is not None
    assert "contacts__tags (never loaded)" in nothing.reason


def test_missing_column_is_reported() -> None:
    text = "-- Who rows?\n-- One row a contact.\nselect contact_id from current_contacts where hobby__c = 'Rowing'"
    missing = planned([mart(text)], "contacts")["mine"]
    assert (missing.query, missing.invalid) == (None, False)
    assert "hobby__c" in (missing.reason or "")
    tables = {"contacts": {**KNOWN["contacts"], "hobby__c": "VARCHAR"}}
    assert planned([mart(text)], tables=tables)["mine"].query is not None


def test_columns_that_an_optional_table_lacks_are_null() -> None:
    """The setting `drop` leaves columns out."""
    lacking = {name: kind for name, kind in KNOWN["users"].items() if name != "last_name"}
    for each in plan(MARTS.values(), {**KNOWN, "users": lacking}, KNOWN, ["overdue_tasks", "opportunities_wide"]):
        assert (each.reason, each.without) == (None, ())
        assert 'CAST(NULL AS TEXT) AS "last_name" FROM "crm"."users"' in " ".join(create("duckdb", each).split())
    nameless = {name: kind for name, kind in KNOWN["contacts"].items() if name != "last_name"}
    (each,) = plan(MARTS.values(), {**KNOWN, "contacts": nameless}, KNOWN, ["contacts_wide"])
    assert each.query is not None
    assert "contact_name" in each.query.named_selects
    assert "last_name" not in each.query.named_selects
    lacking = {name: kind for name, kind in KNOWN["tasks"].items() if name != "due_date"}
    (each,) = plan(MARTS.values(), {**KNOWN, "tasks": lacking}, KNOWN, ["overdue_tasks"])
    assert "due_date" in (each.reason or "")


def test_star_of_current_rows_has_custom_fields_and_no_name_twice() -> None:
    text = "select c.*, u.first_name || '!' as title from current_contacts as c left join users as u on true"
    contacts = {"contact_id": "BIGINT", "title": "VARCHAR", "hobby__c": "VARCHAR"}
    tables = {**KNOWN, "contacts": {**contacts, "_dlt_id": "VARCHAR", "_deleted_at": "TIMESTAMPTZ"}}
    reader = mart("select m.* from mine as m join current_notes as n on true", "reader")
    made = planned([mart(text), reader], tables=tables)
    assert made["mine"].query is not None
    assert made["mine"].query.named_selects == ["contact_id", "hobby__c", "title"]
    assert made["reader"].query is not None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("selec 1", "not duckdb SQL"),
        ("select 'open", "not duckdb SQL"),
        ("drop table contacts", "not one SELECT"),
        ("select 1; select 2", "not one SELECT"),
        ("-- only words", "not one SELECT"),
        ("", "not one SELECT"),
        ("select * from theirs", "reads itself: mine -> theirs -> mine"),
    ],
)
def test_invalid_file_is_reported(text: str, expected: str) -> None:
    other = mart("select * from mine", "theirs")
    wrong = planned([mart(text), other], "notes")["mine"]
    assert (wrong.query, wrong.invalid) == (None, True)
    assert expected in (wrong.reason or "")
    assert planned([mart(text), other], "notes")["theirs"].query is None


@pytest.mark.parametrize("name", ["Sales", "sales-by-region", "1st", "sales by region", "ventes_é"])
def test_file_name_must_be_a_table_name(name: str) -> None:
    assert planned([mart("select 1 as one", name)], "notes")[name].invalid


def test_mart_can_read_marts_and_have_the_name_of_its_table() -> None:
    marts = [
        mart("select contact_id from contacts where last_name is not null", "contacts"),
        mart("with contacts as (select 1 as x) select x from contacts", "hidden"),
        mart("select count(*) as n from contacts join overdue on true", "both"),
        mart("select task_id from current_tasks", "overdue"),
        mart("select lead_id from current_leads where email is null", "current_leads"),
        mart("select count(*) as n from current_leads", "nameless"),
        mart("select n from elsewhere.numbers", "foreign"),
    ]
    made = planned(marts, "contacts", "leads", "tasks")
    assert {name: each.needs for name, each in made.items() if name in {m.name for m in marts}} == {
        "contacts": ("contacts",),
        "hidden": (),
        "both": ("contacts", "tasks"),
        "overdue": ("tasks",),
        "current_leads": ("leads",),
        "nameless": ("leads",),
        "foreign": (),
    }
    assert all(each.query is not None for each in made.values())
    sql = create("postgres", made["both"])
    assert '"crm"."contacts"' in sql
    assert '"crm_marts"."contacts"' not in sql
    assert "email" in create("postgres", made["nameless"])
    assert '"elsewhere"."numbers"' in create("postgres", made["foreign"])


@pytest.mark.parametrize("dialect", TESTED)
def test_every_mart_is_valid_sql_in_every_dialect(dialect: str) -> None:
    """The SQL is parsed in its dialect, and has the same tables and columns."""
    target = writer(dialect)
    for name, each in everything().items():
        assert each.query is not None
        (statement,) = sqlglot.parse(create(dialect, each), read=dialect)
        assert isinstance(statement, exp.Create)
        assert statement.args["replace"]
        view, query = statement.this, statement.expression
        assert (view.db, view.name) == (target.normalize("crm_marts"), target.normalize(name))
        ctes = {cte.alias for cte in query.find_all(exp.CTE)}
        read = {(table.db, table.name) for table in query.find_all(exp.Table) if table.db or table.name not in ctes}
        assert read == {(target.normalize("crm"), target.normalize(table)) for table in each.needs}
        assert query.named_selects == [target.normalize(column) for column in each.query.named_selects]
        assert all(identifier.quoted for identifier in query.find_all(exp.Identifier))
    for statement in (
        target.drop("a"),
        target.count("a"),
        target.create_values("a", ("mart",), [("a",)]),
        target.read("a", ("mart",)),
    ):
        assert not isinstance(sqlglot.parse_one(statement, read=dialect), exp.Command)


@pytest.mark.parametrize("dialect", TESTED)
def test_missing_tables_are_empty_in_every_dialect(dialect: str) -> None:
    each = planned([MARTS["overdue_tasks"]], "tasks")["overdue_tasks"]
    (statement,) = sqlglot.parse(create(dialect, each), read=dialect)
    assert isinstance(statement, exp.Create)
    assert [table.name for table in statement.expression.find_all(exp.Table) if table.db] == [
        writer(dialect).normalize("tasks")
    ]
    assert {limit.expression.name for limit in statement.expression.find_all(exp.Limit)} == {"0"}


@pytest.mark.parametrize(
    ("dialect", "sql", "written"),
    [
        ("duckdb", "cast(a at time zone 'UTC' as date)", """CAST("a" AT TIME ZONE 'UTC' AS DATE)"""),
        ("postgres", "cast(a at time zone 'UTC' as date)", """CAST("a" AT TIME ZONE 'UTC' AS DATE)"""),
        ("snowflake", "cast(a at time zone 'UTC' as date)", """CAST(CONVERT_TIMEZONE('UTC', "A") AS DATE)"""),
        ("bigquery", "cast(a at time zone 'UTC' as date)", "CAST(TIMESTAMP(DATETIME(`a`, 'UTC')) AS DATE)"),
        (
            "databricks",
            "cast(a at time zone 'UTC' as date)",
            "CAST(TO_UTC_TIMESTAMP(`a`, CURRENT_TIMEZONE()) AS DATE)",
        ),
        ("clickhouse", "cast(a at time zone 'UTC' as date)", """CAST(toTimeZone("a", 'UTC') AS Nullable(DATE))"""),
        ("bigquery", "date_trunc('week', cast(a as date))", "DATE_TRUNC(CAST(`a` AS DATE), WEEK(MONDAY))"),
        ("databricks", "date_trunc('week', cast(a as date))", "TRUNC(CAST(`a` AS DATE), 'WEEK')"),
        ("bigquery", "date_trunc('month', cast(a as date))", "DATE_TRUNC(CAST(`a` AS DATE), MONTH)"),
        ("postgres", "cast(a / b as decimal(9, 4))", 'CAST(CAST("a" AS DOUBLE PRECISION) / "b" AS DECIMAL(9, 4))'),
        ("bigquery", "cast(a as decimal(28, 4))", "CAST(`a` AS NUMERIC)"),
        ("clickhouse", "cast(a as decimal(28, 4))", 'CAST("a" AS Nullable(Decimal(28, 4)))'),
        ("snowflake", "a || 'it''s'", """"A" || 'it\\'s\'"""),
        ("duckdb", "array_agg(b order by b)", 'ARRAY_AGG("b" ORDER BY "b")'),
        ("postgres", "array_agg(b order by b)", 'ARRAY_AGG("b" ORDER BY "b")'),
        ("snowflake", "array_agg(b order by b)", 'ARRAY_AGG("B") WITHIN GROUP (ORDER BY "B")'),
        ("bigquery", "array_agg(b order by b)", "ARRAY_AGG(`b` ORDER BY `b`)"),
        ("databricks", "array_agg(b order by b)", "SORT_ARRAY(COLLECT_LIST(`b`))"),
        ("clickhouse", "array_agg(b order by b)", 'arraySort(groupArray("b"))'),
        ("redshift", "array_agg(b order by b)", """LISTAGG("b", ', ') WITHIN GROUP (ORDER BY "b")"""),
    ],
)
def test_expressions_keep_their_meaning_in_each_dialect(dialect: str, sql: str, written: str) -> None:
    tables = {"t": {"a": "TIMESTAMPTZ", "b": "BIGINT"}}
    each = planned([mart(f"select {sql} as x from t")], tables=tables)["mine"]
    assert f"{written} AS" in " ".join(create(dialect, each).split())


def test_inexpressible_query_is_reported() -> None:
    text = "select sum(a) over (order by a rows between unbounded preceding and current row) as x from t"
    each = planned([mart(text)], tables={"t": {"a": "BIGINT"}})["mine"]
    assert "UNBOUNDED PRECEDING" in create("snowflake", each).upper()
    with pytest.raises(Unusable, match=r"cannot be written in the SQL of bigquery: .*NULLS LAST"):
        create("bigquery", each)
    by_another = planned([mart("select array_agg(a order by b) as x from t")], tables={"t": {"a": "DATE", "b": "DATE"}})
    with pytest.raises(Unusable, match="databricks sorts an array by its values alone; write: order by"):
        create("databricks", by_another["mine"])


def test_texts_in_the_list_of_views_are_escaped(tmp_path: Path) -> None:
    for dialect in TESTED:
        text = 'it\'s "quoted"; drop table contacts --'
        (statement,) = sqlglot.parse(
            writer(dialect).create_values("_marts", ("mart", "own"), [(text, True), ("b", False)]), read=dialect
        )
        assert statement is not None
        assert {literal.this for literal in statement.find_all(exp.Literal)} == {text, "b"}
