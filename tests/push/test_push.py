"""The push over HTTP: every operation on every entity, invalid input, and exactly-once delivery."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.push.request import PUSHABLE, PushRequest
from pipelines.push.resolve import LOOKUP_DELAYS
from pipelines.push.run import push
from pipelines.sandbox import Contents, Fault, Store
from pipelines.sandbox.http.service import Service
from sources.insightly import ENTITIES
from sources.insightly.errors import BadSetting
from tests.support.crm import OPEN, Crm
from tests.support.process import command, reach
from tests.support.push import (
    add_referenced,
    csv,
    ids,
    jsonl,
    named,
    people,
    planned,
    problems,
    pushed,
    results,
    sample,
    sent,
)

RECORDS = [name for name in PUSHABLE if name != "tags"]
MakeCrm = Callable[..., Crm]


@pytest.fixture
def crm(synced_crm: Crm) -> Crm:
    return synced_crm


@pytest.fixture
def bodies(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The bodies of PUT requests for records."""
    seen, answer = list[Any](), Service.answer

    def spy(service: Service, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Any:
        if method == "PUT" and not target.endswith("/Tags"):
            seen.append(json.loads(body))
        return answer(service, method, target, headers, body)

    monkeypatch.setattr(Service, "answer", spy)
    return seen


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.push.execute.time.sleep", lambda seconds: None)


# Every operation on every entity


@pytest.mark.everywhere("postgres")
@pytest.mark.sample(2)
@pytest.mark.parametrize("entity", RECORDS)
def test_push_creates_updates_and_deletes_records(make_crm: MakeCrm, bodies: list[Any], entity: str) -> None:
    crm = make_crm(contents=Contents())
    store, key = crm.sandbox.store, ENTITIES[entity].key[0]
    row, other, parent = sample(entity), sample(entity, 1), dict[str, Any]()
    add_referenced(store, entity, row, other)
    if entity == "notes":
        lead = store.create("leads", {"LAST_NAME": "Parent"})["LEAD_ID"]
        parent = {"parent_type": "Lead", "parent_id": lead}

    source = jsonl(crm, [row | parent, other | parent])
    planned_calls = planned(crm, entity, source, "create")["calls"]
    report = pushed(crm, entity, source, "create")
    # The response with the account has the service's time too.
    assert report.calls == planned_calls - 1
    assert results(report) == {"created": 2}
    first, second = ids(crm, entity)
    for id_, expected in ((first, row), (second, other)):
        record = store.get(entity, id_) or {}
        assert {name: record[name] for name in expected} == expected
        linked = [(link["LINK_OBJECT_NAME"], link["LINK_OBJECT_ID"]) for link in record.get("LINKS", ())]
        assert linked == ([("Lead", parent["parent_id"])] if parent else [])
    crm.assert_equal(entity)

    snake = {name.lower(): value for name, value in {**row, key: second}.items()}
    op, created = ("upsert", [row | parent]) if entity in ("notes", "products") else ("update", [])
    source = jsonl(crm, [snake, {**row, key: first}, *created])
    planned_calls = planned(crm, entity, source, op)["calls"]
    report = pushed(crm, entity, source, op)
    assert planned_calls - 3 <= report.calls <= planned_calls
    assert results(report) == {"updated": 1, "unchanged": 1} | ({"created": 1} if created else {})
    assert bodies == [{key: second, **{name: value for name, value in row.items() if value != other[name]}}]
    crm.assert_equal(entity)

    report = pushed(crm, entity, jsonl(crm, [{key: first}, {key: second}]), "delete")
    assert (results(report), report.entities[entity].deleted) == ({"deleted": 2}, 2)
    assert not {first, second} & set(ids(crm, entity))
    marked = crm.read(f"select {key} as id from insightly.{entity} where _deleted_at is not null order by 1")
    assert [row["id"] for row in marked] == [first, second]


@pytest.mark.everywhere("postgres")
def test_push_adds_sets_and_removes_tags(crm: Crm) -> None:
    store = crm.sandbox.store
    a, b = ids(crm, "contacts")[:2]
    lead = next(row["LEAD_ID"] for row in store.rows("leads") if row["TAGS"])

    def tags(entity: str, id_: int) -> set[str]:
        return {tag["TAG_NAME"] for tag in (store.get(entity, id_) or {})["TAGS"]}

    before = tags("contacts", a)
    rows = f"record_type,record_id,tag_name\ncontacts,{a},new one\nContact,{b},new one\nleads,{lead},hot\n"
    planned_calls = planned(crm, "tags", csv(crm, rows), "create")["calls"]
    report = pushed(crm, "tags", csv(crm, rows), "create")
    # A copied file stores another host, so the push reads the account once more.
    account = sum(call.path == "/Instance" for call in crm.sandbox.log)
    assert (results(report), report.calls) == ({"created": 3}, planned_calls + account)
    assert tags("contacts", a) == before | {"new one"}
    assert "hot" in tags("leads", lead)
    crm.assert_equal("contacts", "leads", "tags")

    rows = f"record_type,record_id,tag_name\ncontacts,{a},x\nleads,{lead},hot\ncontacts,{a},y\n"
    assert results(pushed(crm, "tags", csv(crm, rows), "update")) == {"updated": 3}
    assert (tags("contacts", a), tags("leads", lead)) == ({"x", "y"}, {"hot"})

    rows = f"record_type,record_id,tag_name\ncontacts,{a},x\ncontacts,{a},unknown\n"
    assert results(pushed(crm, "tags", csv(crm, rows), "delete")) == {"deleted": 1, "unchanged": 1}
    assert tags("contacts", a) == {"y"}
    crm.assert_equal("contacts", "leads", "tags")


def test_setting_tags_removes_others_even_if_the_api_keeps_them(make_crm: MakeCrm) -> None:
    crm = make_crm(switches=replace(OPEN, put_collections="merge"))
    id_ = ids(crm, "contacts")[0]
    crm.sandbox.store.set_tags("contacts", id_, ["old", "kept"])
    pushed(crm, "tags", jsonl(crm, [{"record_type": "contacts", "record_id": id_, "tag_name": "kept"}]), "update")
    assert (crm.sandbox.store.get("contacts", id_) or {})["TAGS"] == [{"TAG_NAME": "kept"}]


# Custom fields, and values


def test_custom_fields_are_checked_by_their_definitions(crm: Crm, bodies: list[Any]) -> None:
    store = crm.sandbox.store
    store.define("CONTACT", "Favourite_Colour__c", "TEXT")
    store.define("CONTACT", "Size__c", "NUMERIC")
    source = jsonl(crm, [{"first_name": "Ann", "favourite_colour__c": "red", "Size__c": "4.5"}])
    pushed(crm, "contacts", source, "create")
    id_ = ids(crm, "contacts")[-1]
    stored = {e["FIELD_NAME"]: e["FIELD_VALUE"] for e in (store.get("contacts", id_) or {})["CUSTOMFIELDS"]}
    assert stored == {"Favourite_Colour__c": "red", "Size__c": 4.5}
    (row,) = crm.read(f"select size__c, favourite_colour__c from insightly.contacts where contact_id = {id_}")
    assert (float(row["size__c"]), row["favourite_colour__c"]) == (4.5, "red")

    pushed(crm, "contacts", jsonl(crm, [{"contact_id": id_, "favourite_colour__c": "red", "size__c": 5}]), "update")
    assert bodies == [{"CONTACT_ID": id_, "CUSTOMFIELDS": [{"FIELD_NAME": "Size__c", "FIELD_VALUE": 5}]}]

    source = jsonl(crm, [{"first_name": "Bob", "size__c": "large"}, {"first_name": "Cy", "sise__c": 1}])
    report = pushed(crm, "contacts", source, "create", code=1)
    assert "size__c large is not a number" in problems(report)
    assert "sise__c is not a field of contacts; did you mean Size__c?" in problems(report)


def test_all_custom_fields_are_sent_if_the_api_drops_the_others(make_crm: MakeCrm) -> None:
    crm = make_crm(switches=replace(OPEN, put_custom_fields="replace"))
    store = crm.sandbox.store
    for name in ("A__c", "B__c"):
        store.define("CONTACT", name, "TEXT")
    both = [{"FIELD_NAME": name, "FIELD_VALUE": "old", "CUSTOM_FIELD_ID": name} for name in ("A__c", "B__c")]
    created = [store.create("contacts", {"FIRST_NAME": "Ann", "CUSTOMFIELDS": both})["CONTACT_ID"] for _ in range(2)]
    pushed(crm, "contacts", jsonl(crm, [{"contact_id": id_, "a__c": "new"} for id_ in created]), "update")
    for id_ in created:
        stored = {e["FIELD_NAME"]: e["FIELD_VALUE"] for e in (store.get("contacts", id_) or {})["CUSTOMFIELDS"]}
        assert stored == {"A__c": "new", "B__c": "old"}
    assert len(sent(crm)) == 3


@pytest.mark.everywhere("postgres")
def test_null_clears_a_field_but_an_empty_csv_cell_does_not(crm: Crm) -> None:
    id_ = crm.sandbox.store.create("contacts", {"FIRST_NAME": "Ann", "PHONE": "1", "TITLE": "Dr"})["CONTACT_ID"]
    pushed(crm, "contacts", csv(crm, f"contact_id,phone,title\n{id_},,Prof\n"), "update")
    cleared = jsonl(crm, [{"contact_id": id_, "phone": None}])
    assert planned(crm, "contacts", cleared, "update")["clears"] == {"PHONE": 1}
    assert (crm.sandbox.store.get("contacts", id_) or {})["PHONE"] == "1"
    pushed(crm, "contacts", cleared, "update")
    stored = crm.sandbox.store.get("contacts", id_) or {}
    assert (stored["PHONE"], stored["TITLE"]) == (None, "Prof")


# Where rows come from


@pytest.mark.everywhere("postgres")
def test_push_reads_parquet_tables_and_queries(crm: Crm) -> None:
    table = pa.table({"first_name": ["Ann"], "date_of_birth": [datetime(1990, 5, 4)], "organisation_id": [7.0]})
    pq.write_table(table, crm.folder / "rows.parquet")
    add_referenced(crm.sandbox.store, "contacts", {"ORGANISATION_ID": 7})
    pushed(crm, "contacts", str(crm.folder / "rows.parquet"), "create")
    (contact,) = named(crm, "Ann")
    assert (contact["DATE_OF_BIRTH"], contact["ORGANISATION_ID"]) == ("1990-05-04 00:00:00", 7)

    query = "select contact_id, 'queried' as title, _deleted_at from contacts where first_name = 'Ann'"
    assert results(pushed(crm, "contacts", query, "update")) == {"updated": 1}
    assert named(crm, "Ann")[0]["TITLE"] == "queried"

    crm.change(f"create table insightly.fixes as select {contact['CONTACT_ID']} as contact_id, 'kept' as title")
    assert results(pushed(crm, "contacts", "fixes", "update")) == {"updated": 1}
    assert named(crm, "Ann")[0]["TITLE"] == "kept"


@pytest.mark.everywhere("postgres")
def test_query_can_change_nothing(crm: Crm) -> None:
    crm.change("create sequence insightly.ids")
    writes = {
        "select 1 as contact_id; drop table insightly.leads": "2 statements",
        "with gone as (delete from insightly.leads returning lead_id) select * from gone": "a DELETE",
        "select 1 as contact_id into insightly.copies": "an? INTO",
        "from insightly.leads; select 1": "2 statements",
        "select 'unclosed": "not one SELECT",
        "select nextval('insightly.ids') as contact_id": "(?i)read.only",
    }
    before = crm.count("leads")
    for query, message in writes.items():
        with pytest.raises(BadSetting, match=message):
            planned(crm, "contacts", query, "delete")
        with pytest.raises(BadSetting, match=message):
            pushed(crm, "contacts", query, "delete")
    assert crm.count("leads") == before
    # The transaction of a query ends with it: the ledger is written afterwards.
    pushed(crm, "contacts", "select first_name, 'x' as title from contacts order by 1 limit 1; -- one", "create")
    assert len(sent(crm)) == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.csv", "no such file"),
        ("rows.xlsx", "must be .csv"),
        ("no_such_table", "there is no such file; the destination says"),
        ("select nothing from contacts", "the destination says"),
        ("broken.jsonl", "cannot be read"),
    ],
)
def test_unreadable_source_is_refused_before_a_write(crm: Crm, source: str, message: str) -> None:
    (crm.folder / "rows.xlsx").write_text("?")
    (crm.folder / "broken.jsonl").write_text("{")
    path = crm.folder / source
    with pytest.raises(BadSetting, match=message):
        pushed(crm, "contacts", str(path) if path.exists() or "." in source else source, "create")
    assert sent(crm) == []


# Checked and planned before anything is sent


def test_invalid_row_stops_the_push_before_a_write(crm: Crm) -> None:
    source = jsonl(crm, [*people("Ann"), {"FIRST_NAME": "Bob", "PHONE": 5}, {"LAST_NAME": "Lee"}, *people("Cy")])
    report = pushed(crm, "contacts", source, "create", code=1)
    assert sent(crm) == []
    assert problems(report) == "2: PHONE 5 is not a text\n3: FIRST_NAME is missing"
    assert planned(crm, "contacts", source, "create", code=1)["invalid"] == 2

    assert planned(crm, "contacts", source, "create", skip_invalid=True)["actions"] == {"create": 2}
    assert results(pushed(crm, "contacts", source, "create", skip_invalid=True)) == {"created": 2}
    assert len(sent(crm)) == 2


@pytest.mark.parametrize(
    ("entity", "op", "match"),
    [
        ("users", "update", None),
        ("nothing", "create", None),
        ("tags", "upsert", None),
        ("contacts", "create", "email_address"),
        ("contacts", "upsert", "nickname"),
        ("contacts", "upsert", "date_updated_utc"),
    ],
)
def test_invalid_request_is_refused(crm: Crm, entity: str, op: str, match: str | None) -> None:
    with pytest.raises(BadSetting):
        pushed(crm, entity, jsonl(crm, people("Ann")), op, match=match)
    assert sent(crm) == []


# Nothing twice


@pytest.mark.everywhere("postgres")
def test_finished_push_sends_nothing_without_again(crm: Crm) -> None:
    crm.sandbox.store.define("CONTACT", "Hobby_2__c", "TEXT")
    source = jsonl(crm, [{**people("Ann")[0], "Hobby_2__c": "chess"}])
    pushed(crm, "contacts", source, "create")
    (finished,) = crm.read("select finished_at from insightly._push_log")
    report = pushed(crm, "contacts", source, "create")
    assert crm.sandbox.log == []
    facts = report.entities["contacts"].facts["push"]
    assert facts["already_done_at"] == f"{finished['finished_at']:%Y-%m-%dT%H:%M:%SZ}"
    assert f"already done at {facts['already_done_at']}" in (report.entities["contacts"].reason or "")
    assert (results(report), report.entities["contacts"].rows) == ({"created": 1}, 1)
    assert planned(crm, "contacts", source, "create")["already_pushed"] == 1
    assert results(pushed(crm, "contacts", source, "create", again=True)) == {"created": 1}
    assert len(named(crm, "Ann")) == 2
    log = crm.read("select attempt, status, intent_at from insightly._push_log order by 1")
    assert [(row["attempt"], row["status"]) for row in log] == [(1, "done"), (2, "done")]
    # The intent has the service's time, as the creation times of records have.
    assert abs((log[-1]["intent_at"] - crm.clock.now).total_seconds()) < 60
    assert results(pushed(crm, "contacts", source, "create")) == {"created": 1}
    assert crm.sandbox.log == []
    printed = command(
        *f"push contacts {source} --op create".split(), *crm.arguments(), cwd=crm.folder, **reach(crm.sandbox)
    )
    assert (printed.code, "contacts: already done at 20" in printed.out) == (0, True)


def test_finished_push_with_skipped_rows_is_done_only_if_they_are_skipped(crm: Crm) -> None:
    source = jsonl(crm, [*people("Ann"), {"LAST_NAME": "Lee"}])
    pushed(crm, "contacts", source, "create", skip_invalid=True)
    report = pushed(crm, "contacts", source, "create", skip_invalid=True)
    assert report.entities["contacts"].facts["push"]["already_done_at"] is not None
    assert "FIRST_NAME is missing" in (pushed(crm, "contacts", source, "create", code=1).reason or "")
    assert crm.sandbox.log == []


@pytest.mark.everywhere("postgres")
def test_push_resumes_after_its_budget_is_spent(crm: Crm) -> None:
    names = ("Ann", "Bob", "Cy", "Dan")
    source, codes = jsonl(crm, people(*names)), list[int]()
    while not codes or codes[-1] == 3:
        crm.clock.advance()
        report = push(crm.settings(max_calls=4), crm.target, PushRequest("contacts", source, "create"))
        assert report.calls <= 4
        codes.append(report.exit_code)
    assert codes[-1] == 0
    assert len(codes) > 2
    assert [len(named(crm, name)) for name in names] == [1, 1, 1, 1]
    stored = crm.read(f"select first_name from insightly.contacts where first_name in {names} order by 1")
    assert [row["first_name"] for row in stored] == list(names)


@pytest.mark.everywhere("postgres")
def test_create_without_response_is_found_and_not_repeated(crm: Crm) -> None:
    crm.sandbox.store.create("contacts", people("Bob")[0])  # an older record
    crm.clock.advance()
    crm.sandbox.faults.add(Fault("cut", "Contacts", "POST", nth=2))
    report = pushed(crm, "contacts", jsonl(crm, people("Ann", "Bob", "Cy")), "create")
    assert results(report) == {"created": 3}
    assert [len(named(crm, name)) for name in ("Ann", "Bob", "Cy")] == [1, 2, 1]
    assert len(sent(crm, "POST")) == 3


def test_failed_create_is_looked_up_and_sent_again(crm: Crm) -> None:
    crm.sandbox.store.define("CONTACT", "Hobby_2__c", "TEXT")
    crm.sandbox.faults.add(Fault("503", "Contacts", "POST"))
    assert results(pushed(crm, "contacts", jsonl(crm, people("Ann")), "create")) == {"created": 1}
    assert len(named(crm, "Ann")) == 1
    methods = [call.method for call in crm.sandbox.log if call.path.startswith("/Contacts")]
    assert methods == ["POST", *["GET"] * (1 + len(LOOKUP_DELAYS)), "POST", "GET"]


def test_create_completed_after_a_504_is_not_repeated(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway returns 504 before the service completes the create."""
    crm.sandbox.faults.add(Fault("504", "Contacts", "POST"))
    slept = list[float]()

    def write_late(seconds: float) -> None:
        slept.append(seconds)
        if sum(slept) > 15 and not named(crm, "Ann"):
            crm.sandbox.store.create("contacts", people("Ann")[0])

    monkeypatch.setattr("pipelines.push.resolve.time.sleep", write_late)
    source = jsonl(crm, people("Ann"))
    assert results(pushed(crm, "contacts", source, "create")) == {"created": 1}
    assert len(named(crm, "Ann")) == 1


@pytest.mark.parametrize("guarded", [False, True])
def test_deleting_a_missing_record_marks_its_row(crm: Crm, guarded: bool) -> None:
    key = ids(crm, "contacts")[0]
    crm.sandbox.store.delete("contacts", key)
    since = datetime(2100, 1, 1, tzinfo=UTC) if guarded else None
    report = pushed(crm, "contacts", jsonl(crm, [{"CONTACT_ID": key}]), "delete", unchanged_since=since)
    assert (results(report), report.entities["contacts"].deleted) == ({"missing": 1}, 1)
    crm.assert_equal("contacts", deleted=True)


def test_missing_list_is_not_a_deletion(crm: Crm) -> None:
    key = ids(crm, "contacts")[0]
    crm.sandbox.faults.add(Fault("missing", "Contacts*", times=None))
    assert results(pushed(crm, "contacts", jsonl(crm, [{"CONTACT_ID": key}]), "delete", code=1)) == {"failed": 1}


def test_create_with_several_candidates_is_unknown(crm: Crm) -> None:
    def twin(store: Store) -> None:
        store.create("contacts", people("Bob")[0])

    crm.sandbox.faults.add(Fault("call", "Contacts", "POST", nth=2, action=twin), Fault("reset", "Contacts", "POST", 2))
    source = jsonl(crm, people("Ann", "Bob", "Cy"))
    report = pushed(crm, "contacts", source, "create", code=1)
    assert results(report) == {"created": 2, "unknown": 1}
    assert "2 records match it" in problems(report)
    assert len(named(crm, "Bob")) == 2
    repeated = pushed(crm, "contacts", source, "create", code=1)
    assert "line 2: unknown: sent without a response" in (repeated.reason or "")
    assert crm.sandbox.log == []
    assert len(named(crm, "Bob")) == 2


@pytest.mark.sample(1)
@pytest.mark.parametrize("trouble", ["forbidden", "400", "object"])
def test_create_stays_pending_if_its_lookup_fails(crm: Crm, trouble: str) -> None:
    crm.sandbox.faults.add(
        Fault("reset", "Contacts", "POST", nth=2), Fault(trouble, "Contacts/Search", "GET", times=None)
    )
    source = jsonl(crm, people("Ann", "Bob", "Cy"))
    report = pushed(crm, "contacts", source, "create", code=1)
    assert results(report) == {"created": 2, "open": 1}
    assert "2: pending: sent without a response" in problems(report)
    assert results(pushed(crm, "contacts", source, "create", code=1)) == {"created": 2, "open": 1}
    crm.sandbox.faults.clear()
    assert results(pushed(crm, "contacts", source, "create")) == {"created": 3}
    assert not sent(crm)
    assert [len(named(crm, name)) for name in ("Ann", "Bob", "Cy")] == [1, 1, 1]


def test_equal_rows_create_a_record_each_without_responses(crm: Crm) -> None:
    crm.sandbox.faults.add(Fault("reset", "Contacts", "POST", nth=2, times=2))
    report = pushed(crm, "contacts", jsonl(crm, people("Ann", "Ann", "Ann")), "create")
    assert results(report) == {"created": 3}
    assert len(named(crm, "Ann")) == 3


@pytest.mark.parametrize(("op", "method"), [("update", "PUT"), ("delete", "DELETE")])
def test_update_or_delete_without_response_is_not_repeated(crm: Crm, op: str, method: str) -> None:
    key = ids(crm, "contacts")[0]
    crm.sandbox.faults.add(Fault("reset", "Contacts*", method))
    report = pushed(crm, "contacts", jsonl(crm, [{"CONTACT_ID": key, "TITLE": "lost"}]), op)
    assert results(report) == {f"{op}d": 1}
    assert len(sent(crm)) == 1
    crm.assert_equal("contacts", deleted=True)


def test_push_resumes_after_the_service_was_down(crm: Crm) -> None:
    source = jsonl(crm, people("Ann", "Bob"))
    crm.sandbox.faults.add(Fault("502", "Contacts", "POST", nth=2, times=None))
    report = pushed(crm, "contacts", source, "create", code=1)
    assert "502" in (report.reason or "")
    crm.sandbox.faults.clear()
    assert results(pushed(crm, "contacts", source, "create")) == {"created": 2}
    assert [len(named(crm, name)) for name in ("Ann", "Bob")] == [1, 1]


def test_push_of_fixed_rows_names_the_unfinished_one(crm: Crm) -> None:
    """Other content is another push. Rows of the first push that are in it too are created a second time."""
    crm.sandbox.faults.add(Fault("400", "Contacts", "POST", nth=2))
    pushed(crm, "contacts", jsonl(crm, people("Ann", "Bob")), "create", code=1)
    crm.sandbox.faults.clear()
    first = planned(crm, "contacts", jsonl(crm, people("Ann", "Bob")), "create")
    assert (first["earlier"], first["already_pushed"]) == (None, 1)
    fixed = planned(crm, "contacts", jsonl(crm, people("Bobby")), "create")
    assert fixed["earlier"] == {"push_id": first["push_id"], "done": 1, "open": 1}
    printed = command(
        *(f"push contacts {crm.folder}/rows.jsonl --op create --dry-run".split()),
        *crm.arguments(),
        cwd=crm.folder,
        **reach(crm.sandbox),
    )
    assert f"push {first['push_id']} of other rows is unfinished: 1 done, 1 left" in printed.out
    pushed(crm, "contacts", jsonl(crm, people("Bobby")), "create")
    assert planned(crm, "contacts", jsonl(crm, people("Cy")), "create")["earlier"] is None


@pytest.mark.everywhere("postgres")
def test_refused_row_fails_alone_and_the_next_run_retries_it(crm: Crm) -> None:
    source = jsonl(crm, people("Ann", "Bob", "Cy"))
    crm.sandbox.faults.add(Fault("400", "Contacts", "POST", nth=2))
    report = pushed(crm, "contacts", source, "create", code=1)
    assert results(report) == {"created": 2, "failed": 1}
    assert "2: failed: POST /Contacts: 400" in problems(report)
    assert results(pushed(crm, "contacts", source, "create")) == {"created": 3}
    assert sent(crm) == [("POST", "/Contacts")]


def test_push_ends_after_twenty_failed_rows_in_a_row(crm: Crm) -> None:
    crm.sandbox.faults.add(Fault("forbidden", "Contacts", "POST", times=None))
    report = pushed(crm, "contacts", jsonl(crm, people(*(f"N{n}" for n in range(40)))), "create", code=1)
    assert "20 rows in a row" in (report.reason or "")
    assert len(sent(crm)) == 20


def test_exhausted_quota_stops_the_push_before_a_row(crm: Crm) -> None:
    crm.sandbox.faults.add(Fault("daily", "Contacts", "POST", nth=2))
    source = jsonl(crm, people("Ann", "Bob"))
    pushed(crm, "contacts", source, "create", code=3)
    assert results(pushed(crm, "contacts", source, "create")) == {"created": 2}
    assert [len(named(crm, name)) for name in ("Ann", "Bob")] == [1, 1]


# Found by a field, guarded against others' edits


def test_upsert_by_a_field_updates_or_creates(crm: Crm) -> None:
    id_ = crm.sandbox.store.create("contacts", people("Ann")[0])["CONTACT_ID"]
    rows = [{**row, "TITLE": "matched"} for row in people("Ann", "Bob")]
    report = pushed(crm, "contacts", jsonl(crm, rows), "upsert", match="email_address")
    assert results(report) == {"created": 1, "updated": 1}
    assert [row["CONTACT_ID"] for row in named(crm, "Ann")] == [id_]
    assert len(named(crm, "Bob")) == 1


def test_upsert_creates_if_a_search_answers_404_for_no_record(make_crm: MakeCrm) -> None:
    crm = make_crm(switches=replace(OPEN, search_none="404"))
    crm.sandbox.store.create("contacts", people("Ann")[0])
    report = pushed(crm, "contacts", jsonl(crm, people("Ann", "Bob")), "upsert", match="email_address")
    assert results(report) == {"unchanged": 1, "created": 1}
    crm.sandbox.faults.add(Fault("missing", "Contacts/Search", times=None))
    report = pushed(crm, "contacts", jsonl(crm, people("Cy")), "upsert", code=1, match="email_address")
    assert (results(report), named(crm, "Cy")) == ({"failed": 1}, [])


def test_match_finds_what_it_compares_and_writes_no_blanks(crm: Crm) -> None:
    store = crm.sandbox.store
    store.create("contacts", people("Ann")[0])
    store.create("contacts", {"FIRST_NAME": "Cy", "EMAIL_ADDRESS": "cy@example.com "})
    for number, written in enumerate(("ann@example.com ", " Ann@Example.com", "cy@example.com ", " bob@example.com ")):
        name = written.strip()[:-12].title()
        source = jsonl(crm, [{"EMAIL_ADDRESS": written, "FIRST_NAME": name, "TITLE": f"matched {number}"}])
        calls = planned(crm, "contacts", source, "upsert", match="email_address")["calls"]
        report = pushed(crm, "contacts", source, "upsert", match="email_address")
        assert (results(report), report.calls <= calls) == ({"created" if name == "Bob" else "updated": 1}, True)
        (contact,) = named(crm, name)
        stored = "cy@example.com " if name == "Cy" else written.strip().lower()
        assert (contact["TITLE"], contact["EMAIL_ADDRESS"]) == (f"matched {number}", stored)


def test_match_by_a_field_of_several_records_fails(crm: Crm) -> None:
    for _ in range(2):
        crm.sandbox.store.create("contacts", people("Ann")[0])
    report = pushed(crm, "contacts", jsonl(crm, people("Ann")), "upsert", code=1, match="EMAIL_ADDRESS")
    assert "2 records have this EMAIL_ADDRESS" in problems(report)
    rows = [{"email_address": "nobody@example.com"}]
    report = pushed(crm, "contacts", jsonl(crm, rows), "delete", code=1, match="EMAIL_ADDRESS")
    assert "no record has this EMAIL_ADDRESS" in problems(report)
    assert sent(crm) == []


@pytest.mark.everywhere("postgres")
@pytest.mark.sample(1)
@pytest.mark.parametrize("etag", [False, True])
def test_record_edited_later_is_not_overwritten(make_crm: MakeCrm, etag: bool) -> None:
    crm = make_crm(switches=replace(OPEN, etag=etag))
    store = crm.sandbox.store
    unchanged, edited, racing = ids(crm, "contacts")[:3]
    since = crm.clock.now
    crm.clock.advance()
    store.update("contacts", edited, {"TITLE": "edited"})
    if etag:
        # Another user edits the record after the push read it and before the push writes it.
        edit = partial(Store.update, entity="contacts", key=racing, fields={"TITLE": "edited"})
        crm.sandbox.faults.add(Fault("call", "Contacts", "PUT", nth=2, action=edit))
    rows = [{"CONTACT_ID": key, "TITLE": "pushed"} for key in (unchanged, edited, racing)]
    report = pushed(crm, "contacts", jsonl(crm, rows), "update", code=1, unchanged_since=since)
    titles = [(store.get("contacts", key) or {})["TITLE"] for key in (unchanged, edited, racing)]
    assert titles == ["pushed", "edited", "edited" if etag else "pushed"]
    assert f"after --if-unchanged-since {since:%Y-%m-%dT%H:%M:%SZ}" in problems(report)
    report = pushed(crm, "contacts", jsonl(crm, [{"CONTACT_ID": edited}]), "delete", code=1, unchanged_since=since)
    assert store.get("contacts", edited)


@pytest.mark.parametrize("date", ["", "0000-00-00 00:00:00", "2026-02-30 10:00:00", "24/12/2025 10:00"])
def test_record_whose_date_is_no_time_is_not_overwritten(crm: Crm, date: str) -> None:
    key, other = ids(crm, "contacts")[:2]
    store = crm.sandbox.store
    store.put_raw("contacts", {**(store.get("contacts", key) or {}), "DATE_UPDATED_UTC": date})
    rows = [{"CONTACT_ID": id_, "TITLE": "pushed"} for id_ in (key, other)]
    report = pushed(crm, "contacts", jsonl(crm, rows), "update", code=1, unchanged_since=crm.clock.now)
    assert results(report) == {"updated": 1, "failed": 1}
    assert f"1: failed: has the DATE_UPDATED_UTC {date}, which is not a time" in problems(report)


def test_create_stays_pending_if_the_time_of_a_match_is_unknown(crm: Crm) -> None:
    def damage(store: Store) -> None:
        (ann,) = named(crm, "Ann")
        store.put_raw("contacts", {**ann, "DATE_CREATED_UTC": "24/12/2025 10:00"})

    crm.sandbox.faults.add(Fault("reset", "Contacts", "POST"))
    crm.sandbox.faults.add(Fault("call", "Contacts/Search", "GET", action=damage))
    source = jsonl(crm, people("Ann"))
    report = pushed(crm, "contacts", source, "create", code=1)
    assert results(report) == {"open": 1}
    assert "but the DATE_CREATED_UTC 24/12/2025 10:00, which is not a time" in problems(report)
    assert len(named(crm, "Ann")) == 1


# The command


def test_command_requires_confirmation_of_deletes(crm: Crm) -> None:
    key = ids(crm, "contacts")[0]
    source = csv(crm, f"contact_id\n{key}\n")
    base = ["push", "contacts", source, "--op", "delete", *crm.arguments(), "--json"]
    ran = command(*base, cwd=crm.folder, **reach(crm.sandbox))
    assert ran.code == 2
    assert "--yes" in ran.json["reason"]
    assert sent(crm) == []
    ran = command(*base, "--yes", cwd=crm.folder, **reach(crm.sandbox))
    assert (ran.code, ran.json["status"]) == (0, "done")
    assert ran.json["entities"]["contacts"]["push"]["results"]["deleted"] == 1
    assert key not in ids(crm, "contacts")


def test_command_shows_the_plan_and_invalid_rows(make_crm: MakeCrm) -> None:
    crm = make_crm()
    source = csv(crm, "first_name,phnoe\nAnn,1\n")
    arguments = ["push", "contacts", source, "--op", "create", "--dry-run", *crm.arguments()]
    ran = command(*arguments, cwd=crm.folder, **reach(crm.sandbox))
    assert ran.code == 1
    assert "row 2: phnoe is not a field of contacts; did you mean PHONE?" in ran.out
    assert crm.sandbox.log == []
    assert not crm.made()
    ran = command(*arguments, "--if-unchanged-since", "soon", cwd=crm.folder, **reach(crm.sandbox))
    assert (ran.code, "--if-unchanged-since" in ran.err) == (2, True)
