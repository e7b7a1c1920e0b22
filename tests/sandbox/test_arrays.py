"""Tags, links, dates, e-mail domains and the state of a deal, over real sockets."""

from dataclasses import replace

import pytest

from tests.support.crm import OPEN
from tests.support.requests_to_sandbox import RECORDED_ENTITIES, first, ids_of, send


def test_tags_are_added_replaced_and_removed(sandbox):
    key = first(sandbox, "contacts")["CONTACT_ID"]
    path = f"Contacts/{key}/Tags"
    assert send(sandbox, path, "PUT", json=[{"TAG_NAME": "one"}, {"TAG_NAME": "two"}]).status_code == 200
    assert send(sandbox, path, "POST", json={"TAG_NAME": "three"}).status_code == 201
    assert send(sandbox, path, "DELETE", json={"TAG_NAME": "one"}).status_code == 202
    assert send(sandbox, path, "DELETE", json={"TAG_NAME": "one"}).status_code == 417
    assert send(sandbox, path).json() == [{"TAG_NAME": "two"}, {"TAG_NAME": "three"}]
    assert ids_of(send(sandbox, "Contacts/SearchByTag", params={"tagName": "three"})) == [key]
    row = sandbox.store.get("contacts", key)
    assert row is not None
    assert row["DATE_UPDATED_UTC"] == "2026-11-02 12:00:00"


def test_link_is_on_both_records_until_deleted(sandbox):
    contact, project = first(sandbox, "contacts")["CONTACT_ID"], first(sandbox, "projects")["PROJECT_ID"]
    body = {"LINK_OBJECT_NAME": "Project", "LINK_OBJECT_ID": project, "ROLE": "Sponsor"}
    assert (
        send(sandbox, f"Contacts/{contact}/Links", "POST", json=body | {"LINK_OBJECT_NAME": "Projects"}).status_code
        == 400
    )
    assert send(sandbox, f"Contacts/{contact}/Links", "POST", json=body | {"LINK_OBJECT_ID": 5}).status_code == 400
    made = send(sandbox, f"Contacts/{contact}/Links", "POST", json=body)
    assert made.status_code == 201
    link = made.json()["LINK_ID"]
    ends = [f"Contacts/{contact}/Links", f"Projects/{project}/Links"]
    changed = send(sandbox, ends[0], "PUT", json={"LINK_ID": link, "ROLE": "Owner"})
    assert changed.json()["ROLE"] == "Owner"
    assert [item["ROLE"] for end in ends for item in send(sandbox, end).json() if item["LINK_ID"] == link] == [
        "Owner"
    ] * 2
    assert send(sandbox, f"{ends[1]}/{link}", "DELETE").status_code == 202
    assert not any(item["LINK_ID"] == link for end in ends for item in send(sandbox, end).json())


def test_link_has_the_details_that_were_sent(sandbox):
    one, other = (row["CONTACT_ID"] for row in sandbox.store.rows("contacts")[:2])
    relationship = first(sandbox, "relationships")["RELATIONSHIP_ID"]
    sent = {"ROLE": "Manager", "DETAILS": "Since May", "RELATIONSHIP_ID": relationship}
    body = {"LINK_OBJECT_NAME": "Contact", "LINK_OBJECT_ID": other, **sent}
    made = send(sandbox, f"Contacts/{one}/Links", "POST", json=body).json()
    both = [item for key in (one, other) for item in send(sandbox, f"Contacts/{key}/Links").json()]
    found = [item for item in both if item["LINK_ID"] == made["LINK_ID"]]
    assert [item["IS_FORWARD"] for item in found] == [True, False]
    assert all(sent.items() <= item.items() for item in found)
    new = send(sandbox, "Contacts", "POST", json={"FIRST_NAME": "Di", "LINKS": [body]}).json()
    assert sent.items() <= new["LINKS"][0].items()
    for method, wrong in (("POST", body), ("PUT", {"LINK_ID": made["LINK_ID"]})):
        refused = send(sandbox, f"Contacts/{one}/Links", method, json=wrong | {"RELATIONSHIP_ID": 5, "ROLE": "x"})
        assert refused.status_code == 400


def test_dates_are_replaced_and_email_domains_listed(sandbox):
    key = first(sandbox, "organisations")["ORGANISATION_ID"]
    dates = send(
        sandbox, f"Organisations/{key}/Dates", "PUT", json=[{"OCCASION_NAME": "Fair", "OCCASION_DATE": "2026-12-05"}]
    )
    assert dates.json()[0]["OCCASION_DATE"] == "2026-12-05 00:00:00"
    assert isinstance(dates.json()[0]["DATE_ID"], int)
    domains = send(sandbox, f"Organisations/{key}/EmailDomains").json()
    assert domains[0]["EMAIL_DOMAIN"].endswith(".example")


def test_notes_of_a_contact_are_listed(read_only):
    note = next(row for row in read_only.store.rows("notes") if row["LINKS"][0]["LINK_OBJECT_NAME"] == "Contact")
    parent = note["LINKS"][0]["LINK_OBJECT_ID"]
    assert note["NOTE_ID"] in ids_of(send(read_only, f"Contacts/{parent}/Notes"), "NOTE_ID")


def test_opportunity_moves_through_stages_and_states(sandbox):
    deal = next(row for row in sandbox.store.rows("opportunities") if row["OPPORTUNITY_STATE"] == "OPEN")
    path = f"Opportunities/{deal['OPPORTUNITY_ID']}"
    stages = [row for row in sandbox.store.rows("pipeline_stages") if row["PIPELINE_ID"] == deal["PIPELINE_ID"]]
    move = {"PIPELINE_ID": deal["PIPELINE_ID"], "PIPELINE_STAGE_CHANGE": {"STAGE_ID": stages[-1]["STAGE_ID"]}}
    assert send(sandbox, f"{path}/Pipeline", "PUT", json=move).json()["STAGE_ID"] == stages[-1]["STAGE_ID"]
    assert send(sandbox, f"{path}/PipelineStage", "PUT", json={"STAGE_ID": 1}).status_code == 400
    won = send(sandbox, f"{path}/StateChange", "PUT", json={"FOR_OPPORTUNITY_STATE": "WON", "STATE_REASON_ID": 901})
    assert (won.json()["FOR_OPPORTUNITY_STATE"], won.json()["STATE_REASON_ID"]) == ("WON", 901)
    assert send(sandbox, path).json()["ACTUAL_CLOSE_DATE"] == "2026-11-02 00:00:00"
    history = send(sandbox, f"{path}/StateHistory").json()
    assert set(history[-1]) == set(RECORDED_ENTITIES["opportunity_state_history"]["fields"])
    assert won.json() == history[-1]
    lost = send(sandbox, path, "PUT", json={"OPPORTUNITY_STATE": "LOST", "ACTUAL_CLOSE_DATE": "2026-10-01 00:00:00"})
    assert lost.json()["ACTUAL_CLOSE_DATE"] == "2026-10-01 00:00:00"
    assert send(sandbox, path, "PUT", json={"OPPORTUNITY_STATE": "OPEN"}).json()["ACTUAL_CLOSE_DATE"] is None
    history = send(sandbox, f"{path}/StateHistory").json()
    assert [row["FOR_OPPORTUNITY_STATE"] for row in history] == ["OPEN", "WON", "LOST", "OPEN"]
    assert send(sandbox, f"{path}/Pipeline", "DELETE").status_code == 202


@pytest.mark.parametrize(("mode", "want"), [("replace", ["new"]), ("merge", ["old", "new"])])
def test_put_collections_replaces_or_merges(sandbox, mode, want):
    key = first(sandbox, "contacts")["CONTACT_ID"]
    sandbox.store.set_tags("contacts", key, ["old"])
    sandbox.switches = replace(OPEN, put_collections=mode, put_status=201)
    response = send(sandbox, "Contacts", "PUT", json={"CONTACT_ID": key, "TAGS": [{"TAG_NAME": "new"}]})
    assert response.status_code == 201
    assert [tag["TAG_NAME"] for tag in response.json()["TAGS"]] == want
    sandbox.store.set_tags("contacts", key, ["old"])
    tags = send(sandbox, f"Contacts/{key}/Tags", "PUT", json=[{"TAG_NAME": "new"}]).json()
    assert [tag["TAG_NAME"] for tag in tags] == want


def test_tag_and_link_changes_can_keep_the_date(sandbox):
    sandbox.switches = replace(OPEN, tag_change_moves_date=False)
    row, other = first(sandbox, "contacts"), first(sandbox, "organisations")
    base = f"Contacts/{row['CONTACT_ID']}"
    send(sandbox, f"{base}/Tags", "POST", json={"TAG_NAME": "silent"})
    send(
        sandbox,
        f"{base}/Links",
        "POST",
        json={"LINK_OBJECT_NAME": "Organisation", "LINK_OBJECT_ID": other["ORGANISATION_ID"], "ROLE": "Silent"},
    )
    after = send(sandbox, base).json()
    assert {"TAG_NAME": "silent"} in after["TAGS"]
    assert len(after["LINKS"]) == len(row["LINKS"]) + 1
    assert after["DATE_UPDATED_UTC"] == row["DATE_UPDATED_UTC"]
    assert first(sandbox, "organisations")["DATE_UPDATED_UTC"] == other["DATE_UPDATED_UTC"]
