"""Descriptions of tables and columns, as whoever reads the database sees them."""

import re
import tomllib
from collections import Counter

import pytest

from pipelines.destinations.system_tables import description_of
from pipelines.views.relations import known_tables
from sources.insightly.entities import ENTITIES
from sources.insightly.fields import child_fields
from sources.insightly.rows.naming import child_table
from sources.insightly.selection import SYNONYMS
from tests.support.process import ROOT


@pytest.mark.parametrize(
    ("table", "column", "words"),
    [
        ("contacts", "", "person"),
        ("contacts", "owner_user_id", "owns"),
        ("contacts", "OWNER_USER_ID", "owns"),
        ("contacts", "_deleted_at", "deleted"),
        ("contacts", "hobby__c__v_text", "value of hobby__c as text"),
        ("contacts__tags", "", "Tags of contacts"),
        ("contacts__tags", "contact_id", "Record in contacts"),
        ("static_list_memberships", "prospect_id", "Record in prospects"),
        ("contacts__tags", "list_idx", "from 0"),
        ("contacts_history", "", "Versions of contacts"),
        ("contacts_history", "_dlt_valid_to", "next version"),
        ("comments", "parent_id", "parent_type"),
        ("fruit__c", "owner_user_id", "owns"),
        ("_dlt_loads", "", "dlt"),
        ("_sync_runs", "", "Runs"),
        ("_sync_runs", "calls", "Calls"),
    ],
)
def test_descriptions_of_tables_and_columns(table: str, column: str, words: str) -> None:
    assert words in description_of(table, column)


@pytest.mark.parametrize(
    ("table", "column"), [("contacts", "hobby__c"), ("x", ""), ("x", "y__v_text"), ("deletions", "x")]
)
def test_what_is_not_known_has_no_description(table: str, column: str) -> None:
    assert description_of(table, column) == ""


def test_references_lead_to_the_key_of_an_entity_of_the_same_type() -> None:
    for entity in ENTITIES.values():
        for name, field in entity.fields.items():
            if field.references:
                (key,) = ENTITIES[field.references].key
                assert ENTITIES[field.references].fields[key].type == field.type, (entity.name, name)
                assert (field.references, key) != (entity.name, name)


@pytest.mark.parametrize(
    ("entity", "name", "target"),
    [
        ("contacts", "ORGANISATION_ID", "organisations"),
        ("contacts", "CONTACT_ID", ""),
        ("opportunities", "STAGE_ID", "pipeline_stages"),
        ("opportunities", "CATEGORY_ID", "opportunity_categories"),
        ("leads", "CONVERTED_CONTACT_ID", "contacts"),
        ("tasks", "PARENT_TASK_ID", "tasks"),
        ("pipeline_stages", "OWNER_USER_ID", "users"),
        ("quotation_documents", "QUOTE_ID", ""),
    ],
)
def test_fields_reference_the_entity_that_they_point_at(entity: str, name: str, target: str) -> None:
    assert ENTITIES[entity].fields[name].references == target


def columns_of_tables() -> dict[str, set[str]]:
    """The columns of every table that can be in a destination, as the marts know them, and those of loading."""
    tables = {name: set(columns) for name, columns in known_tables(str.lower).items()}
    for entity in ENTITIES.values():
        if entity.read == "embedded":
            del tables[entity.name]
        else:
            tables[entity.name] |= {name.lower() for name in entity.parent_key}
            tables[entity.name] |= {"_is_empty"} if entity.parent_key else set()
        for array in entity.arrays:
            if entity.read != "embedded":
                tables[child_table(entity, array)] |= {"_is_empty"}
    return tables


@pytest.mark.parametrize(("table", "columns"), columns_of_tables().items())
def test_every_table_and_column_has_a_description_of_its_own(table: str, columns: set[str]) -> None:
    texts = {column: description_of(table, column) for column in ("", *columns)}
    for column, text in texts.items():
        assert re.fullmatch(r"[A-Z][^{}\n]{8,1022}\.", text), (table, column, text)
        assert text.rstrip(".").lower().replace(" ", "_") != column
    assert [text for text, count in Counter(texts.values()).items() if count > 1] == []


def test_embedded_entities_have_the_descriptions_of_their_arrays() -> None:
    for entity in (entity for entity in ENTITIES.values() if entity.read == "embedded"):
        items = child_fields(entity.embedded)
        assert entity.description
        assert {name: field.description for name, field in entity.fields.items()} == {
            name: items[name].description for name in entity.fields
        }


def test_shared_lines_are_used_repeatedly_and_have_the_field_type() -> None:
    data = tomllib.loads((ROOT / "sources/insightly/fields.toml").read_text(encoding="utf-8"))
    fields = [fields for kind in ("entities", "children") for fields in data[kind].values()]
    for name, line in data["shared"].items():
        users = [own[name] for own in fields if name in own and ": " not in own[name]]
        assert len(users) > 1, name
        assert {user.split()[0] for user in users} == {re.split("[ :]", line)[0]}, name


@pytest.mark.parametrize(("word", "entity"), SYNONYMS.items())
def test_what_is_accepted_in_place_of_an_entity_is_in_its_description(word: str, entity: str) -> None:
    assert word in ENTITIES[entity].description.lower()


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("deal", "opportunities"),
        ("company", "organisations.organisation_id"),
        ("account", "organisations"),
        ("organization", "organisations"),
        ("people", "contacts"),
        ("deal stage", "pipeline_stages"),
        ("deal amount", "opportunities.opportunity_value"),
        ("expected close date", "opportunities.forecast_close_date"),
        ("sales process", "opportunities.pipeline_id"),
        ("assignee", "tasks.responsible_user_id"),
        ("rep", "contacts.owner_user_id"),
        ("to-do", "tasks"),
        ("case", "tickets"),
        ("price list", "pricebooks"),
        ("label", "contacts__tags"),
        ("zip", "contacts.address_mail_postcode"),
    ],
)
def test_search_by_the_words_of_other_crms_finds_the_column(word: str, found: str) -> None:
    assert word in description_of(*found.split(".")).lower()
