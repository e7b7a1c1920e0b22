"""Comments on tables and columns, and references between tables, as other tools see them."""

from collections.abc import Callable
from typing import Any

import pytest
from dlt.destinations.sql_client import SqlClientBase

from pipelines.destinations import comments as destination_comments
from pipelines.destinations import system_tables
from pipelines.destinations.system_tables import description_of
from pipelines.sandbox.store.shapes import definition
from pipelines.views.all_accounts import refresh
from pipelines.views.build import create_views
from sources.insightly.resources import build
from sources.insightly.state.request import ReadRequest
from tests.support.crm import ON_POSTGRES, Crm, PostgresCrm
from tests.support.masking import HASH_KEY
from tests.support.process import command, reach

MakeCrm = Callable[..., Crm]
NAMES = ("contacts", "organisations", "users", "tags")
DUCKDB = """
    select table_name, '' as column_name, comment from duckdb_tables() where schema_name = 'insightly' union all
    select table_name, column_name, comment from duckdb_columns() where schema_name = 'insightly'
"""
POSTGRES = """
    select c.relname as table_name, coalesce(a.attname, '') as column_name,
           case when a.attnum is null then obj_description(c.oid) else col_description(c.oid, a.attnum) end as comment
    from pg_class c cross join lateral (
        select null::name as attname, null::smallint as attnum union all
        select attname, attnum from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped
    ) a where c.relnamespace = 'insightly'::regnamespace and c.relkind = 'r'
"""


def comments(crm: Crm) -> dict[tuple[str, str], str | None]:
    rows = crm.read(POSTGRES if crm.target.destination == "postgres" else DUCKDB)
    return {(row["table_name"], row["column_name"]): row["comment"] for row in rows}


def leave_undescribed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(build, "describe", lambda _: None)
    patch.setattr(system_tables, "describe_table", lambda *_: None)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that write comments."""
    statements, execute = list[str](), SqlClientBase.execute_many

    def execute_many(self: Any, texts: list[str], *args: Any, **kwargs: Any) -> Any:
        statements.extend(text for text in texts if text.startswith("comment on"))
        return execute(self, texts, *args, **kwargs)

    monkeypatch.setattr(SqlClientBase, "execute_many", execute_many)
    return statements


@pytest.mark.everywhere("postgres")
def test_tables_and_columns_have_comments(make_crm: MakeCrm, written: list[str]) -> None:
    crm = make_crm(scale=0.005)
    store = crm.sandbox.store
    store.define("CONTACT", "Discount__c", "DROPDOWN", "Discount in %s; isn't it?", ["5 %", "it's 10 %"])
    store.definitions[-1]["FIELD_HELP_TEXT"] = "Agreed\n with sales."
    store.put_raw("contacts", {**store.rows("contacts")[0], "NEWER_FIELD": "x", "DATE_OF_BIRTH": "soon"})
    crm.sync_done(*NAMES, history=["contacts"])
    found = comments(crm)
    assert not [names for names, text in found.items() if text is None and not names[0].startswith("_dlt")]
    for table, column in found:
        if not table.startswith("_dlt") and (text := description_of(table, column)):
            assert str(found[table, column]).startswith(text)
    keys = {"contacts": "contact_id", "contacts__tags": "contact_id, list_idx", "users": "user_id"}
    for table, key in keys.items():
        assert str(found[table, ""]).endswith(f" Key: {key}.")
    assert str(found["contacts", "organisation_id"]).endswith(" References organisations.organisation_id.")
    text = "Custom field \"Discount in %s; isn't it?\": Agreed with sales. Options: 5 %, it's 10 %."
    assert {found["contacts", "discount__c"], found["contacts_history", "discount__c"]} == {text}
    assert "does not know" in str(found["contacts", "newer_field"])
    assert "date_of_birth as text" in str(found["contacts", "date_of_birth__v_text"])

    crm.sync_done(*NAMES, history=["contacts"])
    written.clear()
    crm.sync_done(*NAMES, history=["contacts"])
    assert written == []
    store.definitions[-1]["FIELD_LABEL"] = "Rebate"
    store.update("contacts", store.rows("contacts")[0]["CONTACT_ID"], {"PHONE": "1"})
    crm.sync_done(*NAMES, history=["contacts"])
    changed = {names for names, text in comments(crm).items() if text != found[names]}
    assert changed == {("contacts", "discount__c"), ("contacts_history", "discount__c")}
    assert len(written) == 2


@pytest.mark.everywhere("postgres")
def test_tables_of_an_earlier_version_get_comments(make_crm: MakeCrm, monkeypatch: pytest.MonkeyPatch) -> None:
    crm = make_crm(scale=0.005)
    with monkeypatch.context() as earlier:
        leave_undescribed(earlier)
        crm.sync_done(*NAMES)
    assert comments(crm)["contacts", "phone"] is None
    crm.sync_done(*NAMES)
    assert [names for names, text in comments(crm).items() if text is None and not names[0].startswith("_dlt")] == []


@pytest.mark.everywhere("postgres")
def test_tables_and_comments_are_created_in_one_transaction(make_crm: MakeCrm, monkeypatch: pytest.MonkeyPatch) -> None:
    crm = make_crm(scale=0.005)
    with monkeypatch.context() as failing:
        failing.setattr(destination_comments, "comments", lambda *_: ["comment on table missing is 'x'"])
        assert crm.sync("contacts").exit_code == 1
    assert crm.read("select table_name from information_schema.tables where table_schema = 'insightly'") == []
    crm.sync_done("contacts")
    assert comments(crm)["contacts", "phone"] == description_of("contacts", "phone")


def test_comment_says_that_a_column_is_hashed(make_crm: MakeCrm) -> None:
    crm = make_crm(scale=0.005)
    crm.sync_done("contacts", hash=["contacts.phone"], hash_key=HASH_KEY)
    text = description_of("contacts", "phone")
    assert comments(crm)["contacts", "phone"] == f"{text} Hashed with a secret key."
    crm.sync_done("contacts", request=ReadRequest(full=True))
    assert comments(crm)["contacts", "phone"] == text


def test_dropped_table_is_ignored(make_crm: MakeCrm, monkeypatch: pytest.MonkeyPatch) -> None:
    crm = make_crm(scale=0.005)
    with monkeypatch.context() as earlier:
        leave_undescribed(earlier)
        crm.sync_done(*NAMES, "lead_sources")
    crm.change("drop table insightly.lead_sources; alter table insightly.users drop column timezone_id")
    crm.sync_done(*NAMES)
    assert comments(crm)["contacts", "phone"] == description_of("contacts", "phone")


@ON_POSTGRES
def test_tables_of_another_owner_get_no_comments(make_crm: MakeCrm, monkeypatch: pytest.MonkeyPatch) -> None:
    crm = make_crm(scale=0.005)
    assert isinstance(crm, PostgresCrm)
    name = crm.read("select current_database() as name")[0]["name"]
    crm.change(f"create role loader login; grant create on database {name} to loader")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", crm.url.replace("postgres:unused", "loader:unused"))
    try:
        with monkeypatch.context() as earlier:
            leave_undescribed(earlier)
            crm.sync_done(*NAMES)
        crm.change("alter table insightly.users owner to postgres; grant all on insightly.users to loader")
        crm.sync_done(*NAMES)
        found = comments(crm)
        assert (found["users", ""], found["contacts", ""]) == (None, f"{description_of('contacts')} Key: contact_id.")
    finally:
        crm.change("drop schema insightly cascade; drop owned by loader; drop role loader")


def test_schema_of_the_destination_draws_the_diagram(make_crm: MakeCrm) -> None:
    crm = make_crm(scale=0.005)
    crm.sandbox.store.definitions.append(definition("CONTACT", "Sponsor__c", "LOOKUP", 99, join="USER"))
    store = crm.sandbox.store
    values = [{"FIELD_NAME": "Sponsor__c", "FIELD_VALUE": store.rows("users")[0]["USER_ID"]}]
    store.update("contacts", store.rows("contacts")[0]["CONTACT_ID"], {"CUSTOMFIELDS": values})
    crm.sync_done(*NAMES, "custom_fields", history=["contacts"])
    with crm.target.stored_pipeline() as pipeline:
        schema = pipeline.default_schema
        references = {
            (each["table"], *each["columns"]): (each["referenced_table"], *each["referenced_columns"])
            for each in schema.references
            if not str(each.get("label")).startswith("_dlt")
        }
        assert references["contacts", "organisation_id"] == ("organisations", "organisation_id")
        assert references["contacts", "owner_user_id"] == ("users", "user_id")
        assert references["contacts", "created_user_id"] == ("users", "user_id")
        assert references["contacts", "sponsor__c"] == ("users", "user_id")
        assert references["contacts__tags", "contact_id"] == ("contacts", "contact_id")
        assert references["contacts_history", "contact_id"] == ("contacts", "contact_id")
        parent = ("custom_fields", "field_for", "field_name")
        assert references["custom_fields__custom_field_options", "field_for", "field_name"] == parent
        assert {table for table, *_ in references.values()} <= schema.tables.keys()
        assert "contacts }|--|| organisations" in schema.to_mermaid()
        assert "organisations" in schema.to_dot()


def test_two_references_to_one_table_cause_no_warning(make_crm: MakeCrm) -> None:
    crm = make_crm(scale=0.005)
    arguments = ("sync", "contacts", "users", "--progress", "off", *crm.arguments())
    ran = command(*arguments, cwd=crm.folder, **reach(crm.sandbox))
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.everywhere("postgres")
def test_views_have_the_comments_of_their_tables(make_crm: MakeCrm) -> None:
    crm = make_crm(scale=0.005)
    crm.sync_done(*NAMES, "opportunities", "pipeline_stages", "pipelines")
    create_views(crm.target)

    def found() -> dict[tuple[str, str], str | None]:
        sql = POSTGRES if crm.target.destination == "postgres" else DUCKDB
        sql = sql.replace("duckdb_tables", "duckdb_views").replace("table_name, ''", "view_name as table_name, ''")
        rows = crm.read(sql.replace("'insightly'", "'insightly_marts'").replace("relkind = 'r'", "relkind = 'v'"))
        return {(row["table_name"], row["column_name"]): row["comment"] for row in rows}

    texts = found()
    assert "Which contacts exist" in str(texts["current_contacts", ""])
    assert texts["current_contacts", "phone"] == description_of("contacts", "phone")
    assert texts["current_contacts", "hobby__c"] == 'Custom field "Hobby".'
    assert texts["opportunities_wide", "opportunity_name"] == description_of("opportunities", "opportunity_name")
    assert not [name for (name, column), text in texts.items() if not column and not text]
    create_views(crm.target)
    assert found() == texts
    refresh(crm.target)
    (view,) = crm.read(
        "select obj_description('insightly_all.contacts'::regclass) as comment"
        if crm.target.destination == "postgres"
        else "select comment from duckdb_views() where schema_name = 'insightly_all' and view_name = 'contacts'"
    )
    assert view["comment"] == f"All accounts: {description_of('contacts')}"
