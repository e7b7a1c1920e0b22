"""The user, the instance, permissions, custom fields and tag names, over real sockets."""

from dataclasses import replace

import pytest

from tests.support.crm import OPEN
from tests.support.requests_to_sandbox import RECORDED, RECORDED_ENTITIES, send


def test_account_routes_return_user_instance_and_permissions(read_only):
    me = send(read_only, "Users/Me").json()
    assert me["ACCOUNT_OWNER"] is True
    instance = send(read_only, "Instance").json()
    assert set(instance) == set(RECORDED_ENTITIES["instance"]["fields"])
    assert instance["PLAN_NAME"] == "Enterprise"
    rows = send(read_only, "Permissions").json()["OBJECT_PERMISSIONS"]
    assert set(rows[0]) == set(RECORDED_ENTITIES["permissions"]["fields"]["OBJECT_PERMISSIONS"]["array"])
    assert all(row["CAN_READ"] for row in rows)


def test_custom_fields_by_singular_plural_and_unknown_name(read_only):
    contact, contacts = send(read_only, "CustomFields/contact").json(), send(read_only, "CustomFields/Contacts").json()
    assert contact == contacts
    assert {row["FIELD_FOR"] for row in contacts} == {"CONTACT"}
    assert set(contacts[0]) == set(RECORDED_ENTITIES["custom_fields"]["fields"])
    everything = send(read_only, "CustomFields/Nonsense").json()
    assert len({row["FIELD_FOR"] for row in everything}) > 5
    assert send(read_only, "CustomFields").status_code == 404
    one = send(read_only, "CustomFields/Contacts/Search", params={"fieldName": "Hobby__c"}).json()
    assert one["FIELD_LABEL"] == "Hobby"
    assert {row["FIELD_FOR"] for row in send(read_only, "CustomFields/Products").json()} == {"PRODUCT"}


@pytest.mark.parametrize("kind", RECORDED["record_types"])
def test_tag_names_are_sorted_and_distinct(read_only, kind):
    rows = send(read_only, "Tags", params={"record_type": kind, "count_total": "true"})
    names = [row["TAG_NAME"] for row in rows.json()]
    assert names == sorted(set(names))
    assert rows.headers["X-Total-Count"] == str(len(names))
    assert names or kind == "emails"


def test_tag_names_need_a_valid_record_type(read_only):
    assert send(read_only, "Tags").status_code == 400
    assert send(read_only, "Tags", params={"record_type": "tasks"}).status_code == 400


def test_plan_and_permissions_refuse_entities(sandbox):
    sandbox.switches = replace(OPEN, plan="professional", forbidden=frozenset({"leads"}), missing=frozenset({"tasks"}))
    expected = {"Product": 404, "Quotation": 404, "Ticket": 403, "CommunityComments": 403, "Leads": 403, "Tasks": 404}
    for path, status in expected.items():
        response = send(sandbox, path)
        assert response.status_code == status, path
        assert response.json()["Message"]
    assert send(sandbox, "Leads/Search").status_code == 403
    assert send(sandbox, "Tags", params={"record_type": "leads"}).status_code == 403
    assert send(sandbox, "Contacts").status_code == 200
    can = {row["OBJECT_TYPE"]: row["CAN_READ"] for row in send(sandbox, "Permissions").json()["OBJECT_PERMISSIONS"]}
    assert (can["CONTACT"], can["LEAD"], can["PRODUCT"]) == (True, False, False)
    assert send(sandbox, "Instance").json()["PLAN_NAME"] == "Professional"
