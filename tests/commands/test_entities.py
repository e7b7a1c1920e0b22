"""`insightly entities` and `check`: what this key and plan may read, by /Permissions and one call per entity."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.cli.console import show
from pipelines.commands.entities import entities
from pipelines.commands.sweep import sweep
from pipelines.commands.verify import verify
from pipelines.destinations.target import Target
from pipelines.sandbox import Contents, Fault
from sources.insightly import ENTITIES
from sources.insightly.entities import RECORDS
from sources.insightly.selection import PRESETS
from tests.support.crm import OPEN, Crm
from tests.support.expected import normalize
from tests.support.process import command, reach

MakeCrm = Callable[..., Crm]
LISTS = [n for n, entity in ENTITIES.items() if entity.read not in ("embedded", "per_parent") and n != RECORDS]
CHILDREN = [n for n, entity in ENTITIES.items() if entity.read == "per_parent"]
REFUSED = {
    404: ["products", "pricebooks", "pricebook_entries", "opportunity_line_items", "quotes", "quote_line_items"],
    403: ["knowledge_articles", "tickets", "prospects", "community_forums", "forum_categories"],
}
CHILDREN_REFUSED = ["ticket_comments", "static_list_memberships", "quotation_documents"]


def readable(crm: Crm, **settings: object) -> dict[str, object]:
    crm.sandbox.reset_log()
    return {name: entity.facts["readable"] for name, entity in entities(crm.settings(**settings)).entities.items()}


def test_entities_sends_one_call_for_one_row_per_entity(crm: Crm) -> None:
    access = readable(crm)
    checked = [*LISTS, *CHILDREN]
    assert access == {name: True if name in checked else None for name in ENTITIES}
    assert len(crm.sandbox.log) == len(checked) == len({call.path for call in crm.sandbox.log})
    assert {call.query.get("top") for call in crm.sandbox.log if ENTITIES["emails"].path in call.path} == {"1"}


def test_entities_reports_why_the_plan_refuses_an_entity(crm: Crm, tmp_path: Path) -> None:
    crm.sandbox.switches = replace(OPEN, plan="professional")
    ran = command("entities", "--json", cwd=tmp_path, **reach(crm.sandbox))
    assert (ran.code, ran.json["status"], ran.json["calls"]) == (
        0,
        "done",
        len(LISTS) + len(CHILDREN) - len(CHILDREN_REFUSED),
    )
    for status, names in REFUSED.items():
        for name in names:
            entity = ran.json["entities"][name]
            assert (entity["readable"], entity["state"], str(status) in entity["reason"]) == (False, "skipped", True)
    assert ran.json["entities"]["contacts"] == {**ran.json["entities"]["contacts"], "readable": True, "reason": None}
    assert ran.json["entities"]["comments"]["readable"] is True
    assert {ran.json["entities"][name]["readable"] for name in CHILDREN_REFUSED} == {False}
    assert "records of tickets: they may not be read" in ran.json["entities"]["ticket_comments"]["reason"]
    assert "contacts__links" in ran.json["entities"]["links"]["reason"]
    assert ran.json["table"]["emails"]["presets"] == ["all"]
    assert "deals" in ran.json["table"]["opportunities"]["description"]
    text = command("entities", cwd=tmp_path, **reach(crm.sandbox))
    assert "403" in text.out
    assert crm.sandbox.key not in ran.out + ran.err + text.out + text.err


def test_entities_checks_child_rows_at_one_parent(crm: Crm, make_crm: MakeCrm) -> None:
    crm.sandbox.faults.add(Fault("forbidden", match="regex:^Opportunities/[0-9]+/StateHistory", times=None))
    crm.sandbox.faults.add(Fault("missing", match="regex:^Ticket/[0-9]+/Comments", times=None))
    access = readable(crm)
    assert (access["opportunity_state_history"], access["ticket_comments"], access["comments"]) == (False, None, True)
    empty = entities(make_crm(contents=Contents()).settings()).entities["comments"]
    assert (empty.facts["readable"], "no parent record to test with" in (empty.reason or "")) == (None, True)


@pytest.mark.sample(0)
def test_a_plan_without_modules_is_synced_swept_and_verified(crm: Crm, capsys: pytest.CaptureFixture[str]) -> None:
    crm.sandbox.switches = replace(OPEN, plan="professional")
    settings, target = crm.settings(entities="all"), Target(database=str(crm.database))
    first = crm.sync_done(entities="all")
    second = crm.sync_done(entities="all")
    known = {*PRESETS["all"], *(normalize(row["OBJECT_NAME"]) for row in crm.sandbox.store.rows("custom_objects"))}
    for report in (first, second, sweep(settings, target), verify(settings, target, quick=True)):
        states = [entity.state for entity in report.entities.values()]
        assert set(report.entities) == known
        assert (report.exit_code, states.count("skipped"), states.count("ok")) == (0, 15, len(known) - 15)
    show(second)
    shown = capsys.readouterr().out.splitlines()
    assert (len(shown), "nothing new in contacts" in shown[0], "knowledge_articles" in shown[1]) == (3, True, True)
    show(first)
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 1 + (len(known) - 15) + 2


def test_entities_reports_permissions_that_differ_from_the_response(crm: Crm) -> None:
    crm.sandbox.switches = replace(OPEN, forbidden=frozenset({"leads"}))
    crm.sandbox.faults.add(Fault("forbidden", match="Contacts", times=None))
    report = entities(crm.settings())
    contacts, leads = report.entities["contacts"], report.entities["leads"]
    assert contacts.facts["readable"] is leads.facts["readable"] is False
    assert "/Permissions says that it may be read" in (contacts.reason or "")
    assert "/Permissions" not in (leads.reason or "")


def test_entities_without_a_key_sends_nothing(crm: Crm, tmp_path: Path) -> None:
    without = {**reach(crm.sandbox), "SOURCES__INSIGHTLY__API_KEY": ""}
    ran = command("entities", "--json", cwd=tmp_path, **without)
    assert (ran.code, crm.sandbox.log) == (0, [])
    assert {entity["readable"] for entity in ran.json["entities"].values()} == {None}
    text = command("entities", cwd=tmp_path, **without).out
    assert "not checked without a key" in text
    assert "KnowledgeArticleFolder" in text


def test_entities_stops_at_max_calls(crm: Crm, tmp_path: Path) -> None:
    ran = command("entities", "--max-calls", "6", "--json", cwd=tmp_path, **reach(crm.sandbox))
    assert (ran.code, ran.json["status"], ran.json["calls"], crm.sandbox.calls()) == (3, "stopped", 6, 6)
    access = [entity["readable"] for entity in ran.json["entities"].values()]
    assert (access.count(True), access.count(False)) == (6, 0)


def test_entities_fails_if_the_key_is_refused_or_the_service_fails(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.insightly.api.client.MAX_WAIT", 0.001)
    crm.sandbox.faults.add(Fault("503", match="Notes", times=None))
    report = entities(crm.settings())
    assert (report.exit_code, report.entities["notes"].facts["readable"]) == (1, None)
    assert "503" in (report.reason or "")
    ran = command("entities", "--json", cwd=crm.folder, **{**reach(crm.sandbox), "SOURCES__INSIGHTLY__API_KEY": "no"})
    assert (ran.code, "401" in ran.json["reason"]) == (1, True)


def test_check_reports_plan_and_permissions(crm: Crm, tmp_path: Path) -> None:
    crm.sandbox.switches = replace(OPEN, plan="professional")
    ran = command("check", "--json", cwd=tmp_path, **reach(crm.sandbox))
    assert ran.code == 0
    assert ran.json["account"]["PLAN_NAME"] == "Professional"
    assert ran.json["user"]["USER_ID"] in crm.sandbox.store.tables["users"].keys
    allowed = {row["OBJECT_TYPE"]: row["CAN_READ"] for row in ran.json["permissions"]["OBJECT_PERMISSIONS"]}
    assert (allowed["CONTACT"], allowed["TICKET"]) == (True, False)
    assert ran.json["calls_left_today"] == 100_000 - ran.json["calls"]
