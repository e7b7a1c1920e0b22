"""The sandbox's data: the same for the same seed, whole, and true to themselves."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from pipelines.sandbox import SEED_NOW, Contents, Store, evolve, generate
from sources.insightly.entities import ENTITIES
from sources.insightly.fields import child_fields
from tests.support.process import ROOT

RECORDED = json.loads((ROOT / "tests/recorded/entities.json").read_text(encoding="utf-8"))["entities"]
SEEDED = [
    name
    for name, facts in RECORDED.items()
    if "{" not in facts["path"] and name not in ("tags", "instance", "permissions")
]
NOW = SEED_NOW.strftime("%Y-%m-%d %H:%M:%S")
JSON_TYPES = {"integer": int, "string": str, "boolean": bool, "number": (int, float), "datetime": str, "date": str}
NAMES = {
    "Contact": "contacts", "Organisation": "organisations", "Opportunity": "opportunities", "Project": "projects",
    "Lead": "leads", "Task": "tasks", "Event": "events", "Note": "notes", "Email": "emails",
}  # fmt: skip


def every_row(contents: Contents, tables: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row that an account has, and each item of its arrays, with the name of its entity or array."""
    rows = [(name, row) for name, records in tables.items() for row in records.values()]
    rows += [("custom_fields", row) for row in contents.definitions]
    for name, row in rows:
        facts = ENTITIES.get(name) or ENTITIES["custom_object_records"]
        yield facts.name, row
        for array in facts.arrays:
            yield from ((array, item) for item in row[array])


def fields_of(table: str) -> Any:
    return ENTITIES[table].fields if table in ENTITIES else child_fields(table)


@pytest.fixture(scope="module")
def contents() -> Contents:
    return generate(seed=1, scale=1)


@pytest.fixture(scope="module")
def tables(contents: Contents) -> dict[str, dict[Any, dict[str, Any]]]:
    return {name: {key: orjson.loads(raw) for key, raw in rows.items()} for name, rows in contents.tables.items()}


def test_same_seed_and_scale_give_the_same_bytes():
    assert generate(7, 0.2) == generate(7, 0.2)
    assert generate(7, 0.2).tables["contacts"] != generate(8, 0.2).tables["contacts"]


def test_scale_is_linear_and_keeps_the_fixed_lists(contents):
    double = generate(1, 2)
    for entity, count in {"contacts": 1_000, "organisations": 400, "leads": 600, "tasks": 1_500, "users": 12}.items():
        assert (len(contents.tables[entity]), len(double.tables[entity])) == (count, 2 * count)
    assert contents.tables["countries"] == double.tables["countries"]
    assert 235 <= len(contents.tables["countries"]) <= 255


@pytest.mark.parametrize("scale", [0, 0.001, 0.01])
def test_smallest_scales_have_records(scale):
    rows = {name: Store(generate(3, scale)).rows(name) for name in ("contacts", "organisations", "tasks")}
    assert all(rows.values())


@pytest.mark.parametrize("entity", SEEDED)
def test_every_recorded_field_is_present_with_its_type(tables, entity):
    fields = RECORDED[entity]["fields"]
    assert tables[entity]
    for row in tables[entity].values():
        assert set(row) == set(fields)
        for name, kind in fields.items():
            if isinstance(kind, dict):
                assert isinstance(row[name], list)
                assert all(set(item) == set(kind["array"]) for item in row[name])
            elif row[name] is not None:
                assert isinstance(row[name], JSON_TYPES[kind]), (name, row[name])
                assert kind != "integer" or not isinstance(row[name], bool)
                if kind in {"date", "datetime"}:
                    datetime.strptime(row[name], "%Y-%m-%d %H:%M:%S")
                if kind == "date":
                    assert row[name].endswith(" 00:00:00")


def test_ids_ascend_and_dates_are_in_order(tables):
    for entity, rows in tables.items():
        keys = [key for key in rows if isinstance(key, int)]
        assert keys == sorted(keys)
        for row in rows.values():
            if "DATE_UPDATED_UTC" in row:
                assert row["DATE_CREATED_UTC"] <= row["DATE_UPDATED_UTC"] <= NOW, entity


def test_links_name_existing_records_on_both_sides(tables):
    main = {"contacts", "leads", "opportunities", "organisations", "projects"}
    for entity, rows in tables.items():
        for key, row in rows.items():
            for link in row.get("LINKS", ()):
                far = NAMES[link["LINK_OBJECT_NAME"]]
                assert (NAMES[link["OBJECT_NAME"]], link["OBJECT_ID"]) == (entity, key)
                other = tables[far][link["LINK_OBJECT_ID"]]
                if entity in main and far in main:
                    assert any(back["LINK_ID"] == link["LINK_ID"] for back in other["LINKS"])


def test_relationships_are_those_of_two_contacts_or_two_organisations(tables):
    for entity, rows in tables.items():
        for link in (link for row in rows.values() for link in row.get("LINKS", ())):
            fits = {"contacts": "FOR_CONTACTS", "organisations": "FOR_ORGANISATIONS"}.get(entity)
            related = NAMES[link["LINK_OBJECT_NAME"]] == entity
            assert (link["RELATIONSHIP_ID"] is not None) == related
            assert not related or tables["relationships"][link["RELATIONSHIP_ID"]][fits]


def test_references_to_fixed_lists_are_spread_over_all_items(tables):
    for entity, name, target in (
        ("leads", "LEAD_SOURCE_ID", "lead_sources"),
        ("tasks", "CATEGORY_ID", "task_categories"),
        ("opportunities", "CATEGORY_ID", "opportunity_categories"),
    ):
        counts = Counter(row[name] for row in tables[entity].values() if row[name] is not None)
        usual = counts.total() / len(tables[target])
        assert all(0.7 * usual < counts[key] < 1.3 * usual for key in tables[target]), (entity, counts)


def test_contact_has_the_email_domain_of_its_organisation(tables):
    for contact in tables["contacts"].values():
        organisation = tables["organisations"][contact["ORGANISATION_ID"]]
        domains = {item["EMAIL_DOMAIN"] for item in organisation["EMAILDOMAINS"]}
        assert contact["EMAIL_ADDRESS"].partition("@")[2] in domains


def test_converted_leads_match_their_contacts_and_deals(tables):
    converted = [lead for lead in tables["leads"].values() if lead["CONVERTED"]]
    assert len(converted) > 100
    statuses = tables["lead_statuses"]
    for lead in tables["leads"].values():
        assert (statuses[lead["LEAD_STATUS_ID"]]["LEAD_STATUS"] == "Converted") == lead["CONVERTED"]
        assert lead["LEAD_SOURCE_ID"] in tables["lead_sources"]
        assert lead["CONVERTED"] or lead["CONVERTED_CONTACT_ID"] is None
    for lead in converted:
        contact = tables["contacts"][lead["CONVERTED_CONTACT_ID"]]
        assert (contact["FIRST_NAME"], contact["LAST_NAME"]) == (lead["FIRST_NAME"], lead["LAST_NAME"])
        assert contact["ORGANISATION_ID"] == lead["CONVERTED_ORGANISATION_ID"]
        assert lead["DATE_CREATED_UTC"] <= lead["CONVERTED_DATE_UTC"] <= lead["DATE_UPDATED_UTC"]
        if lead["CONVERTED_OPPORTUNITY_ID"]:
            deal = tables["opportunities"][lead["CONVERTED_OPPORTUNITY_ID"]]
            assert any(link["LINK_OBJECT_ID"] == contact["CONTACT_ID"] for link in deal["LINKS"])


def test_every_field_has_a_value_in_some_record(contents, tables):
    seen: dict[str, set[str]] = defaultdict(set)
    for table, row in every_row(contents, tables):
        seen[table] |= {name for name, value in row.items() if value is not None}
    assert len(seen) > 55
    wanted = {(table, name) for table in seen for name in fields_of(table)}
    assert wanted - {(table, name) for table, names in seen.items() for name in names} == set()


def test_references_name_existing_records(contents, tables):
    checked = 0
    for table, row in every_row(contents, tables):
        for name, field in fields_of(table).items():
            if field.references and row[name] is not None:
                assert row[name] in tables[field.references], (table, name)
                checked += 1
    assert checked > 30_000
    followed = {"CONTACT": "contacts", "OPPORTUNITY": "opportunities", "ORGANISATION": "organisations"}
    assert all(row["RECORD_ID"] in tables[followed[row["RECORD_TYPE"]]] for row in tables["follows"].values())
    members = [member for team in tables["teams"].values() for member in team["TEAMMEMBERS"]]
    assert sorted(members, key=str) == sorted(tables["team_members"].values(), key=str)
    for key, quote in tables["quotes"].items():
        lines = [line["TOTAL_PRICE"] for line in tables["quote_line_items"].values() if line["QUOTE_ID"] == key]
        assert (len(lines), round(sum(lines), 2)) == (quote["LINE_ITEM_COUNT"], quote["SUBTOTAL"])


def test_deals_have_a_stage_and_closed_ones_a_date(tables, contents):
    store = Store(contents)
    for key, deal in tables["opportunities"].items():
        stage = tables["pipeline_stages"][deal["STAGE_ID"]]
        assert stage["PIPELINE_ID"] == deal["PIPELINE_ID"]
        assert tables["pipelines"][deal["PIPELINE_ID"]]["FOR_OPPORTUNITIES"]
        closed = deal["OPPORTUNITY_STATE"] in {"WON", "LOST", "ABANDONED"}
        assert (deal["ACTUAL_CLOSE_DATE"] is not None) == closed
        assert deal["OPPORTUNITY_STATE"] != "WON" or deal["PROBABILITY"] == 100
        assert deal["OPPORTUNITY_VALUE"] == deal["BID_AMOUNT"] * (deal["BID_DURATION"] or 1)
        history = store.children("opportunity_state_history", "opportunities", key)
        assert history[0]["FOR_OPPORTUNITY_STATE"] == "OPEN"
        assert history[-1]["FOR_OPPORTUNITY_STATE"] == deal["OPPORTUNITY_STATE"]
        timestamps = [row["DATE_CHANGED_UTC"] for row in history]
        assert timestamps == sorted(timestamps)
    states = {deal["OPPORTUNITY_STATE"] for deal in tables["opportunities"].values()}
    assert states == {"OPEN", "WON", "LOST", "ABANDONED", "SUSPENDED"}


def test_tasks_are_overdue_due_or_completed(tables):
    tasks = tables["tasks"].values()
    assert any(not task["COMPLETED"] and task["DUE_DATE"] < NOW for task in tasks)
    assert any(not task["COMPLETED"] and task["DUE_DATE"] > NOW for task in tasks)
    for task in tasks:
        assert task["COMPLETED"] == (task["COMPLETED_DATE_UTC"] is not None) == (task["STATUS"] == "COMPLETED")
        assert task["PROJECT_ID"] is None or task["PROJECT_ID"] in tables["projects"]
        assert task["OPPORTUNITY_ID"] is None or task["OPPORTUNITY_ID"] in tables["opportunities"]


def test_custom_fields_are_defined_and_have_both_empty_forms(tables, contents):
    defined = {(row["FIELD_FOR"], row["FIELD_NAME"]): row for row in contents.definitions}
    kinds = "TEXT MULTILINETEXT DROPDOWN MULTISELECT BIT DATE DATETIME NUMERIC PERCENT AUTONUMBER LOOKUP"
    assert {row["FIELD_TYPE"] for row in contents.definitions} == set(kinds.split())
    lengths, nulls = set(), 0
    for contact in tables["contacts"].values():
        lengths.add(len(contact["CUSTOMFIELDS"]))
        for item in contact["CUSTOMFIELDS"]:
            assert ("CONTACT", item["FIELD_NAME"]) in defined
            nulls += item["FIELD_VALUE"] is None
    assert len(lengths) > 1
    assert nulls
    for name in ("Site_Visit__c", "Warranty__c"):
        names = {item["FIELD_NAME"] for row in tables[name].values() for item in row["CUSTOMFIELDS"]}
        assert names == {field for owner, field in defined if owner == name.upper()}
    customers = [item["FIELD_VALUE"] for row in tables["Site_Visit__c"].values() for item in row["CUSTOMFIELDS"][-1:]]
    assert set(customers) <= set(tables["organisations"])
    for tier in (item for row in tables["organisations"].values() for item in row["CUSTOMFIELDS"]):
        if tier["FIELD_NAME"] == "Tier__c" and tier["FIELD_VALUE"]:
            options = defined["ORGANISATION", "Tier__c"]["CUSTOM_FIELD_OPTIONS"]
            assert tier["FIELD_VALUE"] in {option["OPTION_VALUE"] for option in options}


def test_evolve_is_repeatable_and_sets_dates(contents):
    now = datetime(2026, 11, 2, 9, tzinfo=UTC)
    first, second = (Store(contents, clock=lambda: now) for _ in range(2))
    done = evolve(first, seed=5)
    assert evolve(second, seed=5) == done
    assert len(done) == 25
    for entity in ("leads", "contacts", "opportunities", "tasks", "notes", "tickets"):
        assert first.rows(entity) == second.rows(entity)
        assert any(row["DATE_UPDATED_UTC"] == "2026-11-02 09:00:00" for row in first.rows(entity)), entity
    gone = set(contents.tables["notes"]) - {row["NOTE_ID"] for row in first.rows("notes")}
    assert gone
    assert contents == generate(1, 1), "the contents a store is made of stay as they were"


def test_deal_of_a_converted_lead_has_a_buyer(contents):
    store = Store(contents)
    line = next(line for line in evolve(store) if "became contact" in line)
    contact, deal = map(int, re.findall(r"(?:contact|deal) (\d+)", line))
    (link,) = store.get("opportunities", deal)["LINKS"]
    assert (link["LINK_OBJECT_NAME"], link["LINK_OBJECT_ID"], link["ROLE"]) == ("Contact", contact, "Buyer")


def test_evolve_skips_edits_on_an_empty_account():
    assert evolve(Store(), steps=3) is not None
