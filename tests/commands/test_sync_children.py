"""Rows read per parent record, over HTTP: what is read, what it costs, what is deleted."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import dlt
import pytest

from pipelines.commands.plan import plan
from pipelines.commands.sweep import sweep
from pipelines.commands.sync_selected import selection
from pipelines.commands.verify import verify
from pipelines.destinations.target import Target
from pipelines.engine.report import Report
from pipelines.sandbox import Contents, Fault
from pipelines.sandbox.store.shapes import HISTORY
from pipelines.sandbox.store.table import dump
from sources.insightly import ENTITIES, insightly
from sources.insightly.errors import BadSetting
from sources.insightly.selection import PRESETS
from sources.insightly.state.request import ReadRequest
from tests.support.child_rows import (
    OWNER_COLUMNS,
    PARENTS,
    account_rows,
    add,
    add_child_rows,
    assert_equal,
    child_requests,
    count_rows,
    expected_rows,
    keys,
    live_rows,
)
from tests.support.crm import OPEN, Crm, isolated_crm
from tests.support.expected import SQL_TYPES, normalize
from tests.support.process import command, reach

MakeCrm = Callable[..., Crm]
SCALE = 0.01


@pytest.fixture
def crm(make_crm: MakeCrm, monkeypatch: pytest.MonkeyPatch) -> Crm:
    """An account of few records; each run is one chunk, because every chunk takes a while."""
    monkeypatch.setenv("SOURCES__INSIGHTLY__CHUNK_CALLS", "1000")
    made = make_crm(SCALE)
    add_child_rows(made.sandbox)
    return made


def planned(crm: Crm, *names: str, request: ReadRequest | None = None) -> Report:
    return plan(crm.settings(), Target(database=str(crm.database)), names, request or ReadRequest())


def swept(crm: Crm, *names: str, code: int = 0, force: bool = False, **settings: Any) -> Report:
    crm.clock.advance()
    crm.sandbox.reset_log()
    report = sweep(crm.settings(**settings), Target(database=str(crm.database)), names, force=force)
    assert report.exit_code == code, report.reason
    return report


def verified(crm: Crm, *names: str, code: int = 0, **how: bool) -> Report:
    crm.clock.advance()
    crm.sandbox.reset_log()
    report = verify(crm.settings(), Target(database=str(crm.database)), names, **how)
    assert report.exit_code == code, report.reason
    return report


def parents(crm: Crm, entity: str) -> int:
    return sum(len(keys(crm.sandbox, parent)) for parent in PARENTS[entity])


# The contract


def test_per_parent_entities_are_in_no_preset() -> None:
    assert {name: ENTITIES[name].read_parents for name in PARENTS} == PARENTS
    assert not PARENTS.keys() & {name for names in PRESETS.values() for name in names}


@dataclass
class Runs:
    """Two syncs of one account without a change in between, and the plan of each."""

    crm: Crm
    prices: list[Report]
    reports: list[Report]
    brief: set[str | None]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with isolated_crm(tmp_path_factory.mktemp("runs"), SCALE) as crm:
        add_child_rows(crm.sandbox)
        made = Runs(crm, [], [], set())
        for _ in range(2):
            made.prices.append(planned(crm, *PARENTS))
            made.reports.append(crm.sync_done(*PARENTS))
            made.brief |= {call.query.get("brief") for call in crm.sandbox.log if call.path.count("/") < 3}
        yield made


@pytest.mark.parametrize("entity", PARENTS)
def test_every_field_and_parent_has_a_typed_column(runs: Runs, entity: str) -> None:
    expected = {normalize(name): SQL_TYPES[field.type] for name, field in ENTITIES[entity].fields.items()}
    owner = {"parent_type": "VARCHAR", "parent_id": "BIGINT"}
    if entity in OWNER_COLUMNS:
        owner = {normalize(name): expected.get(normalize(name), "BIGINT") for name in OWNER_COLUMNS[entity]}
    columns = runs.crm.columns(entity)
    assert {name: columns.get(name) for name in expected | owner} == expected | owner


@pytest.mark.parametrize("entity", PARENTS)
def test_child_rows_equal_the_account(runs: Runs, entity: str) -> None:
    assert account_rows(runs.crm.sandbox, entity)
    assert_equal(runs.crm, entity)


@pytest.mark.parametrize("entity", PARENTS)
def test_first_run_costs_a_call_per_parent_and_the_next_one_per_list(runs: Runs, entity: str) -> None:
    (price, later), (first, second) = (
        [report.entities[entity] for report in each] for each in (runs.prices, runs.reports)
    )
    lists = len(PARENTS[entity])
    assert first.calls == price.calls == parents(runs.crm, entity) + lists
    assert (price.facts["total"], price.facts["pages"]) == (parents(runs.crm, entity), lists)
    assert (second.rows, second.merged, second.calls) == (0, 0, lists)
    assert (later.facts["total"], later.calls) == (0, lists)
    assert second.watermark is not None


def test_parent_lists_are_read_without_arrays(runs: Runs) -> None:
    assert runs.brief == {"true", None}  # but for a plan's question for the total, and the account


@pytest.mark.sample(0)
def test_empty_account_has_the_tables(make_crm: MakeCrm) -> None:
    crm = make_crm(contents=Contents())
    crm.sync_done(*PARENTS)
    assert {entity: crm.count(entity) for entity in PARENTS} == dict.fromkeys(PARENTS, 0)


@pytest.mark.sample(0)
def test_source_alone_reads_everything(crm: Crm) -> None:
    source = insightly(
        api_key=crm.sandbox.key, base_url=crm.sandbox.url, requests_per_second=1000, entities=["comments"]
    )
    assert list(source.resources) == ["comments"]
    pipeline = dlt.pipeline("alone", destination=dlt.destinations.duckdb(str(crm.database)), dataset_name="insightly")
    pipeline.run(source)
    assert_equal(crm, "comments")


# Changed parents


def test_only_changed_parents_are_read(crm: Crm) -> None:
    crm.first_sync("comments", "opportunity_state_history")
    crm.clock.advance()
    note, task, deal = (keys(crm.sandbox, parent)[3] for parent in ("notes", "tasks", "opportunities"))
    add(crm.sandbox, "comments", "notes", note, BODY="new")
    crm.sandbox.store.touch("tasks", task)
    born = crm.sandbox.store.create("notes", {"TITLE": "born"})["NOTE_ID"]
    changed = crm.sandbox.store.update("opportunities", deal, {"OPPORTUNITY_STATE": "LOST"})
    crm.sandbox.store.record_state(changed, crm.sandbox.store.now(), None)
    crm.sync_done("comments", "opportunity_state_history")
    paths = [f"Notes/{note}/Comments", f"Notes/{born}/Comments", f"Tasks/{task}/Comments"]
    assert child_requests(crm) == sorted([*paths, f"Opportunities/{deal}/StateHistory"])
    assert_equal(crm, "comments", "opportunity_state_history")


@pytest.mark.sample(0)
def test_parent_entity_added_later_is_read_in_full(crm: Crm) -> None:
    crm.first_sync("notes", "tasks")
    crm.sync_done("notes", "tasks", "comments")
    assert_equal(crm, "comments")


@pytest.mark.sample(0)
def test_comment_that_changes_no_date_is_read_by_full(crm: Crm) -> None:
    crm.first_sync("comments")
    crm.clock.advance()
    add(crm.sandbox, "comments", "notes", keys(crm.sandbox, "notes")[1], touch=False, BODY="quiet")
    assert crm.sync_done("comments").entities["comments"].rows == 0
    crm.sync_done("comments", request=ReadRequest(full=True))
    assert_equal(crm, "comments")
    assert len(child_requests(crm)) == parents(crm, "comments")


@pytest.mark.sample(0)
def test_since_reads_changed_parents_again(crm: Crm) -> None:
    crm.first_sync("comments")
    crm.clock.advance()
    note = keys(crm.sandbox, "notes")[1]
    crm.sandbox.store.touch("notes", note)
    crm.sync_done("comments")
    add(crm.sandbox, "comments", "notes", note, touch=False, BODY="quiet")
    crm.sync_done("comments", request=ReadRequest(since="2026-11-02T13:30:00Z"))
    assert child_requests(crm) == [f"Notes/{note}/Comments"]
    assert_equal(crm, "comments")


@pytest.mark.sample(0)
def test_parents_without_date_are_read_if_new_and_by_full(crm: Crm) -> None:
    crm.first_sync("comments")
    old, new = keys(crm.sandbox, "emails")[-1], crm.sandbox.store.create("emails", {"SUBJECT": "new"})["EMAIL_ID"]
    add(crm.sandbox, "comments", "emails", new, BODY="to the new one")
    assert planned(crm, "comments").entities["comments"].facts["parents"]["emails"] == 1
    crm.sync_done("comments")
    assert child_requests(crm) == [f"Emails/{new}/Comments"]
    assert_equal(crm, "comments")

    add(crm.sandbox, "comments", "emails", old, BODY="to an old one")
    crm.sandbox.store.delete("emails", keys(crm.sandbox, "emails")[0])
    crm.sync_done("comments")
    assert child_requests(crm) == []
    crm.sync_done("comments", request=ReadRequest(full=True))
    assert [row["body"] for row in live_rows(crm, "comments") if row["parent_id"] == old][-1] == "to an old one"
    assert crm.sync_done("comments").entities["comments"].calls == len(PARENTS["comments"])


@pytest.mark.sample(0)
def test_start_date_excludes_rows_of_older_parents(crm: Crm) -> None:
    keep, leave = keys(crm.sandbox, "notes")[:2]
    for key, at in ((keep, "2026-10-31 00:00:00"), (leave, "2026-01-01 00:00:00")):
        add(crm.sandbox, "comments", "notes", key, touch=False, BODY="here")
        crm.sandbox.store.touch("notes", key, at)
    crm.sync_done("comments", start_date="2026-10-01")
    assert [key in {row["parent_id"] for row in live_rows(crm, "comments")} for key in (keep, leave)] == [True, False]
    crm.sync_done("comments", start_date="2020-01-01")
    assert_equal(crm, "comments")


# Deletions


def test_emptied_child_list_and_deleted_child_leave_no_rows(crm: Crm) -> None:
    crm.first_sync("comments", "ticket_comments", "static_list_memberships")
    crm.clock.advance()
    several, prospect = keys(crm.sandbox, "tickets")[-2], keys(crm.sandbox, "prospects")[-1]
    store = crm.sandbox.store
    for row in store.children("ticket_comments", "tickets", several):
        store.delete("ticket_comments", row["TICKET_COMMENT_ID"])
    store.delete("static_list_memberships", f"{prospect} 901")
    gone = account_rows(crm.sandbox, "comments")[0][2]
    store.delete("comments", gone["COMMENT_ID"])
    crm.sync_done("comments", "ticket_comments", "static_list_memberships")
    assert not [row for row in live_rows(crm, "ticket_comments") if row["ticket_id"] == several]
    assert_equal(crm, "comments", "ticket_comments", "static_list_memberships")
    assert crm.read("select * from insightly.ticket_comments where _is_empty") == []


def test_one_id_under_two_parents_is_two_rows(crm: Crm) -> None:
    one, other, store = keys(crm.sandbox, "notes")[0], keys(crm.sandbox, "tasks")[0], crm.sandbox.store
    row = add(crm.sandbox, "comments", "notes", one, BODY="twice")
    store.tables["comments"].put("the same", dump(row | {"NOTE_ID": None, "TASK_ID": other}), ("tasks", other))
    store.touch("tasks", other)
    crm.sync_done("comments")
    assert_equal(crm, "comments")
    crm.clock.advance()
    store.delete("comments", "the same")
    crm.sync_done("comments")
    rows = [each for each in live_rows(crm, "comments") if each["comment_id"] == row["COMMENT_ID"]]
    assert [(each["parent_type"], each["parent_id"]) for each in rows] == [("notes", one)]
    assert_equal(crm, "comments")


@pytest.mark.sample(0)
def test_rows_with_a_repeated_key_are_all_kept_and_reported(crm: Crm) -> None:
    deal = keys(crm.sandbox, "opportunities")[0]
    table, rows = crm.sandbox.store.tables[HISTORY], crm.sandbox.store.children(HISTORY, "opportunities", deal)
    for row in ({**rows[-1], "STATE_REASON": "another"}, rows[0], {**rows[0], "DATE_CHANGED_UTC": None}):
        table.put(f"repeated {len(table.keys)}", dump(row), ("opportunities", deal))
    report = crm.sync_done("opportunity_state_history").entities["opportunity_state_history"]
    assert_equal(crm, "opportunity_state_history")
    assert "rows with the key of another row of their record, which are all kept: 2" in report.schema_changes
    verified(crm, "opportunity_state_history", full=True)
    crm.sync_done("opportunity_state_history", request=ReadRequest(full=True))
    assert_equal(crm, "opportunity_state_history")


def test_row_belongs_to_the_parent_it_was_read_from(crm: Crm) -> None:
    ticket, other = keys(crm.sandbox, "tickets")[:2]
    add(crm.sandbox, "ticket_comments", "tickets", ticket, TICKET_ID=other, BODY_HTML="merged")
    crm.sync_done("ticket_comments")
    (row,) = [row for row in live_rows(crm, "ticket_comments") if row["body_html"] == "merged"]
    assert (row["ticket_id"], row["ticket_id__v_text"]) == (ticket, str(other))


@pytest.mark.parametrize("policy", ["mark", pytest.param("remove", marks=pytest.mark.sample(0))])
def test_sweep_marks_the_rows_of_deleted_parents(crm: Crm, policy: str) -> None:
    crm.first_sync("comments", "quotation_documents")
    note = next(key for parent, key, _ in account_rows(crm.sandbox, "comments") if parent == "notes")
    quote = keys(crm.sandbox, "quotes")[-1]
    kept, rows = crm.sandbox.store.get("notes", note), crm.sandbox.store.children("comments", "notes", note)
    crm.sandbox.store.delete("notes", note)
    crm.sandbox.store.delete("quotes", quote)
    report = swept(crm, "comments", "quotation_documents", deletions=policy)
    assert report.entities["comments"].deleted == len(rows)
    assert report.entities["quotation_documents"].deleted == 3
    assert_equal(crm, "comments", "quotation_documents")
    marked = crm.read("select * from insightly.comments where _deleted_at is not null")
    assert len(marked) == (len(rows) if policy == "mark" else 0)
    again = swept(crm, "comments", deletions=policy).entities["comments"]
    assert (again.deleted, again.calls) == (0, 3)

    crm.sandbox.store.put_raw("notes", kept or {})
    for row in rows:
        add(crm.sandbox, "comments", "notes", note, touch=False, **row)
    swept(crm, "comments", deletions=policy)
    if policy == "mark":
        assert_equal(crm, "comments")
    crm.sandbox.store.touch("notes", note, "2026-11-30 00:00:00")
    crm.sync_done("comments")
    assert_equal(crm, "comments")


@pytest.mark.sample(0)
def test_sweep_refuses_if_too_many_parents_are_gone(crm: Crm) -> None:
    crm.first_sync("ticket_comments")
    for number in range(60):
        key = crm.sandbox.store.create("tickets", {"SUBJECT": str(number)})["TICKET_ID"]
        add(crm.sandbox, "ticket_comments", "tickets", key, BODY_HTML="x")
    crm.sync_done("ticket_comments")
    before = len(live_rows(crm, "ticket_comments"))
    for key in keys(crm.sandbox, "tickets")[:30]:
        crm.sandbox.store.delete("tickets", key)
    report = swept(crm, "ticket_comments", code=1)
    assert "insightly sweep ticket_comments --force" in str(report.reason)
    assert len(live_rows(crm, "ticket_comments")) == before
    swept(crm, "ticket_comments", force=True)
    assert_equal(crm, "ticket_comments")


# Permissions


@pytest.mark.sample(0)
def test_collection_refused_for_every_parent_is_skipped(crm: Crm) -> None:
    crm.first_sync("comments")
    loaded, mark = count_rows(live_rows(crm, "comments")), crm.sync_done("comments").entities["comments"].watermark
    crm.clock.advance()
    for parent in ("notes", "tasks"):
        for key in keys(crm.sandbox, parent):
            add(crm.sandbox, "comments", parent, key, BODY="unseen")
    for crm.sandbox.switches in (
        replace(OPEN, forbidden=frozenset({"comments"})),
        replace(OPEN, missing=frozenset({"comments"})),
    ):
        report = crm.sync("comments")
        result = report.entities["comments"]
        assert (report.exit_code, result.merged, result.watermark) == (1, 0, mark)
        assert "notes" in str(result.schema_changes)
        assert count_rows(live_rows(crm, "comments")) == loaded
        assert len(child_requests(crm)) < 2 * 40
    crm.sandbox.switches = OPEN
    crm.sync_done("comments")
    assert_equal(crm, "comments")


@pytest.mark.sample(0)
def test_refused_first_run_is_skipped_after_a_few_calls(make_crm: MakeCrm) -> None:
    crm = make_crm(0.2, switches=replace(OPEN, forbidden=frozenset({"opportunity_state_history", "file_attachments"})))
    report = crm.sync("file_attachments")
    assert (report.exit_code, report.entities["file_attachments"].state) == (1, "skipped")
    assert "403" in str(report.entities["file_attachments"].reason)
    assert report.calls < 7 * (20 + 8 + 2)
    crm.sandbox.switches = OPEN
    crm.sync_done("file_attachments")
    assert_equal(crm, "file_attachments")


def test_refused_parents_are_skipped_and_reported(crm: Crm) -> None:
    (one, *_, last), gone = keys(crm.sandbox, "notes"), keys(crm.sandbox, "notes")[4]
    for key in (one, gone, last):
        add(crm.sandbox, "comments", "notes", key, BODY="hidden")
    for key, kind in ((one, "forbidden"), (last, "forbidden"), (gone, "missing")):
        crm.sandbox.faults.add(Fault(kind, match=f"Notes/{key}/Comments", times=None))
    notes = crm.sync_done("comments").entities["comments"].schema_changes
    assert any(
        note.startswith("records of notes that do not show this key their comments (403)") and note.endswith(": 2")
        for note in notes
    )
    assert "records of notes deleted before their comments were read: 1" in notes
    refused = {one, gone, last}
    expected = [row for row in expected_rows(crm.sandbox, "comments") if row["parent_id"] not in refused]
    assert count_rows(live_rows(crm, "comments")) == count_rows(expected)
    crm.clock.advance()
    crm.sandbox.store.touch("notes", one)
    assert crm.sync_done("comments").entities["comments"].state == "ok"
    assert child_requests(crm).count(f"Notes/{one}/Comments") == 1


@pytest.mark.sample(0)
def test_unavailable_parent_entity_does_not_stop_the_others(crm: Crm) -> None:
    crm.sandbox.switches = replace(OPEN, forbidden=frozenset({"emails"}))
    report = crm.sync_done("comments").entities["comments"]
    assert any(note.startswith("comments of emails are not available") for note in report.schema_changes)
    expected = [row for row in expected_rows(crm.sandbox, "comments") if row["parent_type"] != "emails"]
    assert count_rows(live_rows(crm, "comments")) == count_rows(expected)
    crm.sandbox.switches = OPEN
    crm.sync_done("comments")
    assert_equal(crm, "comments")


# Long lists


@pytest.mark.parametrize(
    "total", [True, pytest.param(False, marks=pytest.mark.sample(0))], ids=["X-Total-Count", "no total"]
)
def test_long_child_lists_are_read_to_the_end(crm: Crm, total: bool) -> None:
    crm.sandbox.switches = replace(OPEN, total_header=total)
    note, task = keys(crm.sandbox, "notes")[0], keys(crm.sandbox, "tasks")[1]
    for number in range(25):
        add(crm.sandbox, "comments", "notes", note, BODY=str(number))
    for number in range(9, 0, -1):
        add(crm.sandbox, "comments", "tasks", task, COMMENT_ID=number, BODY="unsorted")
    crm.first_sync("comments", page_size=4)
    assert_equal(crm, "comments")


def test_short_child_list_without_a_total_costs_one_call(crm: Crm) -> None:
    crm.sandbox.switches = replace(OPEN, total_header=False)
    crm.sync_done("ticket_comments")
    assert len(child_requests(crm)) == len(keys(crm.sandbox, "tickets"))
    assert_equal(crm, "ticket_comments")


# Budgets


@pytest.mark.sample(0)
@pytest.mark.parametrize("full", [False, pytest.param(True, marks=pytest.mark.sample(0))], ids=["first", "full"])
def test_few_calls_a_day_complete_everything(crm: Crm, full: bool) -> None:
    request = ReadRequest(full=full)
    if full:
        crm.sync_done("comments")
        add(crm.sandbox, "comments", "tasks", keys(crm.sandbox, "tasks")[0], touch=False, BODY="quiet")
    calls, runs = 9 if full else 14, 0
    while (report := crm.sync("comments", request=request, max_calls=calls)).exit_code == 3:
        runs += 1
        assert report.entities["comments"].state == "partial"
        assert report.calls <= calls
        assert runs < 40
    assert report.exit_code == 0
    assert_equal(crm, "comments")
    assert runs <= (parents(crm, "comments") + 3) / (calls - 2) + 1
    assert crm.sync_done("comments").entities["comments"].rows == 0


@pytest.mark.sample(0)
def test_spent_quota_stops_and_the_next_day_continues(crm: Crm) -> None:
    crm.sandbox.faults.add(Fault("daily", nth=20, times=None))
    report = crm.sync("comments")
    assert (report.exit_code, report.entities["comments"].state) == (3, "partial")
    assert live_rows(crm, "comments")
    crm.sandbox.faults.clear()
    crm.sync_done("comments")
    assert (
        len(child_requests(crm)) <= parents(crm, "comments") - 17 + 9
    )  # requests in flight at the end of the day are sent again
    assert_equal(crm, "comments")


def test_small_budget_reads_the_lists_first(crm: Crm) -> None:
    crm.sync("comments", max_calls=5)
    report = crm.sync("contacts", "leads", "comments", max_calls=10)
    assert {name: entity.state for name, entity in report.entities.items()} == {
        "contacts": "ok",
        "leads": "ok",
        "comments": "partial",
    }


@pytest.mark.sample(0)
@pytest.mark.parametrize("chunk_calls", [1, 4])
def test_chunk_size_changes_neither_rows_nor_calls(crm: Crm, chunk_calls: int) -> None:
    report = crm.sync_done("comments", "static_list_memberships", chunk_calls=chunk_calls)
    assert_equal(crm, "comments", "static_list_memberships")
    assert report.entities["comments"].calls == parents(crm, "comments") + 3


# Verification


@pytest.mark.sample(0)
@pytest.mark.parametrize("full", [pytest.param(True, marks=pytest.mark.sample(0)), False], ids=["full", "sample"])
def test_verify_finds_changed_missing_and_added_rows(crm: Crm, full: bool) -> None:
    crm.first_sync("ticket_comments", "comments")
    fine = verified(crm, "ticket_comments", "comments", full=full).entities["ticket_comments"]
    assert fine.facts.get("proved") is (True if full else None)
    assert fine.facts["compared"] == len(keys(crm.sandbox, "tickets"))
    tickets = keys(crm.sandbox, "tickets")
    assert any(f"{len(tickets)} of {len(tickets)} tickets were compared" in note for note in fine.schema_changes)
    ticket = tickets[-2]
    for sql in (
        "update insightly.ticket_comments set channel = 'Fax'",
        "delete from insightly.ticket_comments where ticket_comment_id = (select max(ticket_comment_id) "
        f"from insightly.ticket_comments where ticket_id = {ticket})",
        f"insert into insightly.ticket_comments (ticket_id, ticket_comment_id) values ({ticket}, 1)",
    ):
        with dlt.pipeline("x", destination=dlt.destinations.duckdb(str(crm.database))).sql_client() as client:
            client.execute_sql("create table if not exists insightly.kept as from insightly.ticket_comments")
            client.execute_sql(sql)
        report = verified(crm, "ticket_comments", full=full, code=4)
        assert f"tickets {ticket}" in str(report.entities["ticket_comments"].facts["examples"])
        with dlt.pipeline("x", destination=dlt.destinations.duckdb(str(crm.database))).sql_client() as client:
            client.execute_sql("delete from insightly.ticket_comments")
            client.execute_sql("insert into insightly.ticket_comments from insightly.kept")


@pytest.mark.sample(0)
def test_verify_counts_later_changes_apart_from_differences(crm: Crm) -> None:
    crm.first_sync("ticket_comments", "comments")
    crm.clock.advance()
    quiet, loud, gone = keys(crm.sandbox, "tickets")[-3:]
    add(crm.sandbox, "ticket_comments", "tickets", loud, BODY_HTML="newer")
    report = verified(crm, "ticket_comments", full=True)
    assert report.entities["ticket_comments"].facts["newer"] == 1
    add(crm.sandbox, "ticket_comments", "tickets", quiet, touch=False, BODY_HTML="quiet")
    crm.sandbox.store.delete("tickets", gone)
    facts = verified(crm, "ticket_comments", full=True, code=4).entities["ticket_comments"].facts
    assert facts["differences"] == 2
    assert "insightly sweep ticket_comments" in str(facts["examples"])


@pytest.mark.sample(0)
def test_quick_verify_of_many_parents_takes_few_calls(make_crm: MakeCrm) -> None:
    crm = make_crm(0.1)
    crm.sync_done("opportunity_state_history")
    assert verified(crm, "opportunity_state_history", quick=True).calls <= 12
    assert verified(crm, "opportunity_state_history").calls <= 2 + 4 + 40


# The commands


@pytest.mark.parametrize(("option", "value"), [("ids", ["1"]), ("where", ["BODY=x"])])
@pytest.mark.parametrize("entity", PARENTS)
def test_single_child_rows_cannot_be_requested(crm: Crm, entity: str, option: str, value: list[str]) -> None:
    selected: dict[str, Any] = {"ids": None, "where": None, option: value}
    with pytest.raises(BadSetting, match="read under other records"):
        selection(crm.settings(), [entity], selected["ids"], selected["where"], ReadRequest())


@pytest.mark.sample(0)
def test_command_plans_syncs_and_reports_child_rows(crm: Crm) -> None:
    environment = reach(crm.sandbox)
    target = ["--database", str(crm.database), "--json"]
    price = command("sync", "comments", "--plan", *target, cwd=crm.folder, **environment).json
    assert price["entities"]["comments"]["parents"] == {
        parent: len(keys(crm.sandbox, parent)) for parent in PARENTS["comments"]
    }
    done = command("sync", "comments", *target, cwd=crm.folder, **environment).json
    assert done["entities"]["comments"]["calls"] == price["entities"]["comments"]["calls"]
    reported = command("status", "comments", *target, cwd=crm.folder).json["entities"]["comments"]
    assert (reported["state"], reported["rows"]) == ("ok", len(account_rows(crm.sandbox, "comments")))
    shown = command("sync", "comments", "--plan", "--database", str(crm.database), cwd=crm.folder, **environment)
    assert "a call for each record: 0 notes, 0 tasks, 0 emails" in shown.out


# Privacy


@pytest.mark.sample(0)
def test_child_columns_can_be_hashed_and_dropped(crm: Crm) -> None:
    private = {"hash": ["comments.body"], "drop": ["file_attachments.file_name", "ticket_comments.body_html"]}
    crm.first_sync("comments", "ticket_comments")
    gone = next(key for parent, key, _ in account_rows(crm.sandbox, "comments") if parent == "notes")
    crm.sandbox.store.delete("notes", gone)
    swept(crm, "comments")
    crm.sync_done("comments", "file_attachments", "ticket_comments", **private, hash_key="secret of the test")
    rows = [row for row in expected_rows(crm.sandbox, "comments") if row.get("body")]
    assert len(live_rows(crm, "comments")) == len(expected_rows(crm.sandbox, "comments"))
    bodies = {row["body"] for row in crm.table("comments")} - {None}
    assert {len(body) for body in bodies} == {64}
    assert len({row["body"] for row in rows}) == len(bodies)
    assert "file_name" not in crm.columns("file_attachments")
    assert {row["body_html"] for row in crm.table("ticket_comments")} == {None}
    assert crm.sync_done("comments", **private, hash_key="secret of the test").entities["comments"].rows == 0


@pytest.mark.parametrize("column", ["comments.parent_id", "ticket_comments.ticket_id", "comments.comment_id"])
def test_parent_columns_cannot_be_masked(crm: Crm, column: str) -> None:
    with pytest.raises(BadSetting, match="key"):
        crm.settings(hash=[column], hash_key="secret of the test")
