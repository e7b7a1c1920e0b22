"""Hostile data over HTTP into DuckDB: a true row or a clear error, never a silently altered or lost value.

What the tables are to hold is written here literally; nothing is computed by the code under test.
"""

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines.sandbox import Contents, Sandbox, Switches
from sources.insightly import ENTITIES
from sources.insightly.api.json_body import parse
from sources.insightly.errors import InsightlyError
from sources.insightly.rows.shaper import RowShaper
from tests.support.crm import Clock, Crm, contents_of, isolate
from tests.support.expected import Row, normalize

MakeCrm = Callable[..., Crm]
EPOCH = "2026-11-02 11:00:00"
CURE = '"); drop table contacts; --'


@pytest.fixture
def bare(make_crm: MakeCrm, monkeypatch: pytest.MonkeyPatch) -> Crm:
    """An account without a record and without a custom field; what a record lacks is not requested."""
    monkeypatch.setenv("SOURCES__INSIGHTLY__TAGS", "embedded")
    return make_crm(contents=nothing())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """One try a request: what is malformed stays so."""
    attempts = dict.fromkeys(("server error", "malformed", "burst"), 1)
    monkeypatch.setattr("sources.insightly.api.client.MAX_ATTEMPTS", attempts)


def nothing() -> Contents:
    return Contents(instance=contents_of(0.05).instance)


def put(crm: Crm, entity: str, key: Any, **fields: Any) -> None:
    crm.sandbox.store.put_raw(entity, {ENTITIES[entity].key[0]: key, **fields})


def put_literal(crm: Crm, entity: str, key: int, members: str) -> None:
    """A record of `members`, JSON text that is served byte for byte, also what no JSON library would write."""
    raw = f'{{"{ENTITIES[entity].key[0]}":{key},"DATE_UPDATED_UTC":"{EPOCH}",{members}}}'.encode()
    crm.sandbox.store.tables[entity].put(key, raw)


def custom(**values: Any) -> list[Row]:
    return [{"FIELD_NAME": name, "FIELD_VALUE": value} for name, value in values.items()]


def by_key(crm: Crm, entity: str) -> dict[Any, Row]:
    return {row[ENTITIES[entity].key[0].lower()]: row for row in crm.table(entity)}


def same(loaded: Any, wanted: Any) -> bool:
    """Equality that keeps true and 1 apart, and lets a number's text be written 1.5 or 1.50."""
    if isinstance(loaded, str) and isinstance(wanted, Decimal):
        return Decimal(loaded) == wanted
    return type(loaded) is type(wanted) and bool(loaded == wanted)


# Values


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


D = Decimal
VALUES: list[tuple[str, str, Any, Any]] = [
    # field, JSON text, what the column holds, what `__v_text` holds
    (
        "OPPORTUNITY_NAME",
        r'"O\u0027Brien \"); drop table opportunities; --"',
        "O'Brien \"); drop table opportunities; --",
        None,
    ),
    ("OPPORTUNITY_NAME", r'"tab\t lf\n crlf\r\n back\\slash ;,|"', "tab\t lf\n crlf\r\n back\\slash ;,|", None),
    ("OPPORTUNITY_NAME", r'"nul\u0000 in\u0000side"', "nul inside", None),
    ("OPPORTUNITY_NAME", r'"\u0000\u0000"', None, None),
    ("OPPORTUNITY_NAME", '""', None, None),
    ("OPPORTUNITY_NAME", '" "', " ", None),
    ("OPPORTUNITY_NAME", '"NULL"', "NULL", None),
    ("OPPORTUNITY_NAME", '"👩‍👩‍👧 שלום 中文"', "👩‍👩‍👧 שלום 中文", None),
    ("OPPORTUNITY_NAME", r'"\ud83d\ude00 whole"', "😀 whole", None),
    ("OPPORTUNITY_NAME", r'"half \ud83d \u0000\""', 'half � "', r'"half \ud83d \""'),
    ("OPPORTUNITY_NAME", '"� honest"', "� honest", None),
    ("OPPORTUNITY_NAME", r'"\u0001\u001f\u007f\u0085\u2028\ufeff"', "\x01\x1f\x7f\x85\u2028\ufeff", None),
    ("OPPORTUNITY_NAME", "12", "12", None),
    ("OPPORTUNITY_NAME", "1.50", D("1.5"), None),
    ("OPPORTUNITY_NAME", "true", "true", None),
    ("OPPORTUNITY_NAME", '{"a":[1,{"b":null}]}', '{"a": [1, {"b": null}]}', None),
    ("OPPORTUNITY_NAME", r'{"a":"x\\u0000y\u0000"}', r'{"a": "x\\u0000y"}', None),
    ("OPPORTUNITY_NAME", "[0.12345678901234567890]", "[0.12345678901234567890]", None),
    ("OPPORTUNITY_NAME", r'["\udc00"]', r'["\udc00"]', None),
    ("STAGE_ID", "9007199254740993", 2**53 + 1, None),
    ("STAGE_ID", "9223372036854775807", 2**63 - 1, None),
    ("STAGE_ID", "-9223372036854775808", -(2**63), None),
    ("STAGE_ID", "9223372036854775808", None, "9223372036854775808"),
    ("STAGE_ID", "18446744073709551616", None, "18446744073709551616"),
    ("STAGE_ID", "1180591620717411303424", None, "1180591620717411303424"),
    ("STAGE_ID", "9" * 5000, None, "9" * 5000),
    ("STAGE_ID", "1.5", None, D("1.5")),
    ("STAGE_ID", "7.0", 7, None),
    ("STAGE_ID", "1e3", 1000, None),
    ("STAGE_ID", "1e999999999", None, "1E+999999999"),
    ("STAGE_ID", "true", None, "true"),
    ("STAGE_ID", "false", None, "false"),
    ("STAGE_ID", '"12"', None, "12"),
    ("STAGE_ID", '""', None, None),
    ("STAGE_ID", "[]", None, "[]"),
    ("STAGE_ID", "{}", None, "{}"),
    ("OPPORTUNITY_VALUE", "0.1", D("0.1"), None),
    ("OPPORTUNITY_VALUE", "-0.000000001", D("-0.000000001"), None),
    ("OPPORTUNITY_VALUE", "0.0000000000000001", D(0), D("1e-16")),
    ("OPPORTUNITY_VALUE", "9007199254740993", D(2**53 + 1), None),
    ("OPPORTUNITY_VALUE", "18446744073709551617", D(2**64 + 1), None),
    ("OPPORTUNITY_VALUE", "12345678901234567890.5", D("12345678901234567890.5"), None),
    ("OPPORTUNITY_VALUE", "0.123456789012345", D("0.123456789"), "0.123456789012345"),
    ("OPPORTUNITY_VALUE", "-0.1234567895", D("-0.123456790"), "-0.1234567895"),
    ("OPPORTUNITY_VALUE", "9" * 23, D("9" * 23), None),
    ("OPPORTUNITY_VALUE", "9" * 24, None, "9" * 24),
    ("OPPORTUNITY_VALUE", "1" * 40, None, "1" * 40),
    ("OPPORTUNITY_VALUE", "1e400", None, D("1e400")),
    ("OPPORTUNITY_VALUE", "1e22", D(10**22), None),
    ("OPPORTUNITY_VALUE", "-1e300", None, D("-1e300")),
    ("OPPORTUNITY_VALUE", "true", None, "true"),
    ("OPPORTUNITY_VALUE", '"12.50"', D("12.5"), None),
    ("OPPORTUNITY_VALUE", '"1,5"', None, "1,5"),
    ("OPPORTUNITY_VALUE", '"NaN"', None, "NaN"),
    ("OPPORTUNITY_VALUE", '"٣"', None, "٣"),
    ("OPPORTUNITY_VALUE", "[1]", None, "[1]"),
    ("LAST_ACTIVITY_DATE_UTC", '"2024-02-29 12:34:56"', utc(2024, 2, 29, 12, 34, 56), None),
    ("LAST_ACTIVITY_DATE_UTC", '"2024-02-30 00:00:00"', None, "2024-02-30 00:00:00"),
    ("LAST_ACTIVITY_DATE_UTC", '"2024-06-01T01:02:03Z"', utc(2024, 6, 1, 1, 2, 3), None),
    ("LAST_ACTIVITY_DATE_UTC", '"2024-06-01T01:02:03"', utc(2024, 6, 1, 1, 2, 3), None),
    ("LAST_ACTIVITY_DATE_UTC", '"2024-06-01T01:02:03+05:30"', utc(2024, 5, 31, 19, 32, 3), None),
    ("LAST_ACTIVITY_DATE_UTC", '"2024-06-01T01:02:03-0800"', utc(2024, 6, 1, 9, 2, 3), None),
    ("LAST_ACTIVITY_DATE_UTC", '"2024-06-01T01:02:03+99:00"', None, "2024-06-01T01:02:03+99:00"),
    ("LAST_ACTIVITY_DATE_UTC", '"2024-06-01T01:02:03.123456"', utc(2024, 6, 1, 1, 2, 3, 123456), None),
    (
        "LAST_ACTIVITY_DATE_UTC",
        '"2024-06-01T01:02:03.1234567Z"',
        utc(2024, 6, 1, 1, 2, 3, 123456),
        "2024-06-01T01:02:03.1234567Z",
    ),
    ("LAST_ACTIVITY_DATE_UTC", '"2024-06-01T01:02:03.1234560Z"', utc(2024, 6, 1, 1, 2, 3, 123456), None),
    ("LAST_ACTIVITY_DATE_UTC", '"0001-01-02 00:00:00"', utc(1, 1, 2), None),
    ("LAST_ACTIVITY_DATE_UTC", '"9999-12-31 23:59:59"', utc(9999, 12, 31, 23, 59, 59), None),
    ("LAST_ACTIVITY_DATE_UTC", '"9999-12-31T23:59:59-01:00"', None, "9999-12-31T23:59:59-01:00"),
    ("LAST_ACTIVITY_DATE_UTC", '"10000-01-01 00:00:00"', None, "10000-01-01 00:00:00"),
    ("LAST_ACTIVITY_DATE_UTC", '"0000-05-05 00:00:00"', None, "0000-05-05 00:00:00"),
    ("LAST_ACTIVITY_DATE_UTC", '"0001-01-01 00:00:00"', None, None),
    ("LAST_ACTIVITY_DATE_UTC", '"0000-00-00 00:00:00"', None, None),
    ("LAST_ACTIVITY_DATE_UTC", '"0001-01-01 or never"', None, "0001-01-01 or never"),
    ("LAST_ACTIVITY_DATE_UTC", '"2016-12-31 23:59:60"', None, "2016-12-31 23:59:60"),
    ("LAST_ACTIVITY_DATE_UTC", "1717200000", None, "1717200000"),
    ("LAST_ACTIVITY_DATE_UTC", "false", None, "false"),
    ("LAST_ACTIVITY_DATE_UTC", r'"\ud800"', None, r'"\ud800"'),
    ("FORECAST_CLOSE_DATE", '"2024-02-29"', date(2024, 2, 29), None),
    ("FORECAST_CLOSE_DATE", '"2024-02-29 00:00:00"', date(2024, 2, 29), None),
    ("FORECAST_CLOSE_DATE", '"2023-02-29"', None, "2023-02-29"),
    ("FORECAST_CLOSE_DATE", '"2024-06-01 13:00:00"', date(2024, 6, 1), "2024-06-01 13:00:00"),
    ("FORECAST_CLOSE_DATE", '"2024-06-01T00:00:00+05:00"', date(2024, 6, 1), "2024-06-01T00:00:00+05:00"),
    ("FORECAST_CLOSE_DATE", '"2024-06-01T00:00:00Z"', date(2024, 6, 1), None),
    ("FORECAST_CLOSE_DATE", '"0001-01-02"', date(1, 1, 2), None),
    ("FORECAST_CLOSE_DATE", '"9999-12-31"', date(9999, 12, 31), None),
    ("FORECAST_CLOSE_DATE", '"0001-01-01"', None, None),
    ("FORECAST_CLOSE_DATE", '"01/02/2024"', None, "01/02/2024"),
]


@pytest.mark.everywhere("postgres", "delta", quick=True)
@pytest.mark.parametrize("page_size", [500, 2])
def test_each_value_is_stored_in_its_column_or_its_variant(bare: Crm, page_size: int) -> None:
    """All in one page, where Arrow's quick way is closed, and nearly each in a page of its own, where it is open."""
    for key, (name, text, _, _) in enumerate(VALUES, start=1):
        put_literal(bare, "opportunities", key, f'"{name}":{text}')
    for key, text in enumerate(("true", "false", "1", "0", '"true"', '""', "null", "1.0"), start=1):
        put_literal(bare, "products", key, f'"ACTIVE":{text}')
    report = bare.sync_done("opportunities", "products", page_size=page_size)
    rows = by_key(bare, "opportunities")
    assert set(rows) == set(range(1, len(VALUES) + 1))
    for key, (name, text, column, beside) in enumerate(VALUES, start=1):
        row, name = rows[key], name.lower()
        assert same(row[name], column), text
        assert same(row[f"{name}__v_text"], beside), text
        others = {n for n, v in row.items() if v is not None} - {name, f"{name}__v_text"}
        assert others == {"opportunity_id", "date_updated_utc"}
    for name in {name.lower() for name, _, _, beside in VALUES if beside is not None}:
        kept = sum(n.lower() == name and beside is not None for n, _, _, beside in VALUES)
        notes = [n for n in report.entities["opportunities"].schema_changes if f"{name}__v_text" in n]
        assert len(notes) == 1
        assert page_size == 2 or notes[0].startswith(f"{kept} values ")
    flags = [(row["active"], row["active__v_text"]) for row in bare.table("products")]
    assert flags[:7] == [
        (True, None),
        (False, None),
        (None, "1"),
        (None, "0"),
        (None, "true"),
        (None, None),
        (None, None),
    ]
    assert (flags[7][0], D(str(flags[7][1]))) == (None, 1)


@pytest.mark.everywhere("postgres", "delta")
def test_negative_and_huge_ids_are_exact(bare: Crm) -> None:
    ids = [-(2**63), -5, 0, 2**53, 2**53 + 1, 2**63 - 1]
    for id_ in ids:
        put(bare, "notes", id_, TITLE=f"note {id_}")
    bare.sync_done("notes", page_size=2)
    assert {row["note_id"]: row["title"] for row in bare.table("notes")} == {id_: f"note {id_}" for id_ in ids}


def test_repeated_key_keeps_the_last_value(bare: Crm) -> None:
    put_literal(bare, "notes", 1, '"TITLE":"first","TITLE":"last"')
    bare.sync_done("notes")
    assert [row["title"] for row in bare.table("notes")] == ["last"]


# Names


@pytest.mark.everywhere("postgres", "delta", quick=True)
def test_unknown_keys_become_columns(bare: Crm) -> None:
    fields: dict[str, tuple[str, Any, Any]] = {
        f"x{CURE}": ("x_drop_table_contactsxxx", 1, 1),
        "it's": ("it_s", "v", "v"),
        "new\nline": ("new_line", [1, "a"], '[1, "a"]'),
        "nul\x00key": ("nul_key", {"a": "😀"}, '{"a": "😀"}'),
        "😀 grin": ("_grin", 2.5, D("2.5")),
        "L" * 300: ("l" * 300, 2**53 + 1, 2**53 + 1),
        "select": ("select", True, True),
        "1st": ("_1st", "2024-06-01 01:02:03", utc(2024, 6, 1, 1, 2, 3)),
        "Ends_": ("endsx", {}, "{}"),
        "__proto__": ("proto", 2**70, None),
        "  spaced  ": ("spaced", "", None),
    }
    put(bare, "notes", 1, TITLE="plain")
    put(bare, "notes", 2, **{name: value for name, (_, value, _) in fields.items()})
    report = bare.sync_done("notes")
    (plain, row) = bare.table("notes")
    for name, (column, _, wanted) in fields.items():
        if wanted is None:
            continue
        column = column if len(column) < 63 else bare.column(name)
        assert same(row[column], wanted), name
        assert plain[column] is None
        assert any(f"notes.{column} " in change for change in report.entities["notes"].schema_changes)
    assert (row["proto"], row["proto__v_text"]) == (None, str(2**70))
    assert "spaced" not in row
    assert plain["title"] == "plain"
    put(bare, "notes", 2, **{"Ends_": 5, "select": "no", "DATE_UPDATED_UTC": "2026-11-02 13:30:00"})
    changes = bare.sync_done("notes").entities["notes"].schema_changes
    row = bare.table("notes")[1]
    assert (row["endsx"], row["select"], row["select__v_text"]) == ("5", None, "no")
    assert changes == ["1 values of notes.select kept as text in notes.select__v_text"]


@pytest.mark.everywhere("postgres", "delta")
def test_variant_is_named_after_its_column(bare: Crm) -> None:
    for key, value in enumerate([5, 7, "five"], start=1):
        put(bare, "notes", key, Ends_=value)
    bare.sync_done("notes", page_size=2)
    assert [(row["endsx"], row["endsx__v_text"]) for row in bare.table("notes")] == [
        (5, None),
        (7, None),
        (None, "five"),
    ]


@pytest.mark.everywhere("postgres", "delta", quick=True)
def test_hostile_custom_fields(bare: Crm) -> None:
    kinds = {
        f"x{CURE}": ("x_drop_table_contactsxxx", "TEXT", "'); --", "'); --", None),
        "emoji 🎉": ("emojix", "NUMERIC", "12", D(12), None),
        "quote'\"s": ("quote_s", "DATE", "2024-06-01 00:00:00", date(2024, 6, 1), None),
        "back\\slash\n": ("back_slash", "BIT", "yes", None, "yes"),
        "C" * 300 + "__c": ("c" * 300 + "__c", "DATETIME", "never", None, "never"),
        "list_idx": ("list_idx", "NUMERIC", 1e300, None, D("1e300")),
        "tags": ("tags", "TEXT", ["a"], '["a"]', None),
        "undeclared\x00": ("undeclaredx", None, 2**64, None, str(2**64)),
        "Lookup__c": ("lookup__c", "NEVER SEEN", {"id": 1}, '{"id": 1}', None),
        "Trails_": ("trailsx", "NUMERIC", "soon", None, "soon"),
    }
    for name, (_, kind, _, _, _) in kinds.items():
        if kind:
            bare.sandbox.store.define("CONTACT", name, kind)
    put(bare, "contacts", 1, CUSTOMFIELDS=custom(**{name: value for name, (_, _, value, _, _) in kinds.items()}))
    put(bare, "contacts", 2, CUSTOMFIELDS=None)
    put(bare, "contacts", 3)
    bare.sync_done("contacts")
    row, *others = bare.table("contacts")
    for name, (short, _, _, wanted, beside) in kinds.items():
        column = short if len(short) < 63 else bare.column(name)
        assert same(row[column], wanted), name
        assert same(row.get(bare.column(f"{column}__v_text")), beside), name
        assert [other[column] for other in others] == [None, None]
    names = {row["field_name"].replace("\x00", "") for row in bare.table("custom_fields")}
    assert names == {name for name, (_, kind, _, _, _) in kinds.items() if kind}


@pytest.mark.everywhere("postgres", "delta")
def test_hostile_tags(bare: Crm) -> None:
    tags = [
        f"a{CURE}",
        "O'Hara",
        "líne\nbreak",
        "😀",
        "x" * 5000,
        "nul\x00",
        "",
        None,
        "a",
        5,
        {"a": 1},
        "same",
        "same",
    ]
    wanted = [*tags[:5], "nul", None, None, "a", "5", '{"a": 1}', "same", "same"]
    put(bare, "contacts", 1, TAGS=[{"TAG_NAME": tag} for tag in tags])
    claims = {"TAG_NAME": "b", "CONTACT_ID": 99, "LIST_IDX": "7", "NEW": {"x": 1}}
    put(bare, "contacts", 2, TAGS=[claims, {"TAG_NAME": "c", "CONTACT_ID": 2, "LIST_IDX": 1}, {}], LINKS=None, DATES="")
    bare.sync_done("contacts")
    rows = bare.read("select * from insightly.contacts__tags order by contact_id, list_idx")
    loaded = [(row["contact_id"], row["list_idx"], row["tag_name"]) for row in rows]
    assert loaded == [*((1, index, tag) for index, tag in enumerate(wanted)), (2, 0, "b"), (2, 1, "c"), (2, 2, None)]
    assert (rows[13]["contact_id__v_text"], rows[13]["list_idx__v_text"], rows[13]["new"]) == ("99", "7", '{"x": 1}')
    assert (rows[14]["contact_id__v_text"], rows[14]["list_idx__v_text"]) == (None, None)


def test_colliding_names_fail_their_entity_alone(bare: Crm) -> None:
    """Eight entities in one run, each with a trap of its own; the ninth is loaded."""
    store = bare.sandbox.store
    store.define("CONTACT", "Shoe Size__c", "TEXT")
    store.define("CONTACT", "Shoe-Size__c", "TEXT")
    store.define("LEAD", "FIRST_NAME", "TEXT")
    store.define("OPPORTUNITY", "_deleted_at", "DATETIME")
    store.define("ORGANISATION", "_dlt_id", "TEXT")
    store.define("PROJECT", "Floors__c", "NUMERIC")
    store.define("PROJECT", "Floors__c__v_text", "TEXT")
    traps: dict[str, tuple[Row, list[str]]] = {
        "contacts": ({}, ["'Shoe Size__c'", "'Shoe-Size__c'", "'shoe_size__c'"]),
        "leads": ({}, ["'FIRST_NAME' and 'FIRST_NAME'", "'first_name'"]),
        "opportunities": ({}, ["'_deleted_at'"]),
        "organisations": ({}, ["'_dlt_id'"]),
        "projects": ({}, ["'Floors__c'", "'Floors__c__v_text'"]),
        "tasks": ({"_is_empty": True}, ["'_is_empty'"]),
        "events": ({"Room": 1, "room": 2}, ["'Room'", "'room'"]),
        "notes": ({"": "nameless"}, ["''"]),
        "products": ({"_DELETED_AT": "2024-01-01 00:00:00"}, ["'_DELETED_AT'", "'_deleted_at'"]),
    }
    for entity, (fields, _) in traps.items():
        put(bare, entity, 1, **fields)
    put(bare, "users", 1, FIRST_NAME="Ann")
    report = bare.sync(*traps, "users")
    assert (report.status, report.exit_code) == ("failed", 1)
    for entity, (_, names) in traps.items():
        entity_report = report.entities[entity]
        assert (entity_report.state, entity_report.watermark) == ("failed", None)
        for name in [entity, *names]:
            assert name in (entity_report.reason or ""), entity
        assert bare.columns(entity) == {} or bare.count(entity) == 0
    assert report.entities["users"].state == "ok"
    assert [row["first_name"] for row in bare.table("users")] == ["Ann"]


@pytest.mark.sample(1)
@pytest.mark.parametrize("value", [True, False, "x"])
def test_array_item_cannot_delete_itself(bare: Crm, value: Any) -> None:
    put(bare, "projects", 1, TAGS=[{"TAG_NAME": "a", "_is_empty": value}])
    report = bare.sync("projects")
    assert report.exit_code == 1
    assert "'_is_empty' of projects__tags" in (report.entities["projects"].reason or "")


# Custom fields whose values change their type


@pytest.mark.sample(0)
def test_custom_field_of_many_types(bare: Crm) -> None:
    """Undeclared, over the pages of one run; then declared, over two runs."""
    values = [5, 2.5, "text", True, None, "", {"a": 1}, 2**70, "2024-06-01 00:00:00"]
    for key, value in enumerate(values, start=1):
        put(bare, "contacts", key, CUSTOMFIELDS=custom(Mixed__c=value))
    report = bare.sync_done("contacts", page_size=2)
    loaded = [(row["mixed__c"], row["mixed__c__v_text"]) for row in bare.table("contacts")]
    # The first page had 5 and 2.5.
    text = [(None, "text"), (None, "true"), (None, None), (None, None), (None, '{"a": 1}')]
    assert loaded == [(D(5), None), (D("2.5"), None), *text, (D(2**70), None), (None, "2024-06-01 00:00:00")]
    assert any("4 values of contacts.mixed__c kept" in change for change in report.entities["contacts"].schema_changes)
    bare.sandbox.store.define("CONTACT", "Mixed__c", "TEXT")
    put(bare, "contacts", 1, CUSTOMFIELDS=custom(Mixed__c="now text"), DATE_UPDATED_UTC="2026-11-02 13:30:00")
    put(bare, "contacts", 2, CUSTOMFIELDS=custom(Mixed__c=7), DATE_UPDATED_UTC="2026-11-02 13:30:00")
    put(bare, "contacts", 3, CUSTOMFIELDS=custom(Mixed__c="8.5"), DATE_UPDATED_UTC="2026-11-02 13:30:00")
    bare.sync_done("contacts")
    loaded = [(row["mixed__c"], row["mixed__c__v_text"]) for row in bare.table("contacts")]
    assert loaded[:5] == [(None, "now text"), (D(7), None), (D("8.5"), None), *text[1:3]]
    assert bare.columns("contacts")["mixed__c"] == "DECIMAL(38,9)"


def test_seven_hundred_custom_fields(bare: Crm) -> None:
    for n in range(700):
        bare.sandbox.store.define("CONTACT", f"Field {n}__c", "NUMERIC" if n % 2 else "TEXT")
    for key in range(1, 61):
        values = {f"Field {n}__c": (key * n if n % 2 else f"{key}/{n}") for n in range(700) if (n + key) % 3}
        put(bare, "contacts", key, CUSTOMFIELDS=custom(**values))
    bare.sync_done("contacts")
    rows = bare.table("contacts")
    assert len(rows) == 60
    for row in rows:
        key = row["contact_id"]
        for n in range(700):
            wanted = (D(key * n) if n % 2 else f"{key}/{n}") if (n + key) % 3 else None
            assert row[f"field_{n}__c"] == wanted


# Size


@pytest.mark.sample(0)
def test_large_records_and_notes(bare: Crm) -> None:
    letters = random.Random(1).choices("abcdefgh 'é\"\\\n;", k=100_000)
    body = "".join(letters)
    for key in range(1, 201):
        put(bare, "organisations", key, BACKGROUND=f"{key}{body}", UNKNOWN={"deep": [[["x"] * 3]] * 3})
    put(bare, "notes", 1, BODY="€" * 350_000, TITLE="1 MB")
    bare.sync_done("organisations", "notes")
    rows = bare.read("select organisation_id as id, background as text, unknown from insightly.organisations")
    assert len(rows) == 200
    assert all(row["text"] == f"{row['id']}{body}" for row in rows)
    assert {row["unknown"] for row in rows} == {json.dumps({"deep": [[["x"] * 3]] * 3})}
    assert [row["body"] for row in bare.table("notes")] == ["€" * 350_000]


# Clear errors


BODIES: dict[str, bytes] = {
    "notes": b'{"NOTE_ID":2,"TITLE":"\xff\xfe"}',
    "products": b'{"PRODUCT_ID":2,"DEFAULT_PRICE":NaN}',
    "projects": b'{"PROJECT_ID":2,"PROJECT_NAME":Infinity}',
    "tasks": b'{"TASK_ID":2,"TITLE":1e99999999999999999999}',
    "events": b'{"EVENT_ID":2,"DETAILS":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "users": b'{"USER_ID":2,"FIRST_NAME":"cut',
    "leads": rb'{"LEAD_ID":2,"NEW":{"\ud800":1,"\ud801":2}}',
}
IDS: dict[str, Any] = {
    "contacts": 2**63,
    "opportunities": 2**70,
    "organisations": "12",
    "pipelines": 1.5,
    "lead_sources": True,
    "pipeline_stages": None,
    "lead_statuses": {"id": 2},
}


@pytest.mark.sample(0)
@pytest.mark.usefixtures("impatient")
def test_unusable_records_fail_their_entity_and_keep_its_table(bare: Crm) -> None:
    """Malformed bodies and impossible ids, fourteen entities in one run: fourteen clear errors, no more."""
    good = {}
    for entity in [*BODIES, *IDS, "currencies"]:
        key = "EUR" if entity == "currencies" else 1
        put(bare, entity, key, DATE_UPDATED_UTC=EPOCH)
        good[entity] = key
    before = bare.sync_done(*good)
    tables = {entity: bare.table(entity) for entity in good}
    assert all(len(rows) == 1 for rows in tables.values())
    stamp = b'"DATE_UPDATED_UTC":"2026-11-02 13:30:00",'
    for entity, raw in BODIES.items():
        bare.sandbox.store.tables[entity].put(2, b"{" + stamp + raw[1:])
    for entity, id_ in IDS.items():
        name = ENTITIES[entity].key[0]
        raw = json.dumps({"DATE_UPDATED_UTC": "2026-11-02 13:30:00", name: id_}, separators=(",", ":")).encode()
        bare.sandbox.store.tables[entity].put(2, raw)
    put(bare, "currencies", "USD")
    report = bare.sync(*good)
    assert report.exit_code == 1
    for entity in BODIES:
        entity_report = report.entities[entity]
        assert (entity_report.state, "not JSON" in (entity_report.reason or "")) == ("failed", True), (
            entity,
            entity_report.reason,
        )
    for entity in IDS:
        entity_report = report.entities[entity]
        assert (entity_report.state, ENTITIES[entity].key[0] in (entity_report.reason or "")) == ("failed", True), (
            entity,
            entity_report.reason,
        )
    for entity in [*BODIES, *IDS]:
        assert bare.table(entity) == tables[entity]
        assert report.entities[entity].watermark == before.entities[entity].watermark
        assert len(report.entities[entity].reason or "") < 300
    assert [row["currency_code"] for row in bare.table("currencies")] == ["EUR", "USD"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"CUSTOMFIELDS": 5}, "CUSTOMFIELDS"),
        ({"CUSTOMFIELDS": True}, "CUSTOMFIELDS"),
        ({"CUSTOMFIELDS": {"Hobby__c": 1}}, "CUSTOMFIELDS"),
        ({"CUSTOMFIELDS": "Hobby__c"}, "CUSTOMFIELDS"),
        ({"CUSTOMFIELDS": [None]}, "CUSTOMFIELDS"),
        ({"CUSTOMFIELDS": [{"FIELD_NAME": 5, "FIELD_VALUE": 1}]}, "FIELD_NAME"),
        ({"CUSTOMFIELDS": [{"FIELD_NAME": ["a"], "FIELD_VALUE": 1}]}, "FIELD_NAME"),
        ({"CUSTOMFIELDS": [{"FIELD_NAME": "", "FIELD_VALUE": 1}]}, "FIELD_NAME"),
        ({"CUSTOMFIELDS": [*custom(A__c=1), *custom(A__c=2)]}, "two values of its custom field A__c"),
        ({"CUSTOMFIELDS": custom(__=1)}, "'__'"),
        ({"CUSTOMFIELDS": custom(A=1, a=2)}, "'A' and 'a'"),
        ({"CUSTOMFIELDS": custom(_is_empty=True)}, "'_is_empty'"),
        ({"CUSTOMFIELDS": custom(NEW=1), "NEW": 2}, "'NEW' and 'NEW'"),
        ({"TAGS": 0}, "TAGS"),
        ({"TAGS": False}, "TAGS"),
        ({"TAGS": {}}, "TAGS"),
        ({"TAGS": ["a"]}, "TAGS"),
        ({"TAGS": [{"tag_name": "a", "TAG_NAME": "b"}]}, "'TAG_NAME' and 'tag_name'"),
        ({"TAGS": [{"ListIdx": 1}]}, "'LIST_IDX' and 'ListIdx'"),
        ({"x__": 1, "x": 2}, "'x' and 'x__'"),
        ({"_dlt_load_id": "1"}, "'_dlt_load_id'"),
        ({"NEW": json.loads("[" * 900 + "]" * 900)}, "nested too deeply"),
    ],
)
def test_malformed_records_raise_an_error_that_names_the_problem(fields: Row, words: str) -> None:
    shaper = RowShaper(ENTITIES["projects"], normalize, {})
    with pytest.raises(InsightlyError) as raised:
        shaper.shape([{"PROJECT_ID": 1, **fields}])
    assert words in str(raised.value)


@pytest.mark.parametrize("depth", [980, 1020])
def test_nesting_too_deep_ends_its_entity_alone(bare: Crm, depth: int) -> None:
    """In a list that is replaced, in one that is read in blocks, in one that is read by date."""
    for entity in ("currencies", "emails", "notes"):
        put_literal(bare, entity, 1, f'"NEW":{"[" * depth}{"]" * depth}')
    put(bare, "contacts", 1)
    report = bare.sync("contacts", "currencies", "emails", "notes")
    states = [report.entities[name].state for name in ("currencies", "emails", "notes")]
    assert (report.exit_code, report.entities["contacts"].state) == (1, "ok")
    assert states == ["failed"] * 3
    assert all("deep" in (report.entities[name].reason or "") for name in ("currencies", "emails", "notes"))


def test_unexpected_error_ends_its_entity_alone(bare: Crm, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    def fail(*_: Any) -> None:
        raise OverflowError(f"{address} is out of range")

    address = "ada@example.com"

    monkeypatch.setattr("sources.insightly.resources.incremental._warn_of_future_dates", fail)
    put(bare, "notes", 1, DATE_UPDATED_UTC=EPOCH)
    report = bare.sync("notes", "currencies")
    assert (report.exit_code, report.entities["currencies"].state, report.entities["notes"].state) == (
        1,
        "ok",
        "failed",
    )
    assert "unexpected OverflowError" in (report.entities["notes"].reason or "")
    assert "_warn_of_future_dates" in caplog.text
    assert address not in caplog.text


def test_tag_names_that_differ_only_in_nuls_are_an_error(bare: Crm) -> None:
    put(bare, "contacts", 1, TAGS=[{"TAG_NAME": "a"}, {"TAG_NAME": "a\x00"}])
    report = bare.sync("tags", "contacts")
    assert (report.entities["tags"].state, report.entities["contacts"].state) == ("failed", "ok")
    assert "TAG_NAME" in (report.entities["tags"].reason or "")


# Laws: whatever comes, a true row or a clear error

NASTY = ["", "\x00", "a\x00b", "half \ud800", "\udc00\ud800", "�", CURE, '"', "\\u0000", "\n", "😀"]
NASTY += ["12", "1.5", "true", "null", "0001-01-01 00:00:00", "0000-00-00", "0001-01-02", "9999-12-31 23:59:59"]
NASTY += ["2024-02-30 00:00:00", "2024-06-01T01:02:03Z", "2024-06-01T01:02:03+02:00", "2024-06-01 01:02:03.1234567"]
TEXTS = st.text(max_size=20) | st.sampled_from([*NASTY, "2024-06-01"])
NUMBERS = (
    st.integers()
    | st.sampled_from([2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64, 10**22, 10**23, 10**38, 10**400])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(-1000, 1000)
    | st.decimals(-(10**20), 10**20, places=20).map(lambda value: Raw(f"{value:f}"))
    | st.sampled_from(["1e400", "-0.0", "1.0", "1E3", "0.1234567890123456789", "9" * 30 + ".5"]).map(lambda t: Raw(t))
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))
FIELDS = [
    "OPPORTUNITY_NAME",
    "STAGE_ID",
    "BID_AMOUNT",
    "FORECAST_CLOSE_DATE",
    "LAST_ACTIVITY_DATE_UTC",
    "NEW_A",
    "NEW_B",
]
FIELDS += ["Text__c", "Number__c", "Flag__c", "Day__c", "Moment__c", "Any__c"]
DEFINED = {"Text__c": "TEXT", "Number__c": "NUMERIC", "Flag__c": "BIT", "Day__c": "DATE", "Moment__c": "DATETIME"}
RECORDS = st.lists(
    st.dictionaries(st.sampled_from(FIELDS), SCALARS | SCALARS | JSON, max_size=8), min_size=1, max_size=12
)


class Raw(float):
    """A number as it is to stand in the JSON text."""

    def __new__(cls, text: str) -> "Raw":
        made = super().__new__(cls, text)
        made.text = text  # type: ignore[attr-defined]
        return made


def write(value: Any) -> str:
    """JSON text of a value, surrogates escaped."""
    if isinstance(value, Raw):
        return str(value.text)  # type: ignore[attr-defined]
    if isinstance(value, list):
        return "[" + ",".join(map(write, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(name)}:{write(item)}" for name, item in value.items()) + "}"
    return json.dumps(value)


def read_exactly(text: str) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def without_nuls(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "")
    if isinstance(value, list):
        return [without_nuls(item) for item in value]
    if isinstance(value, dict):
        return {without_nuls(name): without_nuls(item) for name, item in value.items()}
    return value


def assert_recoverable(value: Any, column: Any, beside: str | None) -> None:
    """The value is what the column holds, or what stands beside it; no column has anything else."""
    exact = read_exactly(write(value))
    clean = without_nuls(exact)
    empty = clean is None or clean == ""
    guard = isinstance(clean, str) and clean.strip() in ("0001-01-01", "0001-01-01 00:00:00", "0000-00-00")
    if beside is not None:
        half = isinstance(clean, str) and any("\ud800" <= letter <= "\udfff" for letter in clean)
        assert (
            (json.loads(beside) if half else beside) == clean
            if isinstance(clean, str)
            else read_exactly(beside) == clean
        )
    elif column is None:
        assert empty or guard, (value, column)
    elif isinstance(column, bool):
        assert exact is column
    elif isinstance(column, int | Decimal):
        assert not isinstance(exact, bool)
        assert Decimal(exact) == column
    elif isinstance(column, datetime):
        parsed = datetime.fromisoformat(clean.strip())
        assert (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)) == column
    elif isinstance(column, date):
        assert datetime.fromisoformat(clean.strip()).replace(tzinfo=None) == datetime(
            column.year, column.month, column.day
        )
    else:
        assert column == clean if isinstance(clean, str) else read_exactly(column) == clean


def record_text(key: int, record: Row) -> str:
    own = {name: value for name, value in record.items() if not name.endswith("__c")}
    entries = [{"FIELD_NAME": name, "FIELD_VALUE": value} for name, value in record.items() if name.endswith("__c")]
    return write({"OPPORTUNITY_ID": key, "DATE_UPDATED_UTC": EPOCH, **own, "CUSTOMFIELDS": entries})


def alike(value: Any) -> bool:
    """True where the keys of one object are distinguished by NULs or half surrogates alone: that is refused."""
    if isinstance(value, list):
        return any(map(alike, value))
    if isinstance(value, dict):
        names = {without_nuls(name).encode("utf-16", "surrogatepass").decode("utf-16", "replace") for name in value}
        return len(names) < len(value) or any(map(alike, value.values()))
    return False


def assert_true_rows(records: list[Row], rows: list[Row]) -> None:
    assert [row["opportunity_id"] for row in rows] == list(range(1, len(records) + 1))
    for record, row in zip(records, rows, strict=True):
        for name in FIELDS:
            column = normalize(name)
            assert_recoverable(record.get(name), row.get(column), row.get(f"{column}__v_text"))


@hypothesis_settings(max_examples=300, deadline=None)
@given(RECORDS)
def test_shaped_records_equal_their_source(records: list[Row]) -> None:
    assume(not any(map(alike, records)))
    shaper = RowShaper(ENTITIES["opportunities"], normalize, {})
    shaper.define([{"FIELD_NAME": name, "FIELD_TYPE": kind} for name, kind in DEFINED.items()])
    body = "[" + ",".join(record_text(key, record) for key, record in enumerate(records, start=1)) + "]"
    own = shaper.shape(parse(body.encode()))[0]
    assert_true_rows(records, [{normalize(name): value for name, value in row.items()} for row in own.rows.to_pylist()])


@hypothesis_settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.text(max_size=8) | st.sampled_from(["TAGS", "LINKS", "CUSTOMFIELDS", "_is_empty"]), JSON))
def test_any_object_is_shaped_or_refused(fields: Row) -> None:
    """Names and structures of any kind: tables, or an error of ours."""
    shaper = RowShaper(ENTITIES["opportunities"], normalize, {})
    try:
        (record,) = parse(f"[{write(fields)}]".encode())
        tables = shaper.shape([{**record, "OPPORTUNITY_ID": 1}])
    except (InsightlyError, ValueError):
        return
    assert tables[0].rows["OPPORTUNITY_ID"].to_pylist() == [1]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Crm]]:
    """Makes accounts one after another, each with a folder of its own; the one before is closed."""
    numbers = count()
    with Sandbox(contents=nothing(), switches=Switches(rate=None), clock=(clock := Clock())) as sandbox:
        for name, kind in DEFINED.items():
            sandbox.store.define("OPPORTUNITY", name, kind)

        def fresh() -> Crm:
            for entity in ("opportunities", "notes"):
                for key in list(sandbox.store.tables[entity].keys):
                    sandbox.store.delete(entity, key)
            clock.now = Clock().now
            return Crm(sandbox, tmp_path_factory.mktemp(f"example{next(numbers)}"), clock)

        yield fresh


def assert_run_loads_exactly(crm: Crm, records: list[Row], later: Row, bad_id: Any) -> None:
    """Two runs: of the records, and of one more with an id that may be no id, beside an entity that has no trap."""
    with pytest.MonkeyPatch.context() as patch:
        isolate(crm.folder, patch)
        table = crm.sandbox.store.tables["opportunities"]
        for key, record in enumerate(records, start=1):
            table.put(key, record_text(key, record).encode())
        put(crm, "notes", 1, TITLE="first", DATE_UPDATED_UTC=EPOCH)
        first = crm.sync_done("opportunities", "notes", tags="embedded")
        before = crm.read("select * from insightly.opportunities order by opportunity_id")
        assert_true_rows(records, before)
        key = len(records) + 1
        text = record_text(key, later).replace(EPOCH, "2026-11-02 13:30:00")
        text = text.replace(f'"OPPORTUNITY_ID":{key}', f'"OPPORTUNITY_ID":{write(bad_id)}', 1)
        table.put(key, text.encode())
        put(crm, "notes", 1, TITLE="second", DATE_UPDATED_UTC="2026-11-02 13:30:00")
        report = crm.sync("opportunities", "notes", tags="embedded")
        entity_report = report.entities["opportunities"]
        rows = crm.read("select * from insightly.opportunities order by opportunity_id")
        if type(bad_id) is int and len(records) < bad_id < 2**63:
            assert entity_report.state == "ok"
            assert rows[-1]["opportunity_id"] == bad_id
            assert_true_rows([*records, later], [*rows[:-1], {**rows[-1], "opportunity_id": key}])
        else:
            assert (entity_report.state, entity_report.watermark) == (
                "failed",
                first.entities["opportunities"].watermark,
            )
            assert "OPPORTUNITY_ID" in (entity_report.reason or "")
            assert rows == before
        assert (report.entities["notes"].state, crm.table("notes")[0]["title"]) == ("ok", "second")


BAD_IDS = st.sampled_from([None, "12", 2**63 - 1, 2**63, 2**70, 1.5, True, [], {}, "x"])


@hypothesis_settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(RECORDS, RECORDS, BAD_IDS)
def test_runs_load_records_exactly(
    scratch: Callable[[], Crm], records: list[Row], later: list[Row], bad_id: Any
) -> None:
    assume(not any(map(alike, [*records, *later])))
    assert_run_loads_exactly(scratch(), records, later[0], bad_id)


@pytest.mark.sample(0)
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(RECORDS, RECORDS, BAD_IDS)
def test_many_runs_load_records_exactly(
    scratch: Callable[[], Crm], records: list[Row], later: list[Row], bad_id: Any
) -> None:
    assume(not any(map(alike, [*records, *later])))
    assert_run_loads_exactly(scratch(), records, later[0], bad_id)
