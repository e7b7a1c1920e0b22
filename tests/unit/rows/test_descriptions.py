"""Descriptions of tables and columns, as whoever reads the database sees them."""

import pytest

from pipelines.destinations.system_tables import description_of
from sources.insightly.entities import ENTITIES


@pytest.mark.parametrize(
    ("table", "column", "words"),
    [
        ("contacts", "", "person"),
        ("contacts", "owner_user_id", "owns"),
        ("contacts", "OWNER_USER_ID", "owns"),
        ("contacts", "_deleted_at", "deleted"),
        ("contacts", "hobby__c__v_text", "Value of hobby__c as text"),
        ("contacts__tags", "", "Tags of the records of contacts"),
        ("contacts__tags", "contact_id", "in contacts"),
        ("contacts__tags", "list_idx", "from 0"),
        ("contacts_history", "", "Versions of the records of contacts"),
        ("contacts_history", "_dlt_valid_to", "next version"),
        ("comments", "parent_id", "parent_type"),
        ("fruit__c", "owner_user_id", "owns"),
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
