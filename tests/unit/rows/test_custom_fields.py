"""Definitions of custom fields determine types; their values become columns."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.push.values import custom_values
from sources.insightly import ENTITIES
from sources.insightly.errors import MalformedResponse
from sources.insightly.rows.custom_fields import declared_types, definitions_of, entries_of, pivot, text_of

NAMES = st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=4)
VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=4)


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        ("TEXT", "string"),
        ("MULTILINETEXT", "string"),
        ("DROPDOWN", "string"),
        ("MULTISELECT", "string"),
        ("BIT", "boolean"),
        ("bit", "boolean"),
        ("DATE", "date"),
        ("DATETIME", "datetime"),
        ("NUMERIC", "number"),
        ("PERCENT", "number"),
        ("AUTONUMBER", None),
        ("NEVER SEEN", None),
        (None, None),
    ],
)
def test_definition_determines_the_column_type(kind: str | None, column: str | None) -> None:
    assert declared_types([{"FIELD_NAME": "A__c", "FIELD_TYPE": kind}]) == {"A__c": column}


@pytest.mark.parametrize("definition", [{}, {"FIELD_NAME": ""}, {"FIELD_NAME": None}, {"FIELD_NAME": 5}])
def test_definition_without_a_name_is_an_error(definition: dict[str, Any]) -> None:
    with pytest.raises(MalformedResponse, match="FIELD_NAME"):
        declared_types([definition])


def test_definitions_of_other_objects_are_left_out() -> None:
    rows = [{"FIELD_FOR": "CONTACT"}, {"FIELD_FOR": "LEAD"}, {"FIELD_FOR": "contact"}, {"FIELD_FOR": None}, {}]
    assert definitions_of(ENTITIES["contacts"], rows) == [rows[0], rows[2]]
    assert definitions_of(ENTITIES["notes"], rows) == []


@given(st.lists(st.dictionaries(NAMES, VALUES)), st.sets(NAMES))
def test_pivot_keeps_each_value_in_its_row(records: list[dict[str, Any]], declared: set[str]) -> None:
    rows = [
        {"CUSTOMFIELDS": [{"FIELD_NAME": name, "FIELD_VALUE": value} for name, value in record.items()]}
        for record in records
    ]
    columns = pivot(rows, declared)
    assert set(columns) == declared.union(*records)
    for name, values in columns.items():
        assert values == [record.get(name) for record in records]


@pytest.mark.parametrize("row", [{}, {"CUSTOMFIELDS": None}, {"CUSTOMFIELDS": []}])
def test_pivot_of_a_record_without_custom_fields_is_null(row: dict[str, Any]) -> None:
    assert pivot([row], ["A__c"]) == {"A__c": [None]}


@pytest.mark.parametrize("entry", ["text", 5, None, {"FIELD_VALUE": 1}, ["FIELD_NAME"]])
def test_pivot_rejects_an_entry_without_a_name(entry: Any) -> None:
    with pytest.raises(MalformedResponse, match="CUSTOMFIELDS"):
        pivot([{"CUSTOMFIELDS": [entry]}], [])


@pytest.mark.parametrize("value", [None, 5, "text", {"FIELD_NAME": "A__c"}, ["A__c", 5, None]])
def test_custom_fields_in_another_form_are_no_entries(value: Any) -> None:
    record = {"CUSTOMFIELDS": value}
    assert (entries_of(record), custom_values(record)) == (frozenset(), {})


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        ({"FIELD_NAME": "A__c"}, 'Custom field "A__c".'),
        (
            {"FIELD_LABEL": "Discount", "FIELD_HELP_TEXT": "In percent.\r\n Ask"},
            'Custom field "Discount": In percent. Ask.',
        ),
        (
            {"FIELD_LABEL": "Size", "CUSTOM_FIELD_OPTIONS": [{"OPTION_VALUE": n} for n in range(1, 23)]},
            f'Custom field "Size". Options: {", ".join(map(str, range(1, 21)))} and 2 more.',
        ),
    ],
)
def test_text_of_a_definition_has_label_help_and_options(definition: dict[str, Any], text: str) -> None:
    assert text_of(definition) == text
