"""The sandbox over real sockets, held against the recorded facts of the API."""

import base64
import gzip
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from pipelines.sandbox import Contents, Fault, Limits, Sandbox, Store, Switches, generate, read_faults
from tests.support.process import ROOT
from tests.support.requests_to_sandbox import ask

RECORDED = json.loads((ROOT / "tests/recorded/entities.json").read_text(encoding="utf-8"))
ENTITIES: dict[str, dict[str, Any]] = RECORDED["entities"]
FIRST_17 = [name for name in RECORDED["first_17"] if name != "tags"]
LISTED = [
    name
    for name, facts in ENTITIES.items()
    if "{" not in facts["path"] and name not in {"tags", "instance", "permissions"}
]
MOMENT = datetime(2026, 11, 2, 12, 0, 0, tzinfo=UTC)
OPEN = Switches(rate=None)

Call = Callable[..., requests.Response]


@pytest.fixture(scope="module")
def contents() -> Contents:
    return generate(seed=1, scale=0.3)


@pytest.fixture(scope="module")
def reading(contents: Contents) -> Iterator[Sandbox]:
    """A sandbox that tests only read from."""
    with Sandbox(contents=contents, switches=OPEN) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(contents: Contents) -> Iterator[Sandbox]:
    """A sandbox of the test's own, with a clock that stands still."""
    with Sandbox(contents=contents, switches=OPEN, clock=lambda: MOMENT) as sandbox:
        yield sandbox


def ids(answer: requests.Response, key: str = "CONTACT_ID") -> list[int]:
    assert answer.status_code == 200, answer.text
    return [row[key] for row in answer.json()]


def first(sandbox: Sandbox, entity: str) -> dict[str, Any]:
    return sandbox.store.rows(entity)[0]


# The routes, from the recorded facts


@pytest.mark.parametrize("entity", LISTED)
def test_every_list_answers_an_array(reading, entity):
    answer = ask(reading, ENTITIES[entity]["path"], params={"count_total": "true"})
    assert answer.status_code == 200
    assert isinstance(answer.json(), list)
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert ("X-Total-Count" in answer.headers) == ENTITIES[entity]["paging"]


@pytest.mark.parametrize("entity", FIRST_17)
def test_full_and_brief_rows_have_the_recorded_fields(reading, entity):
    facts = ENTITIES[entity]
    full = ask(reading, facts["path"]).json()
    assert full
    assert all(set(row) == set(facts["fields"]) for row in full)
    brief = ask(reading, facts["path"], params={"brief": "true"}).json()
    dropped = set(facts["dropped_by_brief"])
    assert all(set(row) == set(facts["fields"]) - dropped for row in brief)


@pytest.mark.parametrize("entity", LISTED)
def test_search_is_where_it_was_recorded(reading, entity):
    facts = ENTITIES[entity]
    answer = ask(reading, f"{facts['path']}/Search")
    if facts["search_path"]:
        assert answer.status_code == 200
        assert len(answer.json()) == min(100, reading.store.count(entity))
    else:
        assert answer.status_code in {404, 405}


@pytest.mark.parametrize("entity", FIRST_17)
def test_single_reads(reading, entity):
    facts, row = ENTITIES[entity], first(reading, entity)
    answer = ask(reading, f"{facts['path']}/{row[facts['primary_key']]}")
    if facts["get"]:
        assert answer.status_code == 200
        assert answer.json() == row
        missing = ask(reading, f"{facts['path']}/1")
        assert missing.status_code == 404
        assert missing.json()["Message"]
    else:
        assert answer.status_code in {404, 405}


VALUES: dict[str, Any] = {
    "START_DATE_UTC": "2026-12-01 10:00:00",
    "END_DATE_UTC": "2026-12-01T11:00:00Z",
    "ACTIVE": True,
    "DEFAULT_PRICE": 9.5,
}


@pytest.mark.parametrize("entity", FIRST_17)
def test_create_update_delete_are_where_they_were_recorded(sandbox, entity):
    facts = ENTITIES[entity]
    key = facts["primary_key"]
    body = {name: VALUES.get(name, "NOT STARTED") for name in facts["required_on_create"]}
    path = facts["path"]
    if facts["create"] is None:
        assert ask(sandbox, path, "POST", json={}).status_code == 405
        assert ask(sandbox, path, "PUT", json={}).status_code == 405
        return
    if facts["create"] != path:
        assert ask(sandbox, path, "POST", json=body).status_code == 405
        parent = first(sandbox, "contacts")["CONTACT_ID"]
        made = ask(sandbox, f"Contacts/{parent}/Notes", "POST", json=body)
        assert made.json()["LINKS"][0]["LINK_OBJECT_ID"] == parent
    else:
        if body:
            refused = ask(sandbox, path, "POST", json=dict(list(body.items())[1:]))
            assert refused.status_code == 400
            assert facts["required_on_create"][0] in refused.json()["Message"]
        made = ask(sandbox, path, "POST", json=body)
    assert made.status_code == 201, made.text
    assert set(made.json()) == set(facts["fields"])
    number = made.json()[key]
    text = next(
        name for name in facts["required_on_create"] + list(facts["fields"]) if facts["fields"][name] == "string"
    )
    changed = ask(sandbox, path, "PUT", json={key: number, text: "DEFERRED"})
    assert changed.status_code == 200, changed.text
    assert changed.json()[text] == "DEFERRED"
    if facts["get"]:
        assert ask(sandbox, f"{path}/{number}", "PUT", json={text: "WAITING"}).json()[text] == "WAITING"
    gone = ask(sandbox, facts["delete"].replace("{id}", str(number)), "DELETE")
    assert (gone.status_code, gone.content) == (202, b"")
    assert ask(sandbox, facts["delete"].replace("{id}", str(number)), "DELETE").status_code == 404
    if facts["get"]:
        assert ask(sandbox, f"{path}/{number}").status_code == 404
    again = sandbox.store.create(entity, {})
    assert again[key] > number, "ids are never used twice"


@pytest.mark.parametrize("entity", FIRST_17)
def test_tags_and_links_are_where_they_were_recorded(sandbox, entity):
    facts, row = ENTITIES[entity], first(sandbox, entity)
    base = f"{facts['path']}/{row[facts['primary_key']]}"
    tags, links = ask(sandbox, f"{base}/Tags"), ask(sandbox, f"{base}/Links")
    assert (tags.status_code == 200) == ("tags_path" in facts)
    assert (links.status_code == 200) == ("links_path" in facts)
    by_tag = ask(sandbox, f"{facts['path']}/SearchByTag", params={"tagName": "none such"})
    assert (by_tag.status_code == 200) == ("tags_path" in facts)


def test_tags_of_a_record_are_added_replaced_and_removed(sandbox):
    key = first(sandbox, "contacts")["CONTACT_ID"]
    path = f"Contacts/{key}/Tags"
    assert ask(sandbox, path, "PUT", json=[{"TAG_NAME": "one"}, {"TAG_NAME": "two"}]).status_code == 200
    assert ask(sandbox, path, "POST", json={"TAG_NAME": "three"}).status_code == 201
    assert ask(sandbox, path, "DELETE", json={"TAG_NAME": "one"}).status_code == 202
    assert ask(sandbox, path, "DELETE", json={"TAG_NAME": "one"}).status_code == 404
    assert ask(sandbox, path).json() == [{"TAG_NAME": "two"}, {"TAG_NAME": "three"}]
    assert ids(ask(sandbox, "Contacts/SearchByTag", params={"tagName": "three"})) == [key]
    row = sandbox.store.get("contacts", key)
    assert row is not None
    assert row["DATE_UPDATED_UTC"] == "2026-11-02 12:00:00"


def test_links_show_on_both_ends_and_vanish_from_both(sandbox):
    contact, project = first(sandbox, "contacts")["CONTACT_ID"], first(sandbox, "projects")["PROJECT_ID"]
    body = {"LINK_OBJECT_NAME": "Project", "LINK_OBJECT_ID": project, "ROLE": "Sponsor"}
    assert (
        ask(sandbox, f"Contacts/{contact}/Links", "POST", json=body | {"LINK_OBJECT_NAME": "Projects"}).status_code
        == 400
    )
    assert ask(sandbox, f"Contacts/{contact}/Links", "POST", json=body | {"LINK_OBJECT_ID": 5}).status_code == 400
    made = ask(sandbox, f"Contacts/{contact}/Links", "POST", json=body)
    assert made.status_code == 201
    link = made.json()["LINK_ID"]
    ends = [f"Contacts/{contact}/Links", f"Projects/{project}/Links"]
    changed = ask(sandbox, ends[0], "PUT", json={"LINK_ID": link, "ROLE": "Owner"})
    assert changed.json()["ROLE"] == "Owner"
    assert [item["ROLE"] for end in ends for item in ask(sandbox, end).json() if item["LINK_ID"] == link] == [
        "Owner"
    ] * 2
    assert ask(sandbox, f"{ends[1]}/{link}", "DELETE").status_code == 202
    assert not any(item["LINK_ID"] == link for end in ends for item in ask(sandbox, end).json())


def test_dates_and_email_domains(sandbox):
    key = first(sandbox, "organisations")["ORGANISATION_ID"]
    dates = ask(
        sandbox, f"Organisations/{key}/Dates", "PUT", json=[{"OCCASION_NAME": "Fair", "OCCASION_DATE": "2026-12-05"}]
    )
    assert dates.json()[0]["OCCASION_DATE"] == "2026-12-05 00:00:00"
    assert isinstance(dates.json()[0]["DATE_ID"], int)
    domains = ask(sandbox, f"Organisations/{key}/EmailDomains").json()
    assert domains[0]["EMAIL_DOMAIN"].endswith(".example")


def test_children_are_listed_under_their_parent(reading):
    note = next(row for row in reading.store.rows("notes") if row["LINKS"][0]["LINK_OBJECT_NAME"] == "Contact")
    parent = note["LINKS"][0]["LINK_OBJECT_ID"]
    assert note["NOTE_ID"] in ids(ask(reading, f"Contacts/{parent}/Notes"), "NOTE_ID")


def test_an_opportunity_moves_through_stages_and_states(sandbox):
    deal = next(row for row in sandbox.store.rows("opportunities") if row["OPPORTUNITY_STATE"] == "OPEN")
    path = f"Opportunities/{deal['OPPORTUNITY_ID']}"
    stages = [row for row in sandbox.store.rows("pipeline_stages") if row["PIPELINE_ID"] == deal["PIPELINE_ID"]]
    move = {"PIPELINE_ID": deal["PIPELINE_ID"], "PIPELINE_STAGE_CHANGE": {"STAGE_ID": stages[-1]["STAGE_ID"]}}
    assert ask(sandbox, f"{path}/Pipeline", "PUT", json=move).json()["STAGE_ID"] == stages[-1]["STAGE_ID"]
    assert ask(sandbox, f"{path}/PipelineStage", "PUT", json={"STAGE_ID": 1}).status_code == 400
    won = ask(sandbox, f"{path}/StateChange", "PUT", json={"FOR_OPPORTUNITY_STATE": "WON", "STATE_REASON_ID": 901})
    assert won.json()["ACTUAL_CLOSE_DATE"] == "2026-11-02 00:00:00"
    history = ask(sandbox, f"{path}/StateHistory").json()
    assert set(history[-1]) == set(ENTITIES["opportunity_state_history"]["fields"])
    assert [row["FOR_OPPORTUNITY_STATE"] for row in history] == ["OPEN", "WON"]
    assert ask(sandbox, f"{path}/Pipeline", "DELETE").status_code == 202


def test_the_account(reading):
    me = ask(reading, "Users/Me").json()
    assert me["ACCOUNT_OWNER"] is True
    instance = ask(reading, "Instance").json()
    assert set(instance) == set(ENTITIES["instance"]["fields"])
    assert instance["PLAN_NAME"] == "Enterprise"
    rows = ask(reading, "Permissions").json()["OBJECT_PERMISSIONS"]
    assert set(rows[0]) == set(ENTITIES["permissions"]["fields"]["OBJECT_PERMISSIONS"]["array"])
    assert all(row["CAN_READ"] for row in rows)


def test_custom_fields_by_singular_plural_and_unknown_name(reading):
    contact, contacts = ask(reading, "CustomFields/contact").json(), ask(reading, "CustomFields/Contacts").json()
    assert contact == contacts
    assert {row["FIELD_FOR"] for row in contacts} == {"CONTACT"}
    assert set(contacts[0]) == set(ENTITIES["custom_fields"]["fields"])
    everything = ask(reading, "CustomFields/Nonsense").json()
    assert len({row["FIELD_FOR"] for row in everything}) > 5
    assert ask(reading, "CustomFields").status_code == 404
    one = ask(reading, "CustomFields/Contacts/Search", params={"fieldName": "Hobby__c"}).json()
    assert one["FIELD_LABEL"] == "Hobby"
    assert {row["FIELD_FOR"] for row in ask(reading, "CustomFields/Products").json()} == {"PRODUCT"}


@pytest.mark.parametrize("kind", RECORDED["record_types"])
def test_tag_names_of_a_record_type(reading, kind):
    rows = ask(reading, "Tags", params={"record_type": kind, "count_total": "true"})
    names = [row["TAG_NAME"] for row in rows.json()]
    assert names == sorted(set(names))
    assert rows.headers["X-Total-Count"] == str(len(names))
    assert names or kind == "emails"


def test_tags_without_a_valid_record_type_are_refused(reading):
    assert ask(reading, "Tags").status_code == 400
    assert ask(reading, "Tags", params={"record_type": "tasks"}).status_code == 400


def test_paths_ignore_case_and_wrong_plurals_are_405(reading):
    assert ask(reading, "contacts").content == ask(reading, "CONTACTS").content
    assert ask(reading, "cOnTaCtS/sEaRcH").status_code == 200
    for path in ("Products", "Tickets", "Quotations", "KnowledgeArticleCategories"):
        assert ask(reading, path).status_code == 405, path
    for path in ("Quote", "Nothing", "Contacts/abc", "Contacts/1/Nothing", "Leads/60000000/Links"):
        assert ask(reading, path).status_code == 404, path


# Paging, searching, filtering


def test_pages_join_to_the_whole_in_ascending_order(reading):
    whole = [row["CONTACT_ID"] for row in reading.store.rows("contacts")]
    pages = [ids(ask(reading, "Contacts", params={"top": 70, "skip": skip})) for skip in range(0, len(whole) + 70, 70)]
    assert [key for page in pages for key in page] == whole == sorted(whole)
    assert ids(ask(reading, "Contacts", params={"skip": 10_000})) == []
    assert len(ids(ask(reading, "Contacts"))) == 100
    assert ask(reading, "Contacts", params={"top": -1}).status_code == 400


def test_top_is_clamped_or_refused():
    with Sandbox(scale=1, switches=OPEN) as sandbox:
        assert len(ids(ask(sandbox, "Contacts", params={"top": 9_999}))) == 500
        sandbox.switches = replace(OPEN, top_limit="refuse")
        assert ask(sandbox, "Contacts", params={"top": 501}).status_code == 400


def test_total_only_when_asked_and_of_the_filtered_set(reading):
    asked = ask(reading, "Contacts", params={"count_total": "True", "top": 1})
    assert asked.headers["X-Total-Count"] == str(reading.store.count("contacts"))
    assert "X-Total-Count" not in ask(reading, "Contacts").headers
    row = first(reading, "contacts")
    found = ask(
        reading,
        "Contacts/Search",
        params={"field_name": "CONTACT_ID", "field_value": row["CONTACT_ID"], "count_total": "true"},
    )
    assert (found.headers["X-Total-Count"], found.json()) == ("1", [row])


def test_search_by_custom_field_and_its_errors(reading):
    want = [
        row["CONTACT_ID"]
        for row in reading.store.rows("contacts")
        if any(item["FIELD_NAME"] == "Newsletter__c" and item["FIELD_VALUE"] is True for item in row["CUSTOMFIELDS"])
    ]
    assert (
        ids(ask(reading, "Contacts/Search", params={"field_name": "Newsletter__c", "field_value": "true", "top": 500}))
        == want
    )
    assert ask(reading, "Contacts/Search", params={"field_name": "FIRST_NAME"}).status_code == 400
    assert ask(reading, "Contacts/Search", params={"field_name": "NOPE", "field_value": "1"}).status_code == 400
    assert ask(reading, "Contacts/Search", params={"field_name": "LAST_NAME", "field_value": "?"}).json() == []


def test_the_date_filter_is_exclusive_takes_both_forms_and_works_on_search_only(reading):
    rows = sorted(reading.store.rows("contacts"), key=lambda row: row["DATE_UPDATED_UTC"])
    bound = rows[-5]["DATE_UPDATED_UTC"]
    later = sorted(row["CONTACT_ID"] for row in rows if row["DATE_UPDATED_UTC"] > bound)
    for form in (bound, bound.replace(" ", "T") + "Z"):
        assert ids(ask(reading, "Contacts/Search", params={"updated_after_utc": form})) == later
    everything = ids(ask(reading, "Contacts"))
    assert ids(ask(reading, "Contacts", params={"updated_after_utc": bound})) == everything
    assert ids(ask(reading, "Contacts/Search", params={"updated_after_utc": ""})) == everything
    for wrong in ("yesterday", "2026-13-01 00:00:00", "2026-11-01"):
        assert ask(reading, "Contacts/Search", params={"updated_after_utc": wrong}).status_code == 400


def test_converted_status_is_hidden_unless_asked_for(reading):
    assert len(ask(reading, "LeadStatuses").json()) == 5
    assert len(ask(reading, "LeadStatuses", params={"include_converted": "true"}).json()) == 6


# Writing


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
def test_bad_bodies_are_refused_with_a_message(sandbox, body):
    before = sandbox.store.count("contacts")
    answer = ask(sandbox, "Contacts", "POST", json=body)
    assert answer.status_code == 400
    assert answer.json()["Message"]
    assert sandbox.store.count("contacts") == before


def test_read_only_fields_are_ignored_and_null_clears(sandbox):
    row = first(sandbox, "contacts")
    body = {"CONTACT_ID": row["CONTACT_ID"], "DATE_CREATED_UTC": "2001-01-01 00:00:00", "TITLE": None}
    changed = ask(sandbox, "Contacts", "PUT", json=body).json()
    assert changed == row | {"TITLE": None, "DATE_UPDATED_UTC": "2026-11-02 12:00:00"}
    assert ask(sandbox, "Contacts", "PUT", json={"TITLE": "x"}).status_code == 400
    assert ask(sandbox, "Contacts/5", "PUT", json={"CONTACT_ID": 6}).status_code == 400
    assert ask(sandbox, "Contacts/5", "PUT", json={}).status_code == 404


def test_custom_fields_merge_by_name(sandbox):
    row = first(sandbox, "contacts")
    body = {"CONTACT_ID": row["CONTACT_ID"], "CUSTOMFIELDS": [{"FIELD_NAME": "Hobby__c", "FIELD_VALUE": "Judo"}]}
    fields = {
        item["FIELD_NAME"]: item["FIELD_VALUE"]
        for item in ask(sandbox, "Contacts", "PUT", json=body).json()["CUSTOMFIELDS"]
    }
    assert fields["Hobby__c"] == "Judo"
    assert "Newsletter__c" in fields


def test_a_lead_can_be_made_of_a_last_name_and_a_task_completed(sandbox):
    lead = ask(sandbox, "Leads", "POST", json={"LAST_NAME": "Nobody"}).json()
    assert (lead["CONVERTED"], lead["LEAD_STATUS_ID"], lead["LEAD_SOURCE_ID"]) == (False, 3401, 3301)
    task = ask(sandbox, "Tasks", "POST", json={"TITLE": "Call"}).json()
    done = ask(sandbox, "Tasks", "PUT", json={"TASK_ID": task["TASK_ID"], "COMPLETED": True}).json()
    assert (done["STATUS"], done["COMPLETED_DATE_UTC"]) == ("COMPLETED", "2026-11-02 12:00:00")


def test_a_source_in_use_cannot_be_deleted(sandbox):
    assert (
        ask(sandbox, "LeadSources", "DELETE", params={"id": first(sandbox, "leads")["LEAD_SOURCE_ID"]}).status_code
        == 409
    )


# Authorization, headers, transport


def test_both_forms_of_the_key_are_taken_and_others_refused(reading):
    for text, status in ((reading.key, 200), (f"{reading.key}:", 200), (f"{reading.key}:x", 401), ("other", 401)):
        header = {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}
        assert requests.get(f"{reading.url}/Instance", headers=header, timeout=10).status_code == status
    bare = requests.get(f"{reading.url}/Instance", timeout=10)
    assert (bare.status_code, bare.json()) == (401, {"Message": "Authorization has been denied for this request."})
    assert requests.get(reading.url.replace("v3.1", "v2.1") + "/Instance", timeout=10).status_code == 404


def test_every_answer_has_the_rate_and_date_headers(sandbox):
    sandbox.switches = replace(OPEN, quota=1_000, clock_skew_seconds=90)
    good, bad = ask(sandbox, "Contacts"), ask(sandbox, "Contacts/1")
    assert [answer.headers["X-RateLimit-Remaining"] for answer in (good, bad)] == ["999", "998"]
    assert good.headers["X-RateLimit-Limit"] == "1000"
    assert good.headers["Date"] == "Mon, 02 Nov 2026 12:01:30 GMT"
    sandbox.switches = replace(OPEN, date_header=False)
    assert "Date" not in ask(sandbox, "Contacts").headers


def test_gzip_for_large_bodies_only(reading):
    def raw(path: str, **headers: str) -> tuple[str | None, bytes]:
        token = base64.b64encode(f"{reading.key}:".encode()).decode()
        connection = http.client.HTTPConnection(urlsplit(reading.url).netloc, timeout=10)
        with closing(connection):
            connection.request("GET", f"/v3.1/{path}", headers={"Authorization": f"Basic {token}", **headers})
            answer = connection.getresponse()
            return answer.headers["Content-Encoding"], answer.read()

    (coding, packed), (none, plain) = raw("Contacts", **{"Accept-Encoding": "gzip"}), raw("Contacts")
    assert (coding, none) == ("gzip", None)
    assert gzip.decompress(packed) == plain
    assert raw("Instance", **{"Accept-Encoding": "gzip"})[0] is None


def test_the_log_has_every_call_and_no_key(sandbox):
    ask(sandbox, "Contacts/Search", params={"top": 5})
    ask(sandbox, "Leads", auth=("wrong", ""))
    assert [(call.method, call.path, call.query, call.status) for call in sandbox.log] == [
        ("GET", "/Contacts/Search", {"top": "5"}, 200),
        ("GET", "/Leads", {}, 401),
    ]
    assert (sandbox.calls(), sandbox.calls("contacts"), sandbox.calls("/Contacts/Search")) == (2, 1, 1)
    assert sandbox.key not in repr(sandbox.log)
    sandbox.reset_log()
    assert sandbox.calls() == 0


def test_evolve_route_is_outside_the_api(sandbox):
    root = sandbox.url.removesuffix("/v3.1")
    assert requests.post(f"{root}/_sandbox/evolve", timeout=10).status_code == 401
    answer = requests.post(f"{root}/_sandbox/evolve?seed=2&steps=4", auth=(sandbox.key, ""), timeout=10)
    assert len(answer.json()["done"]) == 4
    assert sandbox.calls() == 0


def test_the_port_is_closed_afterwards(contents):
    with Sandbox(contents=contents) as sandbox:
        address = urlsplit(sandbox.url)
    with (
        pytest.raises(ConnectionRefusedError),
        socket.create_connection((address.hostname or "", address.port or 0), timeout=2),
    ):
        pass


# Limits, on a clock that tests turn


class Watch:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def limited(contents: Contents, watch: Watch) -> Iterator[Sandbox]:
    with Sandbox(contents=contents, limits=Limits(monotonic=watch)) as sandbox:
        yield sandbox


def test_the_eleventh_call_of_a_second_is_a_burst(limited, watch):
    for _ in range(10):
        assert ask(limited, "Instance").status_code == 200
    over = ask(limited, "Instance")
    assert (over.status_code, over.headers["Retry-After"]) == (429, "1")
    assert over.headers["X-RateLimit-Remaining"] == "99990"
    assert over.json()["Message"]
    limited.switches = Switches(burst_retry_after=None, burst_body="text")
    silent = ask(limited, "Instance")
    assert "Retry-After" not in silent.headers
    assert silent.headers["Content-Type"].startswith("text/plain")
    watch.seconds += 1
    assert ask(limited, "Instance").status_code == 200


def test_the_day_ends_and_begins_again(limited, watch):
    limited.switches = Switches(rate=None, quota=3)
    assert [ask(limited, "Instance").status_code for _ in range(4)] == [200, 200, 200, 429]
    over = ask(limited, "Instance")
    assert over.headers["X-RateLimit-Remaining"] == "0"
    assert "Retry-After" not in over.headers
    limited.switches = Switches(rate=None, quota=3, daily_retry_after=3_600)
    assert ask(limited, "Instance").headers["Retry-After"] == "3600"
    watch.seconds += 86_399
    assert ask(limited, "Instance").status_code == 429
    watch.seconds += 1
    assert ask(limited, "Instance").status_code == 200


def test_a_day_can_end_at_midnight():
    moments = [datetime(2026, 11, 2, 23, 59, 59, tzinfo=UTC)]
    limits = Limits(clock=lambda: moments[0])
    switches = Switches(rate=None, quota=1, daily_reset="midnight")
    assert [limits.admit(switches) for _ in range(2)] == ["ok", "daily"]
    moments[0] = datetime(2026, 11, 3, tzinfo=UTC)
    assert limits.admit(switches) == "ok"


def test_no_quota_never_runs_out():
    limits = Limits()
    limits.spend(200_000)
    switches = Switches(rate=None, quota=None)
    assert limits.admit(switches) == "ok"
    assert limits.headers(switches)["X-RateLimit-Remaining"] == "1"


# Switches


def test_list_filter_honoured_and_filter_inclusive(sandbox):
    newest = max(row["DATE_UPDATED_UTC"] for row in sandbox.store.rows("contacts"))
    sandbox.switches = replace(OPEN, list_filter="honoured")
    assert ids(ask(sandbox, "Contacts", params={"updated_after_utc": newest})) == []
    sandbox.switches = replace(OPEN, filter_inclusive=True)
    assert len(ids(ask(sandbox, "Contacts/Search", params={"updated_after_utc": newest}))) == 1


@pytest.mark.parametrize(("style", "value"), [("null", None), ("empty", [])])
def test_brief_styles(sandbox, style, value):
    sandbox.switches = replace(OPEN, brief_style=style)
    for row in ask(sandbox, "Contacts", params={"brief": "true"}).json():
        assert [row[name] for name in ENTITIES["contacts"]["dropped_by_brief"]] == [value] * 4


def test_total_header_off_and_tags_not_embedded(sandbox):
    sandbox.switches = replace(OPEN, total_header=False, embed_tags=False)
    answer = ask(sandbox, "Contacts", params={"count_total": "true"})
    assert "X-Total-Count" not in answer.headers
    key = answer.json()[0]["CONTACT_ID"]
    single, search = ask(sandbox, f"Contacts/{key}").json(), ask(sandbox, "Contacts/Search").json()[0]
    assert all("TAGS" not in row and "LINKS" in row for row in (answer.json()[0], single, search))
    assert ask(sandbox, f"Contacts/{key}/Tags").status_code == 200


def test_etag_and_if_match(sandbox):
    sandbox.switches = replace(OPEN, etag=True)
    row = ask(sandbox, "Contacts", params={"top": 1}).json()[0]
    key = row["CONTACT_ID"]
    assert ask(sandbox, f"Contacts/{key}").json()["ETag"] == row["ETag"]
    changed = ask(sandbox, f"Contacts/{key}", "PUT", json={"TITLE": "Cook"}, headers={"If-Match": row["ETag"]})
    assert changed.status_code == 200
    assert changed.json()["ETag"] != row["ETag"]
    stale = ask(sandbox, f"Contacts/{key}", "PUT", json={"TITLE": "Cook"}, headers={"If-Match": row["ETag"]})
    assert stale.status_code == 400
    assert "If-Match" in stale.json()["Message"]


def test_plan_and_permissions(sandbox):
    sandbox.switches = replace(OPEN, plan="professional", forbidden=frozenset({"leads"}), missing=frozenset({"tasks"}))
    expected = {"Product": 404, "Quotation": 404, "Ticket": 403, "CommunityComments": 403, "Leads": 403, "Tasks": 404}
    for path, status in expected.items():
        answer = ask(sandbox, path)
        assert answer.status_code == status, path
        assert answer.json()["Message"]
    assert ask(sandbox, "Leads/Search").status_code == 403
    assert ask(sandbox, "Tags", params={"record_type": "leads"}).status_code == 403
    assert ask(sandbox, "Contacts").status_code == 200
    can = {row["OBJECT_TYPE"]: row["CAN_READ"] for row in ask(sandbox, "Permissions").json()["OBJECT_PERMISSIONS"]}
    assert (can["CONTACT"], can["LEAD"], can["PRODUCT"]) == (True, False, False)
    assert ask(sandbox, "Instance").json()["PLAN_NAME"] == "Professional"


@pytest.mark.parametrize(("mode", "want"), [("replace", ["new"]), ("merge", ["old", "new"])])
def test_put_collections(sandbox, mode, want):
    key = first(sandbox, "contacts")["CONTACT_ID"]
    sandbox.store.set_tags("contacts", key, ["old"])
    sandbox.switches = replace(OPEN, put_collections=mode, put_status=201)
    answer = ask(sandbox, "Contacts", "PUT", json={"CONTACT_ID": key, "TAGS": [{"TAG_NAME": "new"}]})
    assert answer.status_code == 201
    assert [tag["TAG_NAME"] for tag in answer.json()["TAGS"]] == want
    sandbox.store.set_tags("contacts", key, ["old"])
    tags = ask(sandbox, f"Contacts/{key}/Tags", "PUT", json=[{"TAG_NAME": "new"}]).json()
    assert [tag["TAG_NAME"] for tag in tags] == want


def test_a_tag_or_link_change_can_leave_the_date(sandbox):
    sandbox.switches = replace(OPEN, tag_change_moves_date=False)
    row, other = first(sandbox, "contacts"), first(sandbox, "organisations")
    base = f"Contacts/{row['CONTACT_ID']}"
    ask(sandbox, f"{base}/Tags", "POST", json={"TAG_NAME": "silent"})
    ask(
        sandbox,
        f"{base}/Links",
        "POST",
        json={"LINK_OBJECT_NAME": "Organisation", "LINK_OBJECT_ID": other["ORGANISATION_ID"]},
    )
    after = ask(sandbox, base).json()
    assert {"TAG_NAME": "silent"} in after["TAGS"]
    assert len(after["LINKS"]) == len(row["LINKS"]) + 1
    assert after["DATE_UPDATED_UTC"] == row["DATE_UPDATED_UTC"]
    assert first(sandbox, "organisations")["DATE_UPDATED_UTC"] == other["DATE_UPDATED_UTC"]


def test_error_styles_and_unlisted_converted_leads(sandbox):
    converted = sum(row["CONVERTED"] for row in sandbox.store.rows("leads"))
    sandbox.switches = replace(OPEN, error_style="text", converted_leads_listed=False)
    answer = ask(sandbox, "Contacts/1")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "not found" in answer.text
    total = ask(sandbox, "Leads", params={"count_total": "true"}).headers["X-Total-Count"]
    assert int(total) == sandbox.store.count("leads") - converted
    sandbox.switches = replace(OPEN, error_style="html")
    sandbox.faults.add(Fault("500"))
    assert ask(sandbox, "Contacts").text.startswith("<!DOCTYPE html>")
    assert ask(sandbox, "Contacts/1").json()["Message"]


def test_latency_holds_an_answer_back(sandbox):
    sandbox.switches = replace(OPEN, latency=0.05)
    began = time.monotonic()
    ask(sandbox, "Instance")
    assert time.monotonic() - began >= 0.05


# Faults


def test_faults_hit_the_calls_they_name(sandbox):
    sandbox.faults.add(Fault("503", match="contacts*", nth=2, times=2), Fault("404", match=r"regex:^leads\?.*skip=100"))
    assert [ask(sandbox, "Contacts").status_code for _ in range(4)] == [200, 503, 503, 200]
    assert ask(sandbox, "Leads").status_code == 200
    assert ask(sandbox, "Leads", params={"skip": 100}).status_code == 404


@pytest.mark.parametrize("status", ["500", "502", "503", "504"])
def test_a_status_fault_has_a_json_message(sandbox, status):
    sandbox.faults.add(Fault(status))
    answer = ask(sandbox, "Contacts")
    assert (answer.status_code, bool(answer.json()["Message"])) == (int(status), True)


def test_429_faults(sandbox):
    sandbox.faults.add(
        Fault("burst", nth=1, retry_after=2), Fault("burst", nth=2, counter=False), Fault("daily", nth=3)
    )
    first_one, second, third = (ask(sandbox, "Contacts") for _ in range(3))
    assert (first_one.status_code, first_one.headers["Retry-After"]) == (429, "2")
    assert int(first_one.headers["X-RateLimit-Remaining"]) > 0
    assert "X-RateLimit-Remaining" not in second.headers
    assert "Retry-After" not in second.headers
    assert third.headers["X-RateLimit-Remaining"] == "0"


def test_broken_connections(sandbox):
    sandbox.faults.add(Fault("reset"), Fault("cut", nth=2))
    for _ in range(2):
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            ask(sandbox, "Contacts")
    assert ask(sandbox, "Contacts").status_code == 200
    assert [call.status for call in sandbox.log] == [0, 200, 200]


def test_spoiled_answers(sandbox):
    kinds = ["invalid_json", "html", "content_type", "object", "duplicate", "unsorted"]
    sandbox.faults.add(*(Fault(kind, nth=n) for n, kind in enumerate(kinds, start=1)))
    invalid, html, plain, single, duplicate, unsorted = (ask(sandbox, "Contacts", params={"top": 5}) for _ in kinds)
    good = ids(ask(sandbox, "Contacts", params={"top": 5}))
    with pytest.raises(requests.exceptions.JSONDecodeError):
        invalid.json()
    assert (html.status_code, html.headers["Content-Type"][:9]) == (200, "text/html")
    assert plain.headers["Content-Type"].startswith("text/plain")
    assert isinstance(single.json(), dict)
    assert ids(duplicate) == [*good, good[-1]]
    assert ids(unsorted) == good[::-1]


def test_data_change_between_pages(sandbox):
    before = [row["CONTACT_ID"] for row in sandbox.store.rows("contacts")]
    sandbox.faults.add(
        Fault("delete_before", match="Contacts", nth=2, count=2),
        Fault("create", match="Contacts", nth=3),
        Fault("touch_same_second", match="Contacts", nth=4, count=3),
        Fault("call", match="Contacts", nth=5, action=lambda store: store.delete("contacts", before[-1])),
    )
    page = {"top": 500, "count_total": "true"}
    assert ids(ask(sandbox, "Contacts", params=page)) == before
    assert ids(ask(sandbox, "Contacts", params=page)) == before[2:]
    assert ids(ask(sandbox, "Contacts", params=page))[-1] > before[-1]
    rows = ask(sandbox, "Contacts", params=page).json()
    newest = max(row["DATE_UPDATED_UTC"] for row in rows)
    assert [row["DATE_UPDATED_UTC"] for row in rows[:3]] == [newest] * 3
    assert before[-1] not in ids(ask(sandbox, "Contacts", params=page))


def test_slow_and_permission_lost(sandbox):
    sandbox.faults.add(Fault("slow", seconds=0.05), Fault("forbidden", match="Leads*", nth=2, times=None))
    began = time.monotonic()
    assert ask(sandbox, "Contacts").status_code == 200
    assert time.monotonic() - began >= 0.05
    assert [ask(sandbox, "Leads").status_code for _ in range(3)] == [200, 403, 403]


def test_a_fault_script_is_read_from_a_file(tmp_path):
    path = tmp_path / "faults.json"
    path.write_text(
        '[{"match": "Contacts*", "kind": "burst", "nth": 3, "times": null, "retry_after": 1}]', encoding="utf-8"
    )
    assert read_faults(path) == [Fault("burst", match="Contacts*", nth=3, times=None, retry_after=1)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{}", "array"),
        ("[1]", "known are"),
        ('[{"kind": "nonsense"}]', "nonsense"),
        ('[{"kind": "503", "when": 2}]', "when"),
        ('[{"kind": "503", "nth": 0}]', "at least 1"),
        ('[{"kind": "call"}]', "action"),
        ("[", "unexpected end"),
    ],
)
def test_a_wrong_fault_script_says_what_is_wrong(tmp_path, text, reason):
    path = tmp_path / "faults.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=reason):
        read_faults(path)


# The store, as tests use it


def test_store_edits_show_at_once(sandbox):
    made = sandbox.store.create("contacts", {"FIRST_NAME": "Zed", "TAGS": [{"TAG_NAME": "x"}]})
    key = made["CONTACT_ID"]
    assert ask(sandbox, f"Contacts/{key}").json() == made
    sandbox.store.update("contacts", key, {"TITLE": "Baker"})
    assert ask(sandbox, f"Contacts/{key}").json()["TITLE"] == "Baker"
    sandbox.store.delete("contacts", key)
    assert ask(sandbox, f"Contacts/{key}").status_code == 404
    with pytest.raises(KeyError):
        sandbox.store.delete("contacts", key)


def test_odd_values_are_served_as_planted(sandbox):
    sandbox.store.put_raw(
        "contacts", {"CONTACT_ID": 7, "FIRST_NAME": "nul\x00", "NEW_KEY": 2**70, "LAST_NAME": "\ud800"}
    )
    raw = b'{"CONTACT_ID": 8, "DATE_UPDATED_UTC": "0001-01-01 00:00:00", "BID": 0.12345678901234567890}'
    sandbox.store.put_raw("contacts", raw)
    text = ask(sandbox, "Contacts").text
    assert text.startswith('[{"CONTACT_ID":7,"FIRST_NAME":"nul\\u0000","NEW_KEY":1180591620717411303424')
    assert raw.decode() in text
    brief = ask(sandbox, "Contacts", params={"brief": "true", "top": 1}).json()
    assert brief[0]["NEW_KEY"] == 2**70


def test_a_definition_can_be_added(sandbox):
    sandbox.store.define("CONTACT", "Shoe_Size__c", "NUMERIC")
    names = [row["FIELD_NAME"] for row in ask(sandbox, "CustomFields/Contacts").json()]
    assert names[-1] == "Shoe_Size__c"
    body = {"FIRST_NAME": "A", "CUSTOMFIELDS": [{"FIELD_NAME": "Shoe_Size__c", "FIELD_VALUE": 44.5}]}
    made = ask(sandbox, "Contacts", "POST", json=body).json()
    found = ask(sandbox, "Contacts/Search", params={"field_name": "Shoe_Size__c", "field_value": "44.5"})
    assert ids(found) == [made["CONTACT_ID"]]


def test_an_empty_account_answers(sandbox):
    with Sandbox(contents=Contents(), switches=OPEN) as bare:
        assert ask(bare, "Contacts", params={"count_total": "true"}).headers["X-Total-Count"] == "0"
        assert ask(bare, "Users/Me").status_code == 404
        assert bare.store.create("leads", {"LAST_NAME": "First"})["LEAD_ID"] == 1
    assert Store().rows("leads") == []
