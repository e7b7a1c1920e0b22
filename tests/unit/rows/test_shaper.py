"""Records -> tables: every value and array item has its row, and new columns and invalid values are reported."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.insightly import ENTITIES
from sources.insightly.errors import ColumnCollision, DataError, MalformedResponse
from sources.insightly.rows.shaper import RowShaper, ShapedTable
from tests.support.expected import normalize

IDS = st.integers(1, 2**62)
TAGS = st.lists(st.sampled_from(["a", "b", "é", "x" * 255]), unique=True)


def shaper(entity: str = "projects", existing: dict[str, Any] | None = None, group: tuple[str, ...] = ()) -> RowShaper:
    return RowShaper(ENTITIES[entity], normalize, existing or {}, group)


def tables(shaped: list[ShapedTable]) -> dict[str, list[dict[str, Any]]]:
    return {table.table: table.rows.to_pylist() for table in shaped}


def pick(rows: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


def test_shape_of_no_records_has_all_tables_and_columns() -> None:
    own, tags, links = shaper().shape([])
    assert [own.table, tags.table, links.table] == ["projects", "projects__tags", "projects__links"]
    assert own.rows.column_names == list(ENTITIES["projects"].fields)
    assert (own.key, own.merge_key) == (("PROJECT_ID",), None)
    assert (tags.key, tags.merge_key) == (("PROJECT_ID", "LIST_IDX"), ("PROJECT_ID",))
    assert [own.rows.num_rows, tags.rows.num_rows, links.rows.num_rows] == [0, 0, 0]


@given(st.dictionaries(IDS, st.none() | TAGS))
def test_items_have_positions_and_empty_arrays_a_marker(records: dict[int, list[str] | None]) -> None:
    source_records = [
        {"PROJECT_ID": key, "TAGS": None if names is None else [{"TAG_NAME": name} for name in names]}
        for key, names in records.items()
    ]
    shaped = tables(shaper(existing={"projects__tags": {}, "projects__links": {}}).shape(source_records))
    expected = [(key, n, name, None) for key, names in records.items() for n, name in enumerate(names or [])]
    emptied = [(key, 0, None, True) for key, names in records.items() if not names]
    rows = pick(shaped["projects__tags"], "PROJECT_ID", "LIST_IDX", "TAG_NAME", "_is_empty")
    assert sorted(rows, key=str) == sorted(expected + emptied, key=str)
    assert pick(shaped["projects"], "PROJECT_ID") == [(key,) for key in records]
    assert shaped["projects__links"] == []


def test_empty_array_needs_no_marker_without_an_existing_table() -> None:
    source_records = [{"PROJECT_ID": 1, "TAGS": []}, {"PROJECT_ID": 2, "TAGS": [{"TAG_NAME": "a"}]}]
    shaped = tables(shaper().shape(source_records))
    assert pick(shaped["projects__tags"], "PROJECT_ID", "TAG_NAME") == [(2, "a")]


def test_item_cannot_claim_another_parent() -> None:
    shaped = tables(shaper().shape([{"PROJECT_ID": 1, "TAGS": [{"TAG_NAME": "a", "PROJECT_ID": 2, "LIST_IDX": 9}]}]))
    assert pick(shaped["projects__tags"], "PROJECT_ID", "LIST_IDX", "TAG_NAME") == [(1, 0, "a")]


@pytest.mark.parametrize("items", ["a", 5, {"TAG_NAME": "a"}, ["a"], [None]])
def test_array_of_anything_but_objects_is_an_error(items: Any) -> None:
    with pytest.raises(MalformedResponse, match="TAGS"):
        shaper().shape([{"PROJECT_ID": 1, "TAGS": items}])


@pytest.mark.parametrize("key", [None, "x", 1.5, True])
def test_record_without_a_valid_key_is_an_error(key: Any) -> None:
    with pytest.raises(DataError, match="PROJECT_ID"):
        shaper().shape([{"PROJECT_ID": key}])


def test_unknown_field_becomes_a_column_with_its_first_value() -> None:
    row_shaper = shaper(existing={"projects": {}})
    assert "NEW" not in row_shaper.shape([{"PROJECT_ID": 1, "NEW": None}])[0].rows.column_names
    assert row_shaper.changes == []
    assert pick(tables(row_shaper.shape([{"PROJECT_ID": 1, "NEW": 5}]))["projects"], "NEW") == [(5,)]
    assert pick(tables(row_shaper.shape([{"PROJECT_ID": 2}]))["projects"], "NEW") == [(None,)]
    assert row_shaper.changes == ["new column projects.new (integer)"]


def test_etag_becomes_no_column() -> None:
    row_shaper = shaper(existing={"projects": {}})
    names = row_shaper.shape([{"PROJECT_ID": 1, "ETag": "a1", "COLOUR": "red"}])[0].rows.column_names
    assert ("ETag" in names, "COLOUR" in names) == (False, True)
    assert row_shaper.changes == ["new column projects.colour (string)"]


def test_unknown_field_keeps_the_type_of_the_existing_column() -> None:
    row_shaper = shaper(existing={"projects": {"new": "string"}})
    assert pick(tables(row_shaper.shape([{"PROJECT_ID": 1, "NEW": 5}]))["projects"], "NEW") == [("5",)]
    assert row_shaper.changes == []


def test_custom_field_has_its_declared_type_and_a_variant() -> None:
    row_shaper = shaper()
    row_shaper.define([{"FIELD_NAME": "Floors__c", "FIELD_TYPE": "NUMERIC"}])
    values = [3, "n/a", None, ""]
    records = [
        {"PROJECT_ID": key, "CUSTOMFIELDS": [{"FIELD_NAME": "Floors__c", "FIELD_VALUE": value}]}
        for key, value in enumerate(values, start=1)
    ]
    rows = tables(row_shaper.shape(records))["projects"]
    assert pick(rows, "Floors__c", "Floors__c__v_text") == [(3, None), (None, "n/a"), (None, None), (None, None)]
    assert row_shaper.variants == {"projects.floors__c": 1}


def test_fraction_in_an_integer_column_is_kept_as_text() -> None:
    row_shaper = shaper()
    (row,) = tables(row_shaper.shape([{"PROJECT_ID": 1, "OWNER_USER_ID": 1.5}]))["projects"]
    assert (row["OWNER_USER_ID"], row["OWNER_USER_ID__v_text"]) == (None, "1.5")


@pytest.mark.parametrize("names", [("Shoe_Size__c", "ShoeSize__c"), ("STATUS", "Status")])
def test_collision_error_names_both_fields(names: tuple[str, str]) -> None:
    definitions = [{"FIELD_NAME": name, "FIELD_TYPE": "TEXT"} for name in names]
    with pytest.raises(ColumnCollision) as defined:
        shaper().define(definitions)
    record = {"PROJECT_ID": 1, "CUSTOMFIELDS": [{"FIELD_NAME": name, "FIELD_VALUE": "x"} for name in names]}
    with pytest.raises(ColumnCollision) as valued:
        shaper().shape([record])
    for name in names:
        assert name in str(defined.value)
        assert name in str(valued.value)


@given(st.lists(st.text("abc", min_size=1), unique=True))
def test_group_is_replaced_together(names: list[str]) -> None:
    row_shaper = shaper("tags", group=("RECORD_TYPE",))
    (tags,) = row_shaper.shape_groups([({"RECORD_TYPE": "leads"}, [{"TAG_NAME": name} for name in names])])
    assert tags.merge_key == ("RECORD_TYPE",)
    expected = [("leads", name, None) for name in names] or [("leads", "-", True)]
    assert pick(tags.rows.to_pylist(), "RECORD_TYPE", "TAG_NAME", "_is_empty") == expected


@given(st.dictionaries(IDS, st.lists(st.integers(1, 5), max_size=4), min_size=1, max_size=6))
def test_rows_of_a_parent_are_replaced_together_or_by_a_marker(
    children: dict[int, list[int]],
) -> None:
    row_shaper, notes = shaper("comments", group=("PARENT_TYPE", "PARENT_ID")), ENTITIES["notes"]
    groups = [
        (row_shaper.entity.parent_values(notes, key), [{"COMMENT_ID": id_} for id_ in ids])
        for key, ids in children.items()
    ]
    (comments,) = row_shaper.shape_groups(groups)
    assert comments.merge_key == ("PARENT_TYPE", "PARENT_ID")
    expected = [("notes", key, id_, None) for key, ids in children.items() for id_ in ids]
    expected += [("notes", key, None, True) for key, ids in children.items() if not ids]
    rows = pick(comments.rows.to_pylist(), "PARENT_TYPE", "PARENT_ID", "COMMENT_ID", "_is_empty")
    assert sorted(rows, key=str) == sorted(expected, key=str)
