"""Verify: it passes if the destination equals the account, and names every difference."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipelines.commands.sweep import sweep
from pipelines.sandbox import Fault, Store, evolve
from sources.insightly import ENTITIES
from sources.insightly.entities import DATE_UPDATED
from sources.insightly.state.request import ReadRequest
from tests.support.commands import verified
from tests.support.crm import OPEN, Crm
from tests.support.expected import CORE
from tests.support.process import command, reach

MakeCrm = Callable[..., Crm]


def one_of(crm: Crm, entity: str, wanted: Callable[[dict[str, Any]], Any] = bool) -> dict[str, Any]:
    return next(row for row in crm.sandbox.store.rows(entity) if wanted(row))


@pytest.mark.everywhere("postgres", "delta")
@pytest.mark.sample(1)
@pytest.mark.parametrize("options", [{}, {"full": True}])
def test_verify_proves_a_synced_account(crm: Crm, options: dict[str, bool]) -> None:
    crm.first_sync()
    evolve(crm.sandbox.store, seed=4, steps=30)
    crm.sync_done()
    sweep(crm.settings(), crm.target)
    report = verified(crm, **options)
    assert [name for name, entity in report.entities.items() if entity.facts["proved"]] == list(CORE)
    store = crm.sandbox.store
    assert report.entities["contacts"].facts["ids"] == store.count("contacts")
    assert report.entities["contacts"].facts["compared"] == store.count("contacts")


@pytest.mark.everywhere("postgres", "delta")
def test_verify_reads_ids_by_page(make_crm: MakeCrm) -> None:
    crm = make_crm(scale=0.2)
    crm.first_sync("contacts", "notes")
    verified(crm, "contacts", "notes", page_size=50)
    brief = [call for call in crm.sandbox.log if call.query.get("brief") == "true"]
    assert len(brief) == 5 + 5
    assert len(crm.sandbox.log) - len(brief) <= 2 * 11


@pytest.mark.sample(0)
def test_verify_compares_a_few_pages_unless_full(make_crm: MakeCrm) -> None:
    crm = make_crm(scale=0.5)
    crm.first_sync("contacts")
    assert verified(crm, "contacts", page_size=100).entities["contacts"].facts["compared"] == 200
    assert verified(crm, "contacts", page_size=100, full=True).entities["contacts"].facts["compared"] == 500


ODD_DATES = ("", "0000-00-00 00:00:00", "2026-02-30 10:00:00", "24/12/2025 10:00", "2025-01-01T10:00:00.000Z", None)


def test_verify_compares_records_whose_date_is_no_time(crm: Crm) -> None:
    store = crm.sandbox.store
    for date in ODD_DATES:
        store.put_raw("contacts", {**store.create("contacts", {"FIRST_NAME": "Odd"}), DATE_UPDATED: date})
    crm.first_sync("contacts", "leads")
    for row in store.rows("contacts"):
        if row["FIRST_NAME"] == "Odd":
            store.put_raw("contacts", {**row, "TITLE": "differs"})
    report = verified(crm, "contacts", "leads", code=4, full=True)
    assert (report.entities["contacts"].facts["differences"], report.entities["contacts"].facts["newer"]) == (6, 0)
    assert report.entities["leads"].facts["proved"]


def test_quick_verify_reads_little_and_claims_no_proof(crm: Crm, capsys: pytest.CaptureFixture[str]) -> None:
    from pipelines.cli.console import show

    crm.first_sync("contacts")
    report = verified(crm, "contacts", quick=True)
    assert report.calls == 3
    show(report)
    assert "prove" not in capsys.readouterr().out + str(report.to_dict())


@pytest.mark.sample(5)
@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("delete from {t} where contact_id = {id}", "not live in the destination"),
        ("insert into {t} (contact_id) values (77)", "contact_id 77 is live in the destination"),
        ("insert into {t} select * from {t} where contact_id = {id}", "in the table twice"),
        ("update {t} set last_name = 'wrong' where contact_id = {id}", "last_name is"),
        ("update {t} set hobby__c = 'wrong' where contact_id = {id}", "hobby__c is"),
        ("update {t} set date_created_utc = null where contact_id = {id}", "null in the destination"),
        ("update {t} set _deleted_at = now() where contact_id = {id}", "not live in the destination"),
        ("delete from {t}__tags where contact_id = {id}", "the row is missing in the destination"),
        ("update {t}__tags set tag_name = 'wrong' where contact_id = {id}", "'wrong' in the destination"),
        ("insert into {t}__tags (contact_id, list_idx, tag_name) values ({id}, 99, 'x')", "the row is not in the API"),
        ("insert into {t}__tags select * from {t}__tags where contact_id = {id}", "list_idx 0 is in the table twice"),
        (
            "insert into {t}__links select l.* from {t}__links l, range(2) where contact_id = {id}",
            "list_idx 0 is in the table 3 times",
        ),
        (
            "insert into {t}__tags (contact_id, list_idx, tag_name) values (77, 0, 'x'), (77, 1, 'x')",
            "contacts__tags: 2 rows belong to no record: insightly sweep removes them",
        ),
        ("delete from {t}__links where contact_id = {id}", "the row is missing in the destination"),
        ("update {t}__links set role = 'wrong' where contact_id = {id}", "role is"),
    ],
)
@pytest.mark.parametrize("full", [True, False], ids=["full", "sample"])
def test_verify_names_every_difference(crm: Crm, sql: str, words: str, full: bool) -> None:
    crm.sandbox.store.define("CONTACT", "Hobby__c", "TEXT")
    key = one_of(crm, "contacts", lambda row: row["TAGS"] and row["LINKS"])["CONTACT_ID"]
    crm.first_sync("contacts")
    crm.change("alter table insightly.contacts add column if not exists hobby__c varchar")
    crm.change(sql.format(t="insightly.contacts", id=key))
    report = verified(crm, "contacts", code=4, full=full)
    facts = report.entities["contacts"].facts
    assert words in str(facts["examples"]).lower() or words in str(facts["examples"])
    assert not facts["proved"]
    assert "contacts" in (report.reason or "")


@pytest.mark.sample(1)
@pytest.mark.parametrize("quick", [True, False])
def test_verify_finds_a_deletion_before_the_sweep(crm: Crm, quick: bool) -> None:
    crm.first_sync("contacts")
    key = one_of(crm, "contacts")["CONTACT_ID"]
    crm.sandbox.store.delete("contacts", key)
    report = verified(crm, "contacts", code=4, quick=quick)
    assert f"{key} is live in the destination but not in the API" in report.entities["contacts"].facts["examples"][0]
    sweep(crm.settings(), crm.target, ["contacts"])
    verified(crm, "contacts", quick=quick)


@pytest.mark.sample(1)
@pytest.mark.parametrize("options", [{}, {"full": True}, {"quick": True}])
def test_verify_ignores_changes_after_the_sync(crm: Crm, options: dict[str, bool]) -> None:
    crm.first_sync("contacts", "notes")
    crm.clock.advance()
    store: Store = crm.sandbox.store
    store.update("contacts", one_of(crm, "contacts")["CONTACT_ID"], {"LAST_NAME": "Later"})
    store.create("contacts", {"FIRST_NAME": "New"})
    report = verified(crm, "contacts", "notes", **options)
    assert report.entities["contacts"].facts["newer"] == 2
    assert report.entities["notes"].facts["newer"] == 0


@pytest.mark.everywhere("postgres", "delta")
def test_verify_compares_a_replaced_list_in_full(crm: Crm) -> None:
    crm.first_sync("lead_sources", "tags", "users")
    verified(crm, "lead_sources", "tags", "users")
    crm.change("update insightly.lead_sources set lead_source = 'wrong'")
    crm.change("delete from insightly.tags where record_type = 'leads'")
    report = verified(crm, "lead_sources", "tags", "users", code=4)
    count = crm.sandbox.store.count("lead_sources")
    assert report.entities["lead_sources"].facts["differences"] == count
    assert report.entities["tags"].facts["differences"] == len(crm.sandbox.store.tag_names("leads"))
    assert report.entities["users"].facts["proved"]


REPLACED = ("pipelines", "pipeline_stages", "tags", "custom_fields", "countries")


def test_verify_counts_the_rows_of_replaced_lists(make_crm: MakeCrm) -> None:
    crm = make_crm(0.005)
    crm.first_sync(*REPLACED)
    verified(crm, *REPLACED)
    for name in REPLACED:
        crm.change(f"insert into insightly.{name} select * from insightly.{name}")
    crm.change("insert into insightly.tags (record_type, tag_name) values ('cars', 'x')")
    entities = verified(crm, *REPLACED, code=4, full=True).entities
    for name in REPLACED:
        assert entities[name].facts["differences"] == crm.count(name) // 2 + (name == "tags"), name
        assert "is in the table twice, in the API once: insightly sync" in str(entities[name].facts["examples"])
    assert "tags: 1 row of cars, which no sync has read" in entities["tags"].facts["examples"]
    crm.change("delete from insightly.tags where record_type = 'cars'")
    crm.sync_done(*REPLACED, request=ReadRequest(full=True))
    verified(crm, *REPLACED)


@pytest.mark.everywhere("postgres", "delta")
@pytest.mark.sample(1)
@pytest.mark.parametrize("tags", ["auto", "endpoint", "embedded"])
def test_verify_compares_tags_with_every_tags_setting(crm: Crm, tags: str) -> None:
    crm.first_sync("leads", tags=tags)
    verified(crm, "leads", tags=tags, full=True)
    crm.change("update insightly.leads__tags set tag_name = 'wrong'")
    verified(crm, "leads", tags=tags, full=True, code=4)


def test_verify_skips_tags_that_are_off(crm: Crm) -> None:
    crm.first_sync("leads", tags="auto")
    crm.sandbox.store.set_tags("leads", one_of(crm, "leads")["LEAD_ID"], ["other"], touch=False)
    report = verified(crm, "leads", tags="off", full=True)
    assert report.entities["leads"].facts["compared"] == crm.sandbox.store.count("leads")
    assert not [call.path for call in crm.sandbox.log if "Tags" in call.path]


def test_verify_changes_nothing(crm: Crm) -> None:
    crm.first_sync("contacts", "lead_sources")
    before, states = {name: crm.table(name) for name in ("contacts", "contacts__tags", "lead_sources")}, crm.states()
    crm.sandbox.store.touch("contacts", one_of(crm, "contacts")["CONTACT_ID"])
    verified(crm, "contacts", "lead_sources", full=True)
    assert ({name: crm.table(name) for name in before}, crm.states()) == (before, states)


def test_verify_does_not_prove_an_incomplete_table(crm: Crm) -> None:
    crm.sync("contacts", page_size=5, max_calls=3)
    report = verified(crm, "contacts", "notes", code=1)
    assert "insightly sync" in (report.reason or "")
    assert not report.entities["notes"].facts["proved"]


@pytest.mark.parametrize("quick", [True, False])
def test_verify_reports_never_synced_without_a_call(crm: Crm, quick: bool) -> None:
    crm.sandbox.switches = replace(OPEN, forbidden=frozenset({"products"}))
    crm.sync("lead_sources", "products")
    report = verified(crm, code=1, quick=quick)
    others = {name: entity for name, entity in report.entities.items() if name not in ("lead_sources", "products")}
    assert {(entity.state, entity.reason) for entity in others.values()} == {
        ("failed", "never synced: run insightly sync")
    }
    assert not any(entity.facts.get("proved") for entity in others.values())
    assert report.entities["products"].state == "skipped"
    assert "403" in (report.entities["products"].reason or "")
    assert [call.path for call in crm.sandbox.log] == ["/LeadSources"]


def test_quick_verify_compares_one_page_per_entity(make_crm: MakeCrm) -> None:
    crm = make_crm(scale=0.5)
    crm.first_sync("contacts", "notes")
    report = verified(crm, "contacts", "notes", page_size=100, quick=True)
    assert [entity.facts["compared"] for entity in report.entities.values()] == [20, 20]
    assert report.calls <= 8


def test_verify_skips_an_unavailable_entity(crm: Crm) -> None:
    crm.first_sync("contacts", "products")
    crm.sandbox.faults.add(Fault("missing", match="Product*", times=None))
    report = verified(crm, "products", code=1)
    assert (report.entities["products"].state, report.entities["products"].facts["proved"]) == ("skipped", False)


def test_verify_at_max_calls_proves_nothing(crm: Crm) -> None:
    crm.first_sync("contacts")
    report = verified(crm, "contacts", code=3, max_calls=1)
    assert not report.entities["contacts"].facts["proved"]


def test_verify_exits_with_4_on_a_difference(crm: Crm) -> None:
    crm.first_sync("contacts")
    ran = command("verify", "contacts", *crm.arguments(), "--json", cwd=crm.folder, **reach(crm.sandbox))
    assert (ran.code, ran.json["entities"]["contacts"]["proved"]) == (0, True)
    crm.change("delete from insightly.contacts where contact_id = (select max(contact_id) from insightly.contacts)")
    ran = command("verify", "contacts", *crm.arguments(), "--json", cwd=crm.folder, **reach(crm.sandbox))
    assert (ran.code, ran.json["status"]) == (4, "failed")
    ran = command("verify", "contacts", *crm.arguments(), cwd=crm.folder, **reach(crm.sandbox))
    assert (ran.code, ENTITIES["contacts"].key[0] in ran.out) == (4, True)


@pytest.mark.everywhere("postgres", "delta")
def test_verify_finds_live_records_marked_deleted(crm: Crm) -> None:
    crm.first_sync("notes")
    crm.change("update insightly.notes set _deleted_at = now()")
    report = verified(crm, "notes", code=4)
    assert report.entities["notes"].facts["differences"] == crm.sandbox.store.count("notes")
