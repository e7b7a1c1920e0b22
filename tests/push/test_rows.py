"""The checks of a push without a network: properties of values, and the problems of rows."""

import math
import os
import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.push.input import push_id, read_input
from pipelines.push.plan import describe, make_plan
from pipelines.push.request import PUSHABLE, PushRequest
from pipelines.push.validate import Row, RowValidator, validate_tags
from pipelines.push.values import InvalidValue, changed_fields, equal, to_api
from sources.insightly import ENTITIES
from sources.insightly.api.json_body import parse
from sources.insightly.errors import BadSetting
from sources.insightly.fields import Field
from tests.support.expected import normalize
from tests.support.push import sample

RECORDS = [name for name in PUSHABLE if name != "tags"]
PARENT = {"parent_type": "contacts", "parent_id": 1}
DATETIMES = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))
VALUES = {
    "string": st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
    "integer": st.integers(-(2**31) + 1, 2**31 - 1),
    "number": st.decimals(-(10**9), 10**9, places=4) | st.integers(-(10**9), 10**9),
    "boolean": st.booleans(),
    "datetime": DATETIMES,
    "date": st.dates(date(1900, 1, 1), date(2200, 1, 1)),
}


def field(kind: str, *flags: str, length: int | None = None) -> Field:
    return Field("F", kind, length, frozenset(flags))  # type: ignore[arg-type]


def check(entity: str, row: dict[str, Any], op: str = "create", **options: Any) -> Row:
    checker = RowValidator(ENTITIES[entity], op, options.get("match"), options.get("definitions", ()), normalize)
    return checker.rows([row])[0]


def problems_of(entity: str, row: dict[str, Any], op: str = "create", **options: Any) -> list[str]:
    return list(check(entity, row, op, **options).problems)


KINDS = st.sampled_from(sorted(VALUES)).flatmap(lambda kind: st.tuples(st.just(kind), VALUES[kind]))


@given(KINDS)
def test_value_and_its_text_are_sent_alike(case: tuple[str, Any]) -> None:
    kind, value = case
    converted = to_api(field(kind), value)
    assert equal(converted, converted)
    assert to_api(field(kind), converted) == converted
    assert to_api(field(kind), str(value)) == converted
    assert equal(converted, str(converted)) or kind == "boolean"
    assert not equal(converted, None)
    assert not equal(None, converted)


@given(DATETIMES, st.integers(-23, 23))
def test_datetimes_are_sent_in_utc_and_whole_seconds(value: datetime, hours: int) -> None:
    local, kind = value.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=hours))), field("datetime")
    assert to_api(kind, local) == to_api(kind, local.isoformat()) == to_api(kind, value)


@given(st.dictionaries(st.sampled_from("ABCDEF"), st.none() | st.integers() | st.text()), st.data())
def test_changed_fields_are_equal_once_written(sent: dict[str, Any], data: st.DataObject) -> None:
    record = data.draw(st.dictionaries(st.sampled_from("ABCDEF"), st.none() | st.integers() | st.text()))
    changes = changed_fields(sent, record)
    assert changed_fields(sent, {**record, **changes}) == {}
    assert all(not equal(value, record.get(name)) for name, value in changes.items())
    assert all(equal(sent[name], record.get(name)) for name in sent.keys() - changes.keys())


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("string", 5),
        ("integer", "5.5"),
        ("integer", True),
        ("integer", 2**63),
        ("integer", "five"),
        ("integer", "3.3E+08"),
        ("integer", "1_234"),
        ("integer", "\u0663\u0663\u0660"),
        ("integer", 10**30),
        ("number", "NaN"),
        ("number", "1e3"),
        ("number", "1_000.5"),
        ("number", math.nan),
        ("number", Decimal("Infinity")),
        ("number", 123456789012345678901234567890),
        ("number", True),
        ("number", Decimal("1234567890.12345678901")),
        ("boolean", "perhaps"),
        ("boolean", 1),
        ("date", "2026-02-30"),
        ("date", "2026-02-03 10:00:00"),
        ("datetime", 20260203),
        ("datetime", "tomorrow"),
        ("any", {"a": 1}),
        ("any", math.nan),
        ("any", -math.inf),
        ("any", 2**63),
        ("any", Decimal("NaN")),
        ("any", parse(rb'"half a pair \ud83d"')),
        ("string", parse(rb'"half a pair \ud83d"')),
    ],
)
def test_value_of_another_type_is_invalid(kind: str, value: Any) -> None:
    with pytest.raises(InvalidValue):
        to_api(field(kind), value)


@pytest.mark.parametrize("stored", ["1_234", "1234E0", "sNaN", "\u0661\u0662\u0663\u0664", True, None])
def test_numbers_of_the_api_are_equal_to_plain_numerals_alone(stored: Any) -> None:
    assert equal(1234, "1234.0")
    assert not equal(1234, stored)


def test_value_too_long_or_too_large_is_invalid() -> None:
    assert to_api(field("string", length=3), "äöü") == "äöü"
    with pytest.raises(InvalidValue, match="4 characters, at most 3"):
        to_api(field("string", length=3), "äöüß")
    assert to_api(field("integer", "int32"), 2**31 - 1) == 2**31 - 1
    with pytest.raises(InvalidValue, match="too large"):
        to_api(field("integer", "int32"), 2**31)


@pytest.mark.parametrize(
    ("stored", "sent"), [("2026-01-02T00:00:00Z", "2026-01-02 00:00:00"), ("2026-01-02", "2026-01-02 00:00:00")]
)
def test_dates_are_equal_in_any_form(stored: str, sent: str) -> None:
    assert equal(sent, stored)
    assert equal(None, "0001-01-01 00:00:00")
    assert equal("a\nb", " a\r\nb ", lenient=True)
    assert not equal("a", "a ")


@pytest.mark.parametrize("entity", RECORDS)
def test_writable_fields_are_valid_and_others_are_not(entity: str) -> None:
    facts, row = ENTITIES[entity], sample(entity) | (PARENT if entity == "notes" else {})
    assert problems_of(entity, row) == []
    assert check(entity, {name.lower(): value for name, value in row.items()}) == check(entity, row)
    for name in facts.fields:
        if name not in facts.writable and name != facts.key[0]:
            value = sample(entity).get(name, 1 if facts.fields[name].type == "integer" else None)
            if value is not None:
                assert problems_of(entity, row | {name: value}) == [f"{name} is read-only"]
    for name, about in facts.fields.items():
        if "required" in about.flags:
            assert problems_of(entity, {**row, name: None}) == [f"{name} is missing"]
    assert problems_of(entity, {facts.key[0]: 1, **sample(entity)}, "update") == []
    assert problems_of(entity, sample(entity), "update") == [f"{facts.key[0]} is missing"]


@pytest.mark.parametrize(
    ("row", "op", "problem"),
    [
        ({"FIRST_NAME": "A", "CONTACT_ID": 1}, "create", "CONTACT_ID is set by Insightly"),
        ({"FIRST_NAME": "A", "first_name": "B"}, "create", "FIRST_NAME has two values"),
        ({"FIRST_NAME": "A", "EMAIL": "x"}, "create", "EMAIL is not a field of contacts"),
        ({"FIRST_NAME": "A", "PHNOE": "x"}, "create", "did you mean PHONE?"),
        ({"FIRST_NAME": "A", "TAGS": "x"}, "create", "TAGS is not a list of objects"),
        ({"FIRST_NAME": "A", "TAGS": [{"NAME": "x"}]}, "create", "TAGS has no NAME"),
        ({"CONTACT_ID": 1, "TAGS": [{"TAG_NAME": "x"}]}, "update", "TAGS is read-only; push the entity tags"),
        ({"CONTACT_ID": 1, "FIRST_NAME": None}, "update", "FIRST_NAME cannot be cleared"),
        ({"CONTACT_ID": 1}, "update", "nothing to write"),
        ({"CONTACT_ID": "one"}, "delete", "CONTACT_ID one is not"),
        ({"EMAIL_ADDRESS": None, "FIRST_NAME": "A"}, "upsert", "EMAIL_ADDRESS is missing"),
        ({"FIRST_NAME": "A", "Hobby__c": "x"}, "create", "Hobby__c is not a field"),
        ({"FIRST_NAME": "A", "Locked__c": "x"}, "create", "Locked__c is read-only"),
    ],
)
def test_row_problem_is_reported_once(row: dict[str, Any], op: str, problem: str) -> None:
    definitions = [{"FIELD_NAME": "Locked__c", "FIELD_TYPE": "TEXT", "EDITABLE": False}]
    match = "email_address" if op == "upsert" else None
    (found,) = problems_of("contacts", row, op, match=match, definitions=definitions)
    assert problem in found


@pytest.mark.parametrize(
    ("parent", "problem"),
    [
        ({}, "parent_type is missing"),
        ({"parent_type": "contacts"}, "parent_id is missing"),
        ({"parent_type": "tasks", "parent_id": 1}, "parent_type 'tasks' is none of"),
        ({"parent_type": "Contact", "parent_id": "x"}, "parent_id x is not"),
    ],
)
def test_note_requires_its_parent(parent: dict[str, Any], problem: str) -> None:
    (found,) = problems_of("notes", {"TITLE": "x", **parent})
    assert found.startswith(problem)
    assert check("notes", {"TITLE": "x", "Parent_Type": "ORGANISATION", "parent_id": "7"}).parent == (
        "organisations",
        7,
    )


def test_second_row_for_a_record_is_invalid() -> None:
    checker = RowValidator(ENTITIES["contacts"], "upsert", "email_address", (), normalize)
    rows = checker.rows([{"EMAIL_ADDRESS": mail} for mail in ("a@x", "b@x", " A@x")])
    assert [row.problems for row in rows] == [(), (), ("row 1 is for the same record",)]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"record_type": "tasks", "record_id": 1, "tag_name": "x"}, "record_type 'tasks' is none of"),
        ({"record_type": "contacts", "record_id": 1}, "tag_name is missing"),
        ({"record_type": "contacts", "tag_name": "x"}, "record_id is missing"),
        ({"record_type": "contacts", "record_id": 1, "tag_name": "x", "colour": "red"}, "colour is not a column"),
    ],
)
def test_tag_row_requires_a_record_and_a_tag(row: dict[str, Any], problem: str) -> None:
    (checked,) = validate_tags([row], ["contacts", "leads"])
    assert checked.problems[0].startswith(problem)


def test_problem_of_a_masked_column_quotes_no_value() -> None:
    checker = RowValidator(ENTITIES["contacts"], "create", None, (), normalize, masked={"phone"})
    (row,) = checker.rows([{"FIRST_NAME": 7, "PHONE": 5551234}])
    assert row.problems == ("FIRST_NAME 7 is not a text", "PHONE is not a text")


def test_any_custom_field_is_valid_without_definitions() -> None:
    row = {"FIRST_NAME": "A", "Hobby__c": "x"}
    assert check("contacts", row, definitions=None).custom == {"Hobby__c": "x"}
    in_array = {"FIRST_NAME": "A", "CUSTOMFIELDS": [{"FIELD_NAME": "Hobby__c", "FIELD_VALUE": "x"}]}
    assert check("contacts", in_array, definitions=None).custom == {"Hobby__c": "x"}


def test_same_content_has_the_same_push_id(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes("\ufefffirst_name,phone\nAnn,007\nBob,,\n".encode())
    first = read_input(str(path), None)
    assert first.rows[0] == {"first_name": "Ann", "phone": "007"}
    assert first.rows[1]["first_name"] == "Bob"
    assert push_id("create", "contacts", None, first.digest) == push_id(
        "create", "contacts", None, read_input(str(path), None).digest
    )
    assert push_id("update", "contacts", None, first.digest) != push_id("create", "contacts", None, first.digest)
    path.write_text("first_name\nAnn\n")
    assert read_input(str(path), None).digest != first.digest


def test_rows_of_files_have_the_lines_they_begin_in(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('contact_id,title\n1,"two\nlines"\n\n3.3E+08,x\n')
    assert read_input(str(path), None).lines == (2, 5)
    request = PushRequest("contacts", str(path), "delete")
    rows, _ = request.validate(ENTITIES["contacts"], read_input(str(path), None), (), None)
    assert [(row.line, row.problems) for row in rows] == [(2, ()), (5, ("contact_id 3.3E+08 is not a whole number",))]
    path = tmp_path / "rows.jsonl"
    path.write_text('{"FIRST_NAME": "A", "Score__c": NaN}\n\n{"FIRST_NAME": "A", "Score__c": 1e999}\n')
    rows, _ = PushRequest("contacts", str(path), "create").validate(
        ENTITIES["contacts"], read_input(str(path), None), None, None
    )
    assert [(row.line, len(row.problems), "Score__c" in row.problems[0]) for row in rows] == [
        (1, 1, True),
        (3, 1, True),
    ]


def test_existing_file_is_read_whatever_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("values.csv", "from.csv", "with-consent.csv", "select 1.csv"):
        Path(name).write_text("contact_id\n1\n")
        assert read_input(name, None).rows == [{"contact_id": "1"}]
        Path(name).unlink()
        with pytest.raises(BadSetting):
            read_input(name, None)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_header_shows_the_delimiter_of_a_csv_file(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(
        delimiter.join(("first_name", "last_name", "title\nJ\u00f6rg", "", '"Head of\nSales; West"')) + "\n"
    )
    (row,) = read_input(str(path), None).rows
    assert row == {"first_name": "J\u00f6rg", "title": "Head of\nSales; West"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", "first_name\nAnn\nJ\u00f6rg\n".encode("cp1252"), "line 3 has the byte 0xf6, which is not UTF-8"),
        ("rows.jsonl", '{"FIRST_NAME": "J\u00f6rg"}'.encode("cp1252"), "line 1 has the byte 0xf6"),
        ("rows.csv", b'a\n1\n"2', "the row in line 3: unexpected end of data"),
        ("rows.csv", b"a,a\n1,2\n", "its header names a column twice"),
        ("rows.jsonl", b'{"a": 1}\n{"a": }\n', "line 2, column 7: Expecting value"),
        ("rows.jsonl", b'{"a": 1}\n[]\n', "line 2 is not a JSON object"),
        ("rows.csv", b"", "it has no header; its first line must name the fields"),
        ("rows.parquet", b"", "it is empty; write it again"),
    ],
)
def test_unreadable_file_is_refused_with_its_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadSetting, match=message):
        read_input(str(path), None)


def test_file_without_rows_has_none(tmp_path: Path) -> None:
    for name, content in (("rows.csv", "first_name\n"), ("rows.jsonl", "")):
        (tmp_path / name).write_text(content)
        assert read_input(str(tmp_path / name), None).rows == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("contacts.csv", "there is no such file in {folder}; did you mean contact.csv?"),
        ("leads.parquet", "there is no such file in {folder}; check the path"),
        ("lists/leads.csv", "there is no folder {folder}/lists; check the path"),
        ("leads", "there is no such file; there is no destination yet"),
        ("exports", "it is a folder; name a file in it"),
        ("exports.csv", "it is a folder; name a file in it"),
        ("pipe.csv", "it is a pipe or a device; write its rows to a file first"),
    ],
)
def test_path_that_is_no_file_says_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("contact.csv").touch()
    Path("exports").mkdir()
    Path("exports.csv").mkdir()
    os.mkfifo("pipe.csv")
    with pytest.raises(BadSetting, match=re.escape(f"{name!r}: {message.format(folder=tmp_path)}")):
        read_input(name, None, ";" if name.endswith(".csv") else None)


def test_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "rows.csv").write_text("first_name\nAnn\n")
    monkeypatch.setattr(Path, "read_bytes", refuse)  # root may read every file
    with pytest.raises(BadSetting, match=r"rows\.csv': this user may not read it; give it the right to"):
        read_input(str(tmp_path / "rows.csv"), None)


def test_rows_count_as_in_a_spreadsheet_and_each_fault_is_shown_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('contact_id,foo,title\n1,a,"two\nlines"\n\n1,b,x\n')
    rows, _ = PushRequest("contacts", str(path), "update").validate(
        ENTITIES["contacts"], read_input(str(path), None), (), None
    )
    plan = make_plan("", ENTITIES["contacts"], "update", rows, [], guarded=False, has_account=True, not_loaded=0)
    assert plan.invalid == 2
    assert describe(plan.problems) == [
        "row 2 and 1 more: foo is not a field of contacts",
        "row 4 (line 5): row 2 is for the same record",
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text('{"FIRST_NAME": "A"}\n\n{"FIRST_NAME": "A"}\n')
    assert read_input(str(path), None).places == ("line 1", "line 3")


def test_delimiter_and_encoding_can_be_named(tmp_path: Path) -> None:
    path, text = tmp_path / "rows.csv", "first_name|title\nJ\u00f6rg|a,b\n"
    path.write_bytes(text.encode("utf-16"))
    with pytest.raises(BadSetting, match="--encoding utf-16"):
        read_input(str(path), None, "|")
    read = read_input(str(path), None, "|", "utf-16")
    assert read.rows == [{"first_name": "J\u00f6rg", "title": "a,b"}]
    path.write_bytes(text.replace("|", "\t").encode("cp1252"))
    assert read_input(str(path), None, "tab", "cp1252").rows == read.rows
    path.write_bytes(text.encode("cp1252"))
    assert read_input(str(path), None, "|", "cp1252").digest == read.digest  # the same text is the same push
    jsonl = tmp_path / "rows.jsonl"
    jsonl.write_text("{}")
    for source, options, message in (
        (path, (";;", None), "must be one character"),
        (jsonl, (";", None), "is for .csv files"),
        (path, (None, "cp12520"), "--encoding"),
        (path, (None, "base64"), "--encoding"),
        ("contacts", (None, "cp1252"), "is for .csv, .jsonl, .ndjson files"),
    ):
        with pytest.raises(BadSetting, match=message):
            read_input(str(source), None, *options)


def test_read_only_field_names_the_one_to_write() -> None:
    cells = {"OPPORTUNITY_ID": 1, "OPPORTUNITY_VALUE": 5, "BID_AMOUNT": 5}
    (row,) = RowValidator(ENTITIES["opportunities"], "update", None, (), normalize).rows([cells])
    assert row.problems == ("OPPORTUNITY_VALUE is read-only; write BID_AMOUNT",)
