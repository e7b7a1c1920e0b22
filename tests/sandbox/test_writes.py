"""Creates, updates and deletes, over real sockets."""

from dataclasses import replace

import pytest

from tests.support.crm import OPEN
from tests.support.requests_to_sandbox import first, send


@pytest.mark.parametrize(
    "body",
    [
        {"FIRST_NAME": "A", "NO_SUCH_FIELD": 1},
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
    task = send(sandbox, "Tasks", "POST", json={"TITLE": "Call"}).json()
    done = send(sandbox, "Tasks", "PUT", json={"TASK_ID": task["TASK_ID"], "COMPLETED": True}).json()
    assert (done["STATUS"], done["COMPLETED_DATE_UTC"]) == ("COMPLETED", "2026-11-02 12:00:00")


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
