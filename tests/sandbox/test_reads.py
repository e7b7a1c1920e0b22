"""Paging, searches and filters, over real sockets."""

from dataclasses import replace

import pytest

from pipelines.sandbox import Sandbox
from tests.support.crm import OPEN
from tests.support.requests_to_sandbox import RECORDED_ENTITIES, first, ids_of, send


def test_pages_cover_all_records_in_ascending_order(read_only):
    ids = [row["CONTACT_ID"] for row in read_only.store.rows("contacts")]
    starts = range(0, len(ids) + 70, 70)
    pages = [ids_of(send(read_only, "Contacts", params={"top": 70, "skip": skip})) for skip in starts]
    assert [key for page in pages for key in page] == ids == sorted(ids)
    assert ids_of(send(read_only, "Contacts", params={"skip": 10_000})) == []
    assert len(ids_of(send(read_only, "Contacts"))) == 100
    assert send(read_only, "Contacts", params={"top": -1}).status_code == 400


def test_top_is_clamped_or_refused():
    with Sandbox(scale=1, switches=OPEN) as sandbox:
        assert len(ids_of(send(sandbox, "Contacts", params={"top": 9_999}))) == 500
        sandbox.switches = replace(OPEN, top_limit="refuse")
        assert send(sandbox, "Contacts", params={"top": 501}).status_code == 400


def test_total_is_sent_on_request_and_counts_the_filtered_rows(read_only):
    response = send(read_only, "Contacts", params={"count_total": "True", "top": 1})
    assert response.headers["X-Total-Count"] == str(read_only.store.count("contacts"))
    assert "X-Total-Count" not in send(read_only, "Contacts").headers
    row = first(read_only, "contacts")
    found = send(
        read_only,
        "Contacts/Search",
        params={"field_name": "CONTACT_ID", "field_value": row["CONTACT_ID"], "count_total": "true"},
    )
    assert (found.headers["X-Total-Count"], found.json()) == ("1", [row])


def test_search_by_custom_field_and_its_errors(read_only):
    want = [
        row["CONTACT_ID"]
        for row in read_only.store.rows("contacts")
        if any(item["FIELD_NAME"] == "Newsletter__c" and item["FIELD_VALUE"] is True for item in row["CUSTOMFIELDS"])
    ]
    assert (
        ids_of(
            send(
                read_only, "Contacts/Search", params={"field_name": "Newsletter__c", "field_value": "true", "top": 500}
            )
        )
        == want
    )
    assert send(read_only, "Contacts/Search", params={"field_name": "FIRST_NAME"}).status_code == 400
    assert send(read_only, "Contacts/Search", params={"field_name": "NOPE", "field_value": "1"}).status_code == 400
    assert send(read_only, "Contacts/Search", params={"field_name": "LAST_NAME", "field_value": "?"}).json() == []


def test_date_filter_is_exclusive_and_works_on_search_only(read_only):
    rows = sorted(read_only.store.rows("contacts"), key=lambda row: row["DATE_UPDATED_UTC"])
    bound = rows[-5]["DATE_UPDATED_UTC"]
    later = sorted(row["CONTACT_ID"] for row in rows if row["DATE_UPDATED_UTC"] > bound)
    for form in (bound, bound.replace(" ", "T") + "Z"):
        assert ids_of(send(read_only, "Contacts/Search", params={"updated_after_utc": form})) == later
    everything = ids_of(send(read_only, "Contacts"))
    assert ids_of(send(read_only, "Contacts", params={"updated_after_utc": bound})) == everything
    assert ids_of(send(read_only, "Contacts/Search", params={"updated_after_utc": ""})) == everything
    for wrong in ("yesterday", "2026-13-01 00:00:00", "1e9"):
        assert send(read_only, "Contacts/Search", params={"updated_after_utc": wrong}).status_code == 400


def test_converted_status_is_listed_on_request_only(read_only):
    assert len(send(read_only, "LeadStatuses").json()) == 5
    assert len(send(read_only, "LeadStatuses", params={"include_converted": "true"}).json()) == 6


def test_date_filter_on_lists_and_inclusive_filter(sandbox):
    newest = max(row["DATE_UPDATED_UTC"] for row in sandbox.store.rows("contacts"))
    sandbox.switches = replace(OPEN, list_filter="honoured")
    assert ids_of(send(sandbox, "Contacts", params={"updated_after_utc": newest})) == []
    sandbox.switches = replace(OPEN, filter_inclusive=True)
    assert len(ids_of(send(sandbox, "Contacts/Search", params={"updated_after_utc": newest}))) == 1


@pytest.mark.parametrize(("style", "value"), [("null", None), ("empty", [])])
def test_brief_sends_null_or_empty_collections(sandbox, style, value):
    sandbox.switches = replace(OPEN, brief_style=style)
    for row in send(sandbox, "Contacts", params={"brief": "true"}).json():
        assert [row[name] for name in RECORDED_ENTITIES["contacts"]["dropped_by_brief"]] == [value] * 4


def test_total_header_and_embedded_tags_can_be_off(sandbox):
    sandbox.switches = replace(OPEN, total_header=False, embed_tags=False)
    response = send(sandbox, "Contacts", params={"count_total": "true"})
    assert "X-Total-Count" not in response.headers
    key = response.json()[0]["CONTACT_ID"]
    single, search = send(sandbox, f"Contacts/{key}").json(), send(sandbox, "Contacts/Search").json()[0]
    assert all("TAGS" not in row and "LINKS" in row for row in (response.json()[0], single, search))
    assert send(sandbox, f"Contacts/{key}/Tags").status_code == 200
