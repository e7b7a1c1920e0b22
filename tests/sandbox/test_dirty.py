"""Generated data as old accounts have them, and what a sync makes of them."""

import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from pipelines.sandbox import Contents, Sandbox, Switches, generate
from tests.support.crm import Crm
from tests.support.requests_to_sandbox import send

SPOILT = ("contacts", "leads", "organisations", "opportunities", "projects", "tasks", "events", "notes", "emails")
KEPT = {"DATE_CREATED_UTC", "DATE_UPDATED_UTC", "OPPORTUNITY_STATE", "STATUS", "BID_CURRENCY", "BID_AMOUNT"}


@pytest.fixture(scope="module")
def clean() -> Contents:
    return generate(1, 0.1)


@pytest.fixture(scope="module")
def dirty() -> Contents:
    return generate(1, 0.1, dirty=True)


def rows(contents: Contents, entity: str) -> list[dict[str, Any]]:
    return [orjson.loads(raw) for raw in contents.tables[entity].values()]


def test_dirty_data_are_repeatable_and_keep_keys_and_dates(clean: Contents, dirty: Contents) -> None:
    assert generate(1, 0.1, dirty=True) == dirty
    assert clean.parents == dirty.parents
    for entity, table in dirty.tables.items():
        assert list(table) == list(clean.tables[entity])
        assert (table != clean.tables[entity]) == (entity in SPOILT), entity
        for row, before in zip(rows(dirty, entity), rows(clean, entity), strict=True):
            fields = {name for name in row if name in KEPT or name.endswith("_ID")}
            assert {name: row[name] for name in fields} == {name: before[name] for name in fields}


@pytest.mark.parametrize(
    ("fields", "pattern"),
    [
        ("NAME|TITLE", r"[\u0600-\u06ff]"),  # Arabic
        ("NAME|TITLE", r"[\u4e00-\u9fff]"),  # Chinese
        ("NAME|TITLE", r"[\u0400-\u04ff]"),  # Cyrillic
        ("NAME|TITLE", r"[\U0001f300-\U0001faff]"),  # emoji
        ("NAME|TITLE", r"\u030a"),  # a combining accent
        ("NAME|TITLE", r"\u200f"),  # a mark of direction
        ("PHONE", r"^[^+]"),
        ("EMAIL_ADDRESS", r"^  .*\u00a0$"),
        ("CITY", r"^$"),
        ("BODY|DETAILS", r"&nbsp;|<script>"),
        ("DATE", r"^0000-00-00"),
        ("DATE", r"^0001-01-01"),
    ],
)
def test_dirty_data_have(clean: Contents, dirty: Contents, fields: str, pattern: str) -> None:
    def found(contents: Contents) -> int:
        values = ((name, value) for entity in SPOILT for row in rows(contents, entity) for name, value in row.items())
        texts = (value for name, value in values if isinstance(value, str) and re.search(fields, name))
        return sum(re.search(pattern, text) is not None for text in texts)

    assert found(dirty) > 1
    assert not found(clean)


def test_dirty_addresses_are_there_twice_in_other_case(dirty: Contents) -> None:
    addresses = [row["EMAIL_ADDRESS"].strip() for row in rows(dirty, "contacts")]
    assert len(set(addresses)) > len({address.lower() for address in addresses}) + 10


def test_switch_makes_generated_records_dirty() -> None:
    with Sandbox(scale=0.01, switches=Switches(dirty=True)) as sandbox:
        assert max(len(note["BODY"]) for note in send(sandbox, "Notes").json()) > 1_000_000
    with Sandbox(scale=0.01) as sandbox:
        assert max(len(note["BODY"]) for note in send(sandbox, "Notes").json()) < 1_000


def test_dirty_records_are_loaded_value_by_value(make_crm: Callable[..., Crm]) -> None:
    crm = make_crm(contents=generate(1, 0.02, dirty=True))
    crm.sync_done("contacts", "notes", "tasks")
    crm.assert_equal("contacts", "notes", "tasks")
    assert crm.read("select max(length(body)) as n from insightly.notes")[0]["n"] > 1_000_000
    same = "select count(*) - count(distinct lower(trim(email_address, ' \u00a0'))) as n from insightly.contacts"
    assert crm.read(same)[0]["n"] > 2
