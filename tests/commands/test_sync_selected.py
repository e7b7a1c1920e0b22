"""Selected records over HTTP, by a field's value or by id; no watermark or checkpoint moves."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.commands.sweep import sweep
from pipelines.destinations.pipeline_state import resource_states
from pipelines.sandbox import Fault
from sources.insightly import ENTITIES
from tests.support.commands import refreshed
from tests.support.crm import OPEN, Crm
from tests.support.expected import Row, normalize
from tests.support.process import command, reach

MakeCrm = Callable[..., Crm]
SEARCHED = ("contacts", "events", "leads", "opportunities", "organisations", "projects", "tasks")
GOT = (*SEARCHED, "notes", "pipelines", "pipeline_stages", "products", "users")


@contextmanager
def nothing_moved(crm: Crm, *entities: str) -> Iterator[None]:
    """Checkpoints, watermarks and the other state of the resources stay as they are."""

    def kept() -> dict[str, Any]:
        states = resource_states(crm.target.pipeline())
        known = {name: dict(states.get(name, {})) for name in entities}
        for state in known.values():
            state.pop("custom_fields", None)
            if not state.get("incremental", {}).get("DATE_UPDATED_UTC", {}).get("last_value"):
                state.pop("incremental", None)
        return known

    before = kept()
    yield
    assert kept() == before


def ids_of(crm: Crm, entity: str) -> list[int]:
    return list(crm.sandbox.store.tables[entity].keys)


def change(crm: Crm, entity: str, key: int, **fields: Any) -> None:
    """Changes a record without its date, so no sync reads it."""
    crm.sandbox.store.put_raw(entity, {**(crm.sandbox.store.get(entity, key) or {}), **fields})


def row_of(crm: Crm, entity: str, key: int) -> Row:
    (row,) = crm.read(f'select * from insightly."{entity}" where {normalize(ENTITIES[entity].key[0])} = {key}')
    return row


def ledger(crm: Crm) -> list[tuple[str, int, str, bool]]:
    rows = crm.read("select entity, record_id, reason, restored_at from insightly.deletions order by 1, 2")
    return [(row["entity"], row["record_id"], row["reason"], row["restored_at"] is not None) for row in rows]


# By the value of a field


@pytest.mark.everywhere("postgres", "delta")
@pytest.mark.sample(0)
@pytest.mark.parametrize("custom", [False, True], ids=["standard", "custom"])
def test_search_reloads_its_rows_and_moves_no_watermark(crm: Crm, custom: bool) -> None:
    crm.first_sync(*SEARCHED)
    for entity in SEARCHED:
        facts = ENTITIES[entity]
        found, other = (crm.sandbox.store.get(entity, key) or {} for key in ids_of(crm, entity)[:2])
        usual = ("EMAIL_ADDRESS", "TITLE", "LAST_NAME", "OPPORTUNITY_NAME", "ORGANISATION_NAME", "PROJECT_NAME")
        name, value = next(field for field in usual if field in facts.fields), "a=b c@x.example"
        if custom:
            defined = next(row for row in crm.sandbox.store.definitions if row["FIELD_FOR"] == facts.field_for)
            name = defined["FIELD_NAME"]
            value = {"BIT": True, "NUMERIC": 12.5}.get(defined["FIELD_TYPE"], value)
            others = [entry for entry in found["CUSTOMFIELDS"] if entry["FIELD_NAME"] != name]
            entries = [{"FIELD_NAME": name, "FIELD_VALUE": value}, *others]
            change(crm, entity, found[facts.key[0]], CUSTOMFIELDS=entries)
        else:
            change(crm, entity, found[facts.key[0]], **{name: value})
        change(crm, entity, other[facts.key[0]], OWNER_USER_ID=424242)
        matching = [
            row
            for row in crm.sandbox.store.rows(entity)
            if value in (row.get(name), *(e["FIELD_VALUE"] for e in row["CUSTOMFIELDS"] if e["FIELD_NAME"] == name))
        ]
        with nothing_moved(crm, entity):
            report = refreshed(crm, entity, where=f"{normalize(name)}={str(value).lower() if value is True else value}")
        result = report.entities[entity]
        assert (result.rows, result.merged, result.deleted) == (len(matching), len(matching), 0)
        assert result.watermark == result.watermark_before is not None
        assert row_of(crm, entity, found[facts.key[0]])[normalize(name)] == value
        assert len(crm.sandbox.log) == 2  # the search, and the definitions
        if other[facts.key[0]] not in [row[facts.key[0]] for row in matching]:
            assert row_of(crm, entity, other[facts.key[0]]).get("owner_user_id") != 424242


@pytest.mark.sample(0)
@pytest.mark.parametrize(
    ("where", "count"),
    [
        ("date_created_utc={DATE_CREATED_UTC}", 1),
        ("DATE_OF_BIRTH=1980-02-29", 1),
        ("Contact_ID={CONTACT_ID}", 1),
        ("EMAIL_OPTED_OUT=TRUE", 1),
        ("first_name=nobody", 0),
    ],
)
def test_search_values_are_written_as_the_api_writes_them(crm: Crm, where: str, count: int) -> None:
    for key in ids_of(crm, "contacts"):
        change(crm, "contacts", key, EMAIL_OPTED_OUT=False)
    key = ids_of(crm, "contacts")[4]
    change(crm, "contacts", key, DATE_OF_BIRTH="1980-02-29 00:00:00", EMAIL_OPTED_OUT=True)
    record = crm.sandbox.store.get("contacts", key) or {}
    for none in ("empty", "404"):
        crm.sandbox.switches = replace(OPEN, search_none=none)
        assert refreshed(crm, "contacts", where=where.format_map(record)).entities["contacts"].rows == count


@pytest.mark.everywhere("postgres", "delta")
@pytest.mark.sample(0)
def test_search_of_several_pages_loads_child_rows(crm: Crm) -> None:
    crm.first_sync("contacts")
    for key in ids_of(crm, "contacts"):
        change(crm, "contacts", key, TITLE="Buyer", TAGS=[{"TAG_NAME": "seen"}])
    result = refreshed(crm, "contacts", where="title=buyer", page_size=10, chunk_calls=2).entities["contacts"]
    assert (result.state, result.rows) == ("ok", 0)  # letters' case counts in the sandbox
    planned = refreshed(crm, "contacts", where="title=Buyer", page_size=10, planned=True)
    report = refreshed(crm, "contacts", where="title=Buyer", page_size=10, chunk_calls=2)
    assert report.calls == planned.facts["plan"]["calls"]
    crm.assert_equal("contacts")


def test_unfiltered_search_response_is_an_error(crm: Crm) -> None:
    crm.first_sync("contacts")
    before = crm.table("contacts")
    for key in ids_of(crm, "contacts"):
        change(crm, "contacts", key, LAST_NAME="Other")
    crm.sandbox.switches = replace(OPEN, search_field="ignored")
    with nothing_moved(crm, "contacts"):
        result = refreshed(crm, "contacts", where="FIRST_NAME=Ada", code=1).entities["contacts"]
    assert (result.state, result.merged) == ("failed", 0)
    assert "did not filter" in str(result.reason)
    assert "Ada" not in str(result.reason)
    refreshed(crm, "contacts", where="FIRST_NAME=Ada", planned=True, code=1)
    assert crm.table("contacts") == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("contacts --where EMAIL=a@b.c", "EMAIL_ADDRESS"),
        ("contacts --where hoby__c=chess", "Hobby__c"),
        ("notes --where nonsense=1", "it has NOTE_ID, TITLE"),
        ("contacts --where EMAIL_ADDRESS", "FIELD=VALUE"),
        ("contacts --where EMAIL_ADDRESS=", "empty"),
        ("contacts --where DATE_OF_BIRTH=soon", "2026-01-31"),
        ("contacts --where email_opted_out=maybe", "true or false"),
        ("contacts --where contact_id=1.5", "whole number"),
        ("contacts --where contact_id=3.3E+08", "whole number"),
        ("contacts --where contact_id=1_234", "whole number"),
        ("contacts --where FIRST_NAME=A --where LAST_NAME=B", "once"),
        ("contacts --where FIRST_NAME=A --id 1", "--where"),
        ("contacts --where FIRST_NAME=A --full", "--full"),
        ("pipelines --where PIPELINE_NAME=A", "no search for pipelines"),
        ("contacts leads --id 1", "one entity"),
        ("--id 1", "one entity"),
        ("core --id 1", "one entity"),
        ("countries --id 1", "no single record"),
        ("contacts --id 1 x2", "whole number"),
        ("contacts --id 0", "whole number"),
    ],
)
def test_unsuitable_selection_is_refused_with_the_reason(
    crm: Crm, tmp_path: Path, arguments: str, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    from pipelines.cli.__main__ import main

    for name, value in reach(crm.sandbox).items():
        monkeypatch.setenv(name, value)
    assert main(["sync", *arguments.split(), "--database", str(tmp_path / "a.duckdb")]) == 2
    assert words in capsys.readouterr().err
    assert {call.path for call in crm.sandbox.log} <= {"/Instance", "/CustomFields/Contacts", "/CustomFields/Notes"}


# By id


@pytest.mark.sample(0)
def test_entities_with_a_get_are_read_by_id(make_crm: MakeCrm) -> None:
    crm = make_crm(scale=0.2)  # with two users
    crm.first_sync()
    for entity in GOT:
        keys = ids_of(crm, entity)[:2]
        field = next(name for name, facts in ENTITIES[entity].fields.items() if facts.type == "string")
        for key in keys:
            change(crm, entity, key, **{field: f"new {key}"})
        with nothing_moved(crm, *({entity} if ENTITIES[entity].read == "incremental" else ())):
            report = refreshed(crm, entity, ids=[*keys, keys[0]])
        result = report.entities[entity]
        assert (result.rows, result.merged, result.calls) == (2, 2, 2 + ENTITIES[entity].custom_fields)
        assert [row_of(crm, entity, key)[normalize(field)] for key in keys] == [f"new {key}" for key in keys]
    crm.sync_done("pipelines", "pipeline_stages")
    crm.assert_equal()


@pytest.mark.everywhere("postgres", "delta")
@pytest.mark.sample(1)
@pytest.mark.parametrize("mode", ["mark", "remove"])
def test_deleted_record_is_marked_and_a_reappeared_one_restored(crm: Crm, mode: str) -> None:
    crm.first_sync("contacts")
    here, gone, hidden = ids_of(crm, "contacts")[:3]
    row = crm.sandbox.store.get("contacts", gone) or {}
    crm.sandbox.store.delete("contacts", gone)
    crm.sandbox.faults.add(Fault("forbidden", match=f"Contacts/{hidden}", times=1))
    with nothing_moved(crm, "contacts"):
        report = refreshed(crm, "contacts", ids=[here, gone, hidden, 999_999], deletions=mode, code=1)
    result = report.entities["contacts"]
    assert (result.rows, result.deleted, result.state) == (1, 1, "failed")
    assert result.facts == {"gone": [gone], "not_loaded": [999_999], "hidden": [hidden], "not_read": []}
    assert str(hidden) in str(result.reason)
    assert ledger(crm) == [("contacts", gone, "deleted", False)]
    crm.assert_equal("contacts", deleted=mode == "mark")
    again = refreshed(crm, "contacts", ids=[gone], deletions=mode).entities["contacts"]
    assert (again.deleted, again.facts["not_loaded"], len(ledger(crm))) == (0, [gone], 1)
    crm.sandbox.store.put_raw("contacts", row)
    refreshed(crm, "contacts", ids=[gone], deletions=mode)
    assert ledger(crm) == [("contacts", gone, "deleted", True)]
    assert row_of(crm, "contacts", gone)["_deleted_at"] is None
    crm.assert_equal("contacts")


@pytest.mark.everywhere("postgres", "delta")
def test_row_of_a_replaced_list_is_removed_and_restored(crm: Crm) -> None:
    crm.first_sync("pipelines")
    key = ids_of(crm, "pipelines")[0]
    row = crm.sandbox.store.get("pipelines", key) or {}
    crm.sandbox.store.delete("pipelines", key)
    assert refreshed(crm, "pipelines", ids=[key]).entities["pipelines"].deleted == 1
    assert key not in [each["pipeline_id"] for each in crm.table("pipelines")]
    crm.sandbox.store.put_raw("pipelines", row)
    crm.sync_done("pipelines")  # the list is as it was when it was written last
    crm.assert_equal("pipelines")
    assert ledger(crm) == [("pipelines", key, "deleted", True)]


@pytest.mark.sample(1)
@pytest.mark.parametrize("kind", ["missing", "forbidden"])
def test_unavailable_collection_marks_nothing(crm: Crm, kind: str) -> None:
    crm.first_sync("contacts")
    crm.sandbox.switches = replace(OPEN, **{kind: frozenset({"contacts"})})
    result = refreshed(crm, "contacts", ids=ids_of(crm, "contacts")[:3], code=1).entities["contacts"]
    assert (result.deleted, ledger(crm)) == (0, [])


@pytest.mark.sample(0)
def test_many_ids_stop_at_max_calls_and_report_the_rest(make_crm: MakeCrm) -> None:
    crm = make_crm(scale=0.4)
    crm.first_sync("contacts")
    keys = ids_of(crm, "contacts")
    for key in keys:
        change(crm, "contacts", key, TITLE="Buyer")
    planned = refreshed(crm, "contacts", ids=keys, planned=True)
    assert (planned.facts["plan"]["calls"], planned.calls, crm.sandbox.log) == (len(keys) + 1, 0, [])
    few = refreshed(crm, "contacts", ids=keys, max_calls=20, code=3).entities["contacts"]
    assert (few.calls, few.rows) == (20, 19)
    stopped = refreshed(crm, "contacts", ids=keys, max_calls=150, code=3)
    left = stopped.entities["contacts"].facts["not_read"]
    assert (stopped.status, stopped.calls, stopped.entities["contacts"].rows + len(left)) == ("stopped", 150, len(keys))
    assert crm.read("select count(*) as n from insightly.contacts where title = 'Buyer'")[0]["n"] >= 149
    refreshed(crm, "contacts", ids=left)
    crm.assert_equal("contacts")


# Selections and syncs


@pytest.mark.sample(0)
def test_unfinished_walk_resumes_after_a_selection(crm: Crm) -> None:
    assert crm.sync("contacts", page_size=10, max_calls=4).exit_code == 3
    first, last = ids_of(crm, "contacts")[0], ids_of(crm, "contacts")[-1]
    change(crm, "contacts", first, TITLE="Buyer")
    with nothing_moved(crm, "contacts"):
        refreshed(crm, "contacts", ids=[first, last])
        refreshed(crm, "contacts", where="TITLE=Buyer")
    crm.sync_done("contacts", page_size=10)
    crm.assert_equal("contacts")


def test_first_sync_after_a_selection_reads_everything(crm: Crm) -> None:
    report = refreshed(crm, "contacts", ids=ids_of(crm, "contacts")[:1])
    assert (crm.count("contacts"), report.entities["contacts"].watermark) == (1, None)
    assert "_deleted_at" in crm.columns("contacts")
    crm.sync_done("contacts")
    crm.assert_equal("contacts")


def test_records_outside_of_start_date_are_not_loaded(crm: Crm) -> None:
    first, *_ = ids_of(crm, "contacts")
    change(crm, "contacts", first, DATE_UPDATED_UTC="2001-01-01 00:00:00")
    crm.first_sync("contacts", start_date="2002-01-01")
    result = refreshed(crm, "contacts", ids=[first], start_date="2002-01-01").entities["contacts"]
    assert (result.rows, "start_date" in result.schema_changes[0]) == (0, True)
    report = sweep(crm.settings(start_date="2002-01-01"), crm.target, ["contacts"])
    assert (report.exit_code, report.entities["contacts"].schema_changes) == (0, [])


@pytest.mark.sample(0)
def test_selection_is_reported_as_a_sync_but_is_no_fresh_sync(crm: Crm, tmp_path: Path) -> None:
    where = ("--json", *crm.arguments())
    key = ids_of(crm, "contacts")[0]
    ran = command("sync", "contacts", "--id", str(key), *where, cwd=tmp_path, **reach(crm.sandbox))
    assert (ran.code, ran.json["command"], ran.json["status"]) == (0, "sync", "done"), ran.err
    assert ran.json["entities"]["contacts"]["inserted_or_updated"] == 1
    stale = command("status", "contacts", "--max-age", "1h", *where, cwd=tmp_path, **reach(crm.sandbox))
    assert stale.code != 0
    checked = command("check", "--json", cwd=tmp_path, **reach(crm.sandbox)).json
    me = crm.sandbox.store.get("users", ids_of(crm, "users")[0]) or {}
    assert {name: checked["user"][name] for name in ("USER_ID", "EMAIL_ADDRESS", "ADMINISTRATOR")} == {
        name: me[name] for name in ("USER_ID", "EMAIL_ADDRESS", "ADMINISTRATOR")
    }
    assert {"OBJECT_TYPE", "CAN_READ", "CAN_CREATE", "CAN_EDIT", "CAN_DELETE"} <= set(
        checked["permissions"]["OBJECT_PERMISSIONS"][0]
    )
