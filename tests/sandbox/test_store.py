"""Edits to the store, and how the sandbox serves them."""

import pytest

from pipelines.sandbox import Contents, Sandbox, Store
from tests.support.crm import OPEN
from tests.support.requests_to_sandbox import ids_of, send


def test_store_edits_are_served_at_once(sandbox):
    made = sandbox.store.create("contacts", {"FIRST_NAME": "Zed", "TAGS": [{"TAG_NAME": "x"}]})
    key = made["CONTACT_ID"]
    assert send(sandbox, f"Contacts/{key}").json() == made
    sandbox.store.update("contacts", key, {"TITLE": "Baker"})
    assert send(sandbox, f"Contacts/{key}").json()["TITLE"] == "Baker"
    sandbox.store.delete("contacts", key)
    assert send(sandbox, f"Contacts/{key}").status_code == 404
    with pytest.raises(KeyError):
        sandbox.store.delete("contacts", key)


def test_raw_values_are_served_unchanged(sandbox):
    sandbox.store.put_raw(
        "contacts", {"CONTACT_ID": 7, "FIRST_NAME": "nul\x00", "NEW_KEY": 2**70, "LAST_NAME": "\ud800"}
    )
    raw = b'{"CONTACT_ID": 8, "DATE_UPDATED_UTC": "0001-01-01 00:00:00", "BID": 0.12345678901234567890}'
    sandbox.store.put_raw("contacts", raw)
    text = send(sandbox, "Contacts").text
    assert text.startswith('[{"CONTACT_ID":7,"FIRST_NAME":"nul\\u0000","NEW_KEY":1180591620717411303424')
    assert raw.decode() in text
    brief = send(sandbox, "Contacts", params={"brief": "true", "top": 1}).json()
    assert brief[0]["NEW_KEY"] == 2**70


def test_custom_field_can_be_defined(sandbox):
    sandbox.store.define("CONTACT", "Shoe_Size__c", "NUMERIC")
    names = [row["FIELD_NAME"] for row in send(sandbox, "CustomFields/Contacts").json()]
    assert names[-1] == "Shoe_Size__c"
    body = {"FIRST_NAME": "A", "CUSTOMFIELDS": [{"FIELD_NAME": "Shoe_Size__c", "FIELD_VALUE": 44.5}]}
    made = send(sandbox, "Contacts", "POST", json=body).json()
    found = send(sandbox, "Contacts/Search", params={"field_name": "Shoe_Size__c", "field_value": "44.5"})
    assert ids_of(found) == [made["CONTACT_ID"]]


def test_empty_account_responds(sandbox):
    with Sandbox(contents=Contents(), switches=OPEN) as bare:
        assert send(bare, "Contacts", params={"count_total": "true"}).headers["X-Total-Count"] == "0"
        assert send(bare, "Users/Me").status_code == 404
        assert bare.store.create("leads", {"LAST_NAME": "First"})["LEAD_ID"] == 1
    assert Store().rows("leads") == []
