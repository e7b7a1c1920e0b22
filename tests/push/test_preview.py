"""The preview of a push: what happens to each row, from the destination alone."""

from typing import Any

import pytest

from pipelines.push.request import PushRequest
from pipelines.push.run import dry_run
from tests.support.crm import Crm
from tests.support.process import command, reach
from tests.support.push import csv, ids, jsonl, planned, pushed, results


@pytest.fixture
def crm(synced_crm: Crm) -> Crm:
    return synced_crm


def brief(changes: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """The action, the record, and the fields of each change."""
    return [
        (each["action"], each["record_id"], [(f["field"], f.get("old", "?"), f.get("new")) for f in each["fields"]])
        for each in changes
    ]


def test_preview_has_the_old_and_new_value_of_each_changed_field(crm: Crm) -> None:
    first, second, third = ids(crm, "contacts")[:3]
    old = {id_: crm.sandbox.store.get("contacts", id_) or {} for id_ in (first, second, third)}
    rows = [
        {"CONTACT_ID": first, "FIRST_NAME": old[first]["FIRST_NAME"], "TITLE": "Boss", "DATE_OF_BIRTH": "1980-01-31"},
        {"CONTACT_ID": second, "FIRST_NAME": old[second]["FIRST_NAME"]},
        {"CONTACT_ID": 99, "TITLE": "x"},
    ]
    born = old[first]["DATE_OF_BIRTH"]
    changes = planned(crm, "contacts", jsonl(crm, rows), "update")["changes"]
    assert brief(changes) == [
        ("update", first, [("TITLE", old[first]["TITLE"], "Boss"), ("DATE_OF_BIRTH", born, "1980-01-31 00:00:00")]),
        ("none", second, []),
        ("update", 99, [("TITLE", "?", "x")]),
    ]
    assert [each["note"] for each in changes] == [None, None, "not in the destination: the old values are not known"]
    assert old[first]["FIRST_NAME"] in changes[0]["name"]

    email = old[third]["EMAIL_ADDRESS"]
    rows = [{"EMAIL_ADDRESS": f" {email.upper()}", "FIRST_NAME": "Zed"}, {"EMAIL_ADDRESS": "n@x.example"}]
    changes = planned(crm, "contacts", jsonl(crm, rows), "upsert", match="email_address")["changes"]
    assert brief(changes) == [
        ("update", third, [("FIRST_NAME", old[third]["FIRST_NAME"], "Zed")]),
        ("create", None, [("EMAIL_ADDRESS", None, "n@x.example")]),
    ]
    assert "FIRST_NAME is missing" in changes[1]["note"]


@pytest.mark.parametrize("field", ["DATE_OF_BIRTH", "OWNER_USER_ID", "EMAIL_OPTED_OUT"])
def test_match_finds_records_by_numbers_and_dates(crm: Crm, field: str) -> None:
    rows = [row for row in crm.sandbox.store.rows("contacts") if row[field] is not None]
    same = [row["CONTACT_ID"] for row in rows if row[field] == rows[0][field]]
    source = jsonl(crm, [{field: rows[0][field]}])
    (change,) = planned(crm, "contacts", source, "delete", match=field.lower())["changes"]
    if len(same) == 1:
        assert (change["action"], change["record_id"], change["note"]) == ("delete", same[0], None)
    else:
        assert change["note"] == f"{len(same)} records have this {field}, so the row will be refused"


def test_delete_of_a_deleted_record_differs_from_one_of_an_unknown_id(crm: Crm) -> None:
    key, gone = ids(crm, "contacts")[:2]
    pushed(crm, "contacts", jsonl(crm, [{"CONTACT_ID": gone}]), "delete")
    source = csv(crm, f"contact_id\n{key}\n5\n{gone}\n")
    changes = planned(crm, "contacts", source, "delete")["changes"]
    assert brief(changes) == [("delete", key, []), ("missing", 5, []), ("missing", gone, [])]
    assert changes[1]["note"] == "not in the destination"
    assert changes[2]["note"].startswith("deleted already, found 20")
    assert results(pushed(crm, "contacts", source, "delete")) == {"deleted": 1, "missing": 2}


def test_preview_of_tags_compares_with_the_record(crm: Crm) -> None:
    key = ids(crm, "contacts")[0]
    tags = [{"record_type": "contacts", "record_id": key, "tag_name": name} for name in ("one", "two")]
    pushed(crm, "tags", jsonl(crm, tags), "update")
    source = jsonl(crm, [{**tags[0], "tag_name": "ONE"}, {**tags[0], "tag_name": "six"}])
    actions = {op: [c["action"] for c in planned(crm, "tags", source, op)["changes"]] for op in ("create", "delete")}
    assert actions == {"create": ["none", "create"], "delete": ["delete", "missing"]}
    (change,) = planned(crm, "tags", source, "update")["changes"]
    assert change["fields"] == [{"field": "TAGS", "old": ["one", "two"], "new": ["ONE", "six"]}]


def test_preview_shows_no_value_of_a_masked_column(crm: Crm) -> None:
    source = jsonl(crm, [{"CONTACT_ID": ids(crm, "contacts")[0], "PHONE": "555-0100"}])
    report = dry_run(crm.settings(drop="contacts.phone"), crm.target, PushRequest("contacts", source, "update"))
    (change,) = report.entities["contacts"].facts["push"]["changes"]
    assert change["fields"] == [{"field": "PHONE", "masked": True}]


def test_push_from_a_pipe_shows_the_changes_before_it_sends(crm: Crm) -> None:
    key = ids(crm, "contacts")[0]
    old = (crm.sandbox.store.get("contacts", key) or {})["TITLE"]
    source = csv(crm, f"contact_id,title\n{key},Boss\n")
    arguments = ["push", "contacts", source, "--op", "update", *crm.arguments()]
    ran = command(*arguments, cwd=crm.folder, **reach(crm.sandbox))
    assert (ran.code, "1 updated" in ran.out) == (0, True)
    assert f"~ row 2: update {key}" in ran.err
    assert f"TITLE  {old or '(none)'} -> Boss" in ran.err
