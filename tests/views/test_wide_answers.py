"""The rows of the wide views, for records made by hand: one for each record, whatever it is joined with."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from pipelines.commands.sweep import sweep
from pipelines.sandbox import Store
from pipelines.views.build import create_views
from tests.support.crm import Crm
from tests.support.marts import DESTINATIONS, answer, empty_crm

TODAY = datetime.now(UTC).date()
ADA, HOPPER = 1, 2
ACME, BYGONE = 101, 102
GRACE, ALAN, LEFT, NAMELESS = 201, 202, 203, 204
BIG, SMALL, LOST, GONE_DEAL = 301, 302, 303, 304


def tags(*names: str) -> list[dict[str, str]]:
    return [{"TAG_NAME": name} for name in names]


def link(kind: str, id_: int, role: str | None = None) -> dict[str, Any]:
    return {"LINK_OBJECT_NAME": kind, "LINK_OBJECT_ID": id_, "ROLE": role}


def lists(store: Store) -> None:
    store.create("users", {"USER_ID": ADA, "FIRST_NAME": "Ada", "LAST_NAME": "Lovelace"})
    store.create("users", {"USER_ID": HOPPER, "FIRST_NAME": None, "LAST_NAME": "Hopper"})
    store.create("pipelines", {"PIPELINE_ID": 1, "PIPELINE_NAME": "Sales"})
    store.create("pipeline_stages", {"STAGE_ID": 12, "PIPELINE_ID": 1, "STAGE_NAME": "Offer", "STAGE_ORDER": 2})
    store.create("lead_sources", {"LEAD_SOURCE_ID": 7, "LEAD_SOURCE": "Fair"})
    store.create("lead_statuses", {"LEAD_STATUS_ID": 8, "LEAD_STATUS": "Converted"})
    store.create("opportunity_categories", {"CATEGORY_ID": 31, "CATEGORY_NAME": "New business"})
    store.create("task_categories", {"CATEGORY_ID": 32, "CATEGORY_NAME": "Phone"})
    store.create("teams", {"TEAM_ID": 41, "TEAM_NAME": "Sales team"})
    store.create("projects", {"PROJECT_ID": 501, "PROJECT_NAME": "Roll-out", "STATUS": "IN PROGRESS"})
    relationship = {"FORWARD": "is the manager of", "REVERSE": "is managed by", "FOR_CONTACTS": True}
    store.create("relationships", {"RELATIONSHIP_ID": 951, **relationship})
    store.define("OPPORTUNITY", "Deal_No__c", "TEXT")


def companies_and_people(store: Store) -> None:
    domains = [{"EMAIL_DOMAIN": domain} for domain in ("acme.example", "acme.com.example", "acme.example")]
    acme = {"ORGANISATION_NAME": "Acme", "OWNER_USER_ID": HOPPER, "TAGS": tags("key"), "EMAILDOMAINS": domains}
    store.create("organisations", {"ORGANISATION_ID": ACME, **acme})
    store.create("organisations", {"ORGANISATION_ID": 103, "ORGANISATION_NAME": "Alone"})
    store.create("organisations", {"ORGANISATION_ID": BYGONE, "ORGANISATION_NAME": "Bygone"})
    for id_, first, last, company in (
        (GRACE, "Grace", "Murray", ACME),
        (ALAN, "Alan", None, BYGONE),
        (LEFT, "Left", "Us", ACME),
        (NAMELESS, None, "", None),
    ):
        person = {"FIRST_NAME": first, "LAST_NAME": last, "ORGANISATION_ID": company, "OWNER_USER_ID": ADA}
        person |= {"EMAIL_ADDRESS": f"{id_}@example.com", "TAGS": tags("b", "a", "b") if id_ == GRACE else []}
        store.create("contacts", {"CONTACT_ID": id_, **person})
    manages = store.add_link("contacts", GRACE, "Contact", ALAN)
    store.change_links("contacts", GRACE, manages["LINK_ID"], {"RELATIONSHIP_ID": 951})


def deals(store: Store) -> None:
    created = {"DATE_CREATED_UTC": "2026-01-05 23:30:00", "BID_CURRENCY": "EUR"}
    store.create(
        "opportunities",
        {
            **created,
            "OPPORTUNITY_ID": BIG,
            "OPPORTUNITY_NAME": "Big deal",
            "OPPORTUNITY_STATE": "Open",
            "OPPORTUNITY_VALUE": 0.3,
            "PROBABILITY": 50,
            "PIPELINE_ID": 1,
            "STAGE_ID": 12,
            "CATEGORY_ID": 31,
            "OWNER_USER_ID": ADA,
            "RESPONSIBLE_USER_ID": HOPPER,
            "ORGANISATION_ID": ACME,
            "TAGS": tags("vip", "fair", "vip"),
            "CUSTOMFIELDS": [{"FIELD_NAME": "Deal_No__c", "FIELD_VALUE": "D-1"}],
            "LINKS": [
                link("Contact", GRACE, "Buyer"),
                link("Contact", ALAN, "Primary contact"),
                link("Contact", GRACE, "Signs"),
                link("Contact", LEFT, "primary"),
                link("Organisation", ACME),
            ],
        },
    )
    # Its organisation is deleted, and so is the contact that is linked first; Grace alone lists the link to it.
    small = {"OPPORTUNITY_ID": SMALL, "OPPORTUNITY_NAME": "Small deal", "OPPORTUNITY_STATE": "WON"}
    closed = {"ACTUAL_CLOSE_DATE": "2026-01-08 00:00:00", "OPPORTUNITY_VALUE": 10, "PROBABILITY": None}
    contact = link("Contact", LEFT)
    store.create("opportunities", {**created, **small, **closed, "ORGANISATION_ID": BYGONE, "LINKS": [contact]})
    store.create("opportunities", {**created, "OPPORTUNITY_ID": LOST, "OPPORTUNITY_STATE": "LOST", "STAGE_ID": 99})
    store.create("opportunities", {**created, "OPPORTUNITY_ID": GONE_DEAL, "LINKS": [link("Contact", GRACE)]})
    only_here = {"LINK_ID": 77, "OBJECT_NAME": "Contact", "OBJECT_ID": GRACE, "ROLE": "Friend", "DETAILS": "of old"}
    far = {"LINK_OBJECT_NAME": "Opportunity", "LINK_OBJECT_ID": SMALL, "IS_FORWARD": True}
    # As the other record sees it: the ends are the other way round.
    turned = {"LINK_ID": 78, "OBJECT_NAME": "Project", "OBJECT_ID": 5, "IS_FORWARD": True}
    turned |= {"LINK_OBJECT_NAME": "Contact", "LINK_OBJECT_ID": GRACE}
    links = (store.get("contacts", GRACE) or {})["LINKS"]
    store.update("contacts", GRACE, {"LINKS": [*links, only_here | far, turned]})


def leads(store: Store) -> None:
    def lead(id_: int, converted: str | None, source: int | None = 7, **became: int) -> None:
        known = {"LAST_NAME": f"Lead {id_}", "CONVERTED": converted is not None, "CONVERTED_DATE_UTC": converted}
        known |= {"DATE_CREATED_UTC": "2026-01-03 23:59:59", "LEAD_SOURCE_ID": source, "LEAD_STATUS_ID": 8}
        fields = {f"CONVERTED_{name.upper()}_ID": id_ for name, id_ in became.items()}
        store.create("leads", {"LEAD_ID": id_, **known, **fields, "OWNER_USER_ID": ADA, "TAGS": tags("hot", "hot")})

    lead(401, "2026-01-05 23:00:00", 99, opportunity=BIG, contact=GRACE, organisation=ACME)
    lead(402, "2026-01-05 22:00:00", opportunity=BIG, contact=LEFT, organisation=BYGONE)
    lead(403, None)
    lead(404, "2026-01-02 00:00:00", contact=GRACE)


def work(store: Store) -> None:
    call = {"TITLE": "Call", "CATEGORY_ID": 32, "DUE_DATE": (TODAY - timedelta(days=10)).isoformat() + " 00:00:00"}
    people = {"OWNER_USER_ID": ADA, "RESPONSIBLE_USER_ID": HOPPER, "ASSIGNED_BY_USER_ID": ADA, "ASSIGNED_TEAM_ID": 41}
    about = {"OPPORTUNITY_ID": BIG, "PROJECT_ID": 501, "DETAILS": "Ask for the order"}
    # The contact that is linked first is deleted.
    links = [link("Contact", LEFT), link("Opportunity", BIG), link("Project", 501)]
    store.create("tasks", {"TASK_ID": 601, **call, **people, **about, "LINKS": links})
    sent = {"TITLE": "Sent", "COMPLETED": True, "COMPLETED_DATE_UTC": "2026-01-07 23:30:00", "OWNER_USER_ID": ADA}
    store.create("tasks", {"TASK_ID": 602, **sent, "DUE_DATE": "2026-01-06 00:00:00", "OPPORTUNITY_ID": GONE_DEAL})
    meeting = {"START_DATE_UTC": "2999-12-31 08:00:00", "END_DATE_UTC": "2999-12-31 09:00:00"}
    store.create("events", {"EVENT_ID": 611, "TITLE": "Meeting", **meeting, "LINKS": [link("Lead", 401)]})
    note = {"BODY": "<p>Nice</p>", "OWNER_USER_ID": 99, "DATE_CREATED_UTC": "2026-01-09 10:00:00"}
    store.create("notes", {"NOTE_ID": 621, "TITLE": "Note", **note, "LINKS": [link("Organisation", ACME)]})
    email = {"DATE_CREATED_UTC": "2026-01-11 10:00:00", "EMAIL_DATE_UTC": "2026-01-10 10:00:00"}
    store.create("emails", {"EMAIL_ID": 631, "SUBJECT": "Offer", **email, "LINKS": [link("Contact", ALAN)]})
    store.create("notes", {"NOTE_ID": 622, "TITLE": "Left Us"})


WIDE = [f"{entity}_wide" for entity in ("contacts", "leads", "opportunities", "organisations", "tasks")]
WIDE += ["activities", "record_links"]
GONE = {"contacts": [LEFT], "opportunities": [GONE_DEAL], "organisations": [BYGONE], "notes": [622]}


@pytest.fixture(scope="module", params=DESTINATIONS)
def wide(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crm]:
    """A destination with wide views over records made by hand, some of them deleted since."""
    with empty_crm(request, tmp_path_factory.mktemp("wide")) as crm:
        for make in (lists, companies_and_people, deals, leads, work):
            make(crm.sandbox.store)
        crm.sync_done()
        crm.sync_done("emails", "opportunity_categories", "task_categories", "teams", "relationships")
        for entity, ids in GONE.items():
            for id_ in ids:
                crm.sandbox.store.delete(entity, id_)
        sweep(crm.settings(), crm.target, list(GONE), thorough=True)
        assert create_views(crm.target).exit_code == 0
        yield crm


def test_opportunities_wide_has_one_row_a_deal(wide: Crm) -> None:
    names = "pipeline_name, stage_name, stage_order, category_name, owner_name, responsible_name, organisation_name"
    assert answer(wide, "opportunities_wide", f"opportunity_id, deal_state, {names}") == [
        (BIG, "OPEN", "Sales", "Offer", 2, "New business", "Ada Lovelace", "Hopper", "Acme"),
        (SMALL, "WON", None, None, None, None, None, None, None),
        (LOST, "LOST", None, None, None, None, None, None, None),
    ]
    assert answer(wide, "opportunities_wide", "organisation_id, deal_no__c, lead_id, lead_source") == [
        (ACME, "D-1", 402, "Fair"),
        (BYGONE, None, None, None),
        (None, None, None, None),
    ]


def test_opportunities_wide_names_the_contact_that_is_primary(wide: Crm) -> None:
    columns = "opportunity_id, primary_contact_name, primary_contact_role, primary_contact_email, contacts"
    assert answer(wide, "opportunities_wide", columns) == [
        (BIG, "Alan", "Primary contact", f"{ALAN}@example.com", 2),
        (SMALL, "Grace Murray", "Friend", f"{GRACE}@example.com", 1),
        (LOST, None, None, None, 0),
    ]


def test_opportunities_wide_has_age_value_and_tags(wide: Crm) -> None:
    columns = "opportunity_id, weighted_value, tags, days_open"
    big, small, lost = answer(wide, "opportunities_wide", columns)
    assert big[:3] == (BIG, Decimal("0.15"), ["fair", "vip"])
    assert 0 <= (datetime.now(UTC).date() - date(2026, 1, 5)).days - big[3] <= 1
    assert (small, lost) == ((SMALL, None, None, 3), (LOST, None, None, None))


def test_contacts_wide_has_one_row_a_contact(wide: Crm) -> None:
    columns = "contact_id, contact_name, owner_name, organisation_id, organisation_name, deals, open_deals, won_deals"
    assert answer(wide, "contacts_wide", f"{columns}, tags, lead_id, lead_source") == [
        (GRACE, "Grace Murray", "Ada Lovelace", ACME, "Acme", 2, 1, 1, ["a", "b"], 404, "Fair"),
        (ALAN, "Alan", "Ada Lovelace", BYGONE, None, 1, 1, 0, None, None, None),
        (NAMELESS, None, "Ada Lovelace", None, None, 0, 0, 0, None, None, None),
    ]


def test_organisations_wide_has_one_row_an_organisation(wide: Crm) -> None:
    columns = "organisation_name, owner_name, contacts, deals, open_deals, won_deals, email_domains, tags"
    assert answer(wide, "organisations_wide", columns) == [
        ("Acme", "Hopper", 1, 1, 1, 0, ["acme.com.example", "acme.example"], ["key"]),
        ("Alone", None, 0, 0, 0, 0, None, None),
    ]


def test_leads_wide_has_one_row_a_lead(wide: Crm) -> None:
    columns = "lead_id, lead_name, lead_status, lead_source, owner_name, converted_contact_name"
    more = "converted_organisation_name, converted_opportunity_name, days_to_conversion, tags"
    known = ("Converted", "Fair", "Ada Lovelace")
    assert answer(wide, "leads_wide", f"{columns}, {more}") == [
        (401, "Lead 401", "Converted", None, "Ada Lovelace", "Grace Murray", "Acme", "Big deal", 2, ["hot"]),
        (402, "Lead 402", *known, None, None, "Big deal", 2, ["hot"]),
        (403, "Lead 403", *known, None, None, None, None, ["hot"]),
        (404, "Lead 404", *known, "Grace Murray", None, None, -1, ["hot"]),
    ]


def test_tasks_wide_has_one_row_a_task(wide: Crm) -> None:
    names = "category_name, owner_name, responsible_name, assigned_by_name, assigned_team_name, opportunity_name"
    assert answer(wide, "tasks_wide", f"title, {names}, project_name") == [
        ("Call", "Phone", "Ada Lovelace", "Hopper", "Ada Lovelace", "Sales team", "Big deal", "Roll-out"),
        ("Sent", None, "Ada Lovelace", None, None, None, None, None),
    ]
    linked = "title, linked_type, linked_id, linked_name, links"
    assert answer(wide, "tasks_wide", f"{linked}, days_overdue between 10 and 11 as late") == [
        ("Call", "opportunities", BIG, "Big deal", 2, True),
        ("Sent", None, None, None, 0, None),
    ]


def test_activities_have_one_shape(wide: Crm) -> None:
    columns = "record_type, record_id, title, details, is_done, activity_date, owner_user_id, owner_name"
    assert answer(wide, "activities", columns) == [
        ("emails", 631, "Offer", None, True, date(2026, 1, 10), None, None),
        ("events", 611, "Meeting", None, False, date(2999, 12, 31), None, None),
        ("notes", 621, "Note", "<p>Nice</p>", True, date(2026, 1, 9), 99, None),
        ("tasks", 601, "Call", "Ask for the order", False, TODAY - timedelta(days=10), HOPPER, "Hopper"),
        ("tasks", 602, "Sent", None, True, date(2026, 1, 7), ADA, "Ada Lovelace"),
    ]
    assert answer(wide, "activities", "record_id, activity_at, linked_type, linked_id, linked_name, links") == [
        (601, None, "opportunities", BIG, "Big deal", 2),
        (602, datetime(2026, 1, 7, 23, 30, tzinfo=UTC), None, None, None, 0),
        (611, datetime(2999, 12, 31, 8, tzinfo=UTC), "leads", 401, "Lead 401", 1),
        (621, datetime(2026, 1, 9, 10, tzinfo=UTC), "organisations", ACME, "Acme", 1),
        (631, datetime(2026, 1, 10, 10, tzinfo=UTC), "contacts", ALAN, "Alan", 1),
    ]


def test_record_links_has_each_link_in_both_directions(wide: Crm) -> None:
    columns = "record_type, record_name, linked_type, linked_id, linked_name, role, details, relationship, is_forward"
    assert answer(wide, "record_links", columns, f"record_id in ({GRACE}, {SMALL})") == [
        ("contacts", "Grace Murray", "contacts", ALAN, "Alan", None, None, "is the manager of", True),
        ("contacts", "Grace Murray", "opportunities", BIG, "Big deal", "Buyer", None, None, False),
        ("contacts", "Grace Murray", "opportunities", BIG, "Big deal", "Signs", None, None, False),
        ("contacts", "Grace Murray", "opportunities", SMALL, "Small deal", "Friend", "of old", None, True),
        ("contacts", "Grace Murray", "projects", 5, None, None, None, None, False),
        ("opportunities", "Small deal", "contacts", GRACE, "Grace Murray", "Friend", "of old", None, False),
    ]
    there = answer(wide, "record_links", "record_type, record_id, linked_type, linked_id, link_id")
    back = answer(wide, "record_links", "linked_type, linked_id, record_type, record_id, link_id")
    assert there == back
    assert len(set(there)) == len(there) == 24
    reverse = answer(wide, "record_links", "linked_name, relationship", f"record_id = {ALAN} and linked_id = {GRACE}")
    assert reverse == [("Grace Murray", "is managed by")]


def test_names_of_deleted_records_are_in_no_wide_view(wide: Crm) -> None:
    deleted = {"Left Us", "Bygone"}
    for mart in WIDE:
        rows = wide.read(f"select * from insightly_marts.{mart}")
        assert not [row for row in rows if deleted & {value for value in row.values() if isinstance(value, str)}]
