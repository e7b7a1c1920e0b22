"""Creates, updates and deletes, over real sockets."""

from dataclasses import replace

import pytest
import requests

from tests.support.crm import OPEN
from tests.support.requests_to_sandbox import first, send


@pytest.mark.parametrize(
    "body",
    [
        {"LAST_NAME": "A"},
        {"FIRST_NAME": "A", "OWNER_USER_ID": 1},
        {"FIRST_NAME": "A", "ORGANISATION_ID": "17"},
        {"FIRST_NAME": "A" * 256},
        {"FIRST_NAME": 5},
        {"FIRST_NAME": "A", "OWNER_USER_ID": "me"},
        {"FIRST_NAME": "A", "DATE_OF_BIRTH": "long ago"},
        {"FIRST_NAME": "A", "TAGS": [{}]},
        {"FIRST_NAME": "A", "CUSTOMFIELDS": [{"FIELD_NAME": "Nope__c", "FIELD_VALUE": 1}]},
        {"FIRST_NAME": "A", "CUSTOMFIELDS": [{"FIELD_NAME": "Interests__c", "FIELD_VALUE": "Knitting"}]},
        {"FIRST_NAME": "A", "CUSTOMFIELDS": [{"FIELD_NAME": "Newsletter__c", "FIELD_VALUE": "yes"}]},
        {"FIRST_NAME": "A", "LINKS": [{"LINK_OBJECT_NAME": "Organisation", "LINK_OBJECT_ID": 1}]},
        [],
    ],
)
def test_invalid_bodies_are_refused_with_a_message(sandbox, body):
    before = sandbox.store.count("contacts")
    response = send(sandbox, "Contacts", "POST", json=body)
    assert response.status_code == 400
    assert response.json()["Message"]
    assert sandbox.store.count("contacts") == before


def test_read_only_fields_are_ignored_and_null_clears(sandbox):
    row = first(sandbox, "contacts")
    body = {"CONTACT_ID": row["CONTACT_ID"], "DATE_CREATED_UTC": "2001-01-01 00:00:00", "TITLE": None}
    changed = send(sandbox, "Contacts", "PUT", json=body).json()
    assert changed == row | {"TITLE": None, "DATE_UPDATED_UTC": "2026-11-02 12:00:00"}
    assert send(sandbox, "Contacts", "PUT", json={"CONTACT_ID": row["CONTACT_ID"]}).status_code == 200
    assert send(sandbox, "Contacts", "PUT", json={"CONTACT_ID": row["CONTACT_ID"], "FIRST_NAME": ""}).status_code == 400
    assert send(sandbox, "Contacts", "PUT", json={"TITLE": "x"}).status_code == 400
    assert send(sandbox, "Contacts/5", "PUT", json={"CONTACT_ID": 6}).status_code == 400
    assert send(sandbox, "Contacts/5", "PUT", json={}).status_code == 404


def test_custom_fields_merge_by_name(sandbox):
    row = first(sandbox, "contacts")
    body = {"CONTACT_ID": row["CONTACT_ID"], "CUSTOMFIELDS": [{"FIELD_NAME": "Hobby__c", "FIELD_VALUE": "Judo"}]}
    fields = {
        item["FIELD_NAME"]: item["FIELD_VALUE"]
        for item in send(sandbox, "Contacts", "PUT", json=body).json()["CUSTOMFIELDS"]
    }
    assert fields["Hobby__c"] == "Judo"
    assert "Newsletter__c" in fields


def test_lead_gets_defaults_and_completed_task_a_date(sandbox):
    lead = send(sandbox, "Leads", "POST", json={"LAST_NAME": "Nobody"}).json()
    assert (lead["CONVERTED"], lead["LEAD_STATUS_ID"], lead["LEAD_SOURCE_ID"]) == (False, 3401, 3301)
    assert (lead["EMAIL"], lead["EMPLOYEE_COUNT"], lead["EMAIL_OPTED_OUT"]) == ("", 0, False)
    assert lead["LINKED_EMAIL_ADDRESS"] == f"sandbox-trading-L{lead['LEAD_ID']}@mail.sandbox.example"
    task = send(sandbox, "Tasks", "POST", json={"TITLE": "Call"}).json()
    done = send(sandbox, "Tasks", "PUT", json={"TASK_ID": task["TASK_ID"], "COMPLETED": True}).json()
    assert (done["STATUS"], done["COMPLETED_DATE_UTC"]) == ("COMPLETED", "2026-11-02 12:00:00")
    task = send(sandbox, "Tasks", "POST", json={"TITLE": "Called", "STATUS": "COMPLETED"}).json()
    assert (task["COMPLETED"], task["COMPLETED_DATE_UTC"]) == (True, "2026-11-02 12:00:00")
    won = {
        "OPPORTUNITY_NAME": "Pumps",
        "OPPORTUNITY_STATE": "WON",
        "BID_AMOUNT": 9,
        "BID_TYPE": "Per Day",
        "BID_DURATION": 2,
    }
    deal = send(sandbox, "Opportunities", "POST", json=won).json()
    assert (deal["OPPORTUNITY_VALUE"], deal["ACTUAL_CLOSE_DATE"]) == (18, "2026-11-02 00:00:00")


def test_lead_source_in_use_cannot_be_deleted(sandbox):
    assert (
        send(sandbox, "LeadSources", "DELETE", params={"id": first(sandbox, "leads")["LEAD_SOURCE_ID"]}).status_code
        == 409
    )


def test_stale_if_match_is_refused(sandbox):
    sandbox.switches = replace(OPEN, etag=True)
    row = send(sandbox, "Contacts", params={"top": 1}).json()[0]
    key = row["CONTACT_ID"]
    assert send(sandbox, f"Contacts/{key}").json()["ETag"] == row["ETag"]
    changed = send(sandbox, f"Contacts/{key}", "PUT", json={"TITLE": "Cook"}, headers={"If-Match": row["ETag"]})
    assert changed.status_code == 200
    assert changed.json()["ETag"] != row["ETag"]
    stale = send(sandbox, f"Contacts/{key}", "PUT", json={"TITLE": "Cook"}, headers={"If-Match": row["ETag"]})
    assert stale.status_code == 400
    assert "If-Match" in stale.json()["Message"]


def test_ids_may_be_strings_and_null_clears_a_collection(sandbox):
    row = first(sandbox, "contacts")
    owner = sandbox.store.rows("users")[-1]["USER_ID"]
    body = {"CONTACT_ID": str(row["CONTACT_ID"]), "OWNER_USER_ID": str(owner), "TAGS": None, "CUSTOMFIELDS": []}
    changed = send(sandbox, f"Contacts/{row['CONTACT_ID']}", "PUT", json=body)
    assert changed.status_code == 200, changed.text
    assert (changed.json()["OWNER_USER_ID"], changed.json()["TAGS"]) == (owner, [])
    assert send(sandbox, "Contacts", "PUT", json={"CONTACT_ID": "one"}).status_code == 400


def test_new_category_can_be_deactivated_once(sandbox):
    made = send(sandbox, "TaskCategories", "POST", json={"CATEGORY_NAME": "Calls", "BACKGROUND_COLOR": "3A7FB5"}).json()
    assert made["ACTIVE"] is True
    path = f"TaskCategories/{made['CATEGORY_ID']}"
    assert [send(sandbox, path, "DELETE").status_code for _ in range(2)] == [202, 409]
    assert send(sandbox, path).json()["ACTIVE"] is False


@pytest.mark.parametrize(
    ("switch", "value", "default", "other"),
    [
        ("field_case", "upper", 201, 400),
        ("unknown_fields", "refused", 201, 400),
        ("zero_ids", "refused", 201, 400),
        ("duplicate_link", "refused", 201, 400),
        ("duplicate_link", "added", 201, 201),
        ("date_formats", "documented", 200, 400),
        ("flag_values", "documented", 200, 400),
        ("password", "blank", 200, 401),
        ("aliases", False, 200, 404),
    ],
)
def test_what_is_unknown_has_a_switch(sandbox, switch, value, default, other):
    contact, organisation = first(sandbox, "contacts")["CONTACT_ID"], first(sandbox, "organisations")["ORGANISATION_ID"]
    link = {"LINK_OBJECT_NAME": "Organisation", "LINK_OBJECT_ID": organisation, "ROLE": "Twice"}

    def status() -> int:
        match switch:
            case "field_case":
                return send(sandbox, "Contacts", "POST", json={"first_name": "Ada"}).status_code
            case "unknown_fields":
                return send(sandbox, "Contacts", "POST", json={"FIRST_NAME": "Ada", "SHOE_SIZE": 40}).status_code
            case "zero_ids":
                made = send(sandbox, "Contacts", "POST", json={"FIRST_NAME": "Ada", "ORGANISATION_ID": 0})
                assert made.status_code == 400 or made.json()["ORGANISATION_ID"] is None
                return made.status_code
            case "duplicate_link":
                return [send(sandbox, f"Contacts/{contact}/Links", "POST", json=link).status_code for _ in range(2)][-1]
            case "date_formats":
                stamp = "2026-11-01T03:00:00.000+02:00"
                born = {"CONTACT_ID": contact, "DATE_OF_BIRTH": stamp}
                statuses = {
                    send(sandbox, "Contacts/Search", params={"updated_after_utc": stamp}).status_code,
                    send(sandbox, "Contacts", "PUT", json=born).status_code,
                }
                return statuses.pop() if len(statuses) == 1 else 0
            case "flag_values":
                return send(sandbox, "Contacts", params={"brief": "1"}).status_code
            case "password":
                return requests.get(f"{sandbox.url}/Instance", auth=(sandbox.key, "x"), timeout=10).status_code
        return send(sandbox, "Project").status_code

    assert status() == default
    links = len(send(sandbox, f"Contacts/{contact}/Links").json())
    sandbox.switches = replace(OPEN, **{switch: value})
    assert status() == other
    added = len(send(sandbox, f"Contacts/{contact}/Links").json()) - links
    assert added == (2 if value == "added" else 0)


def test_records_below_another_are_written_there(sandbox):
    deal = first(sandbox, "opportunities")["OPPORTUNITY_ID"]
    entry = first(sandbox, "pricebook_entries")["PRICEBOOK_ENTRY_ID"]
    path, body = (
        f"Opportunities/{deal}/OpportunityLineItem",
        {"PRICEBOOK_ENTRY_ID": entry, "QUANTITY": 2, "UNIT_PRICE": 10},
    )
    made = send(sandbox, path, "POST", json=body)
    assert made.status_code == 201, made.text
    item = made.json()
    assert (item["OPPORTUNITY_ID"], item["QUANTITY"]) == (deal, 2)
    changed = send(sandbox, path, "PUT", json={"OPPORTUNITY_ITEM_ID": item["OPPORTUNITY_ITEM_ID"], "QUANTITY": 3})
    assert changed.json()["QUANTITY"] == 3
    assert send(sandbox, f"{path}/{item['OPPORTUNITY_ITEM_ID']}", "DELETE").status_code == 202
    assert send(sandbox, f"OpportunityLineItem/{item['OPPORTUNITY_ITEM_ID']}").status_code == 404
    assert send(sandbox, "Opportunities/1/OpportunityLineItem", "POST", json=body).status_code == 404
    assert send(sandbox, path, "PATCH").status_code in (405, 501)


def test_custom_objects_have_files(sandbox):
    record = sandbox.store.rows("Site_Visit__c")[0]["RECORD_ID"]
    path = f"Site_Visit__c/{record}/FileAttachments"
    assert send(sandbox, path).json() == []
    made = send(sandbox, path, "POST", files={"file": ("roof.png", b"\x89PNG", "image/png")})
    assert made.status_code == 201
    assert send(sandbox, path).json() == [made.json()]


def test_marketing_visits_by_id_are_those_of_a_prospect(sandbox):
    visit = first(sandbox, "marketing_visits")
    rows = send(sandbox, f"MarketingVisits/{visit['PROSPECT_ID']}", params={"count_total": "true"})
    of_prospect = [row for row in sandbox.store.rows("marketing_visits") if row["PROSPECT_ID"] == visit["PROSPECT_ID"]]
    assert (rows.json(), rows.headers["X-Total-Count"]) == (of_prospect, str(len(of_prospect)))


@pytest.mark.parametrize("path", ["Contacts/5/Follow", "Contacts/5/Image", "MergeDocument", "Translations/x"])
def test_paths_that_are_not_served_answer_501(sandbox, path):
    answer = send(sandbox, path)
    assert answer.status_code == 501
    assert f"does not serve {path.split('/')[-1 if '5' in path else 0]}" in answer.json()["Message"]
