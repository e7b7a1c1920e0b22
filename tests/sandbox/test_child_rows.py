"""The sandbox's routes to what lies below single records, over real sockets."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from pipelines.sandbox import Sandbox, Store, generate
from sources.insightly import ENTITIES
from tests.support.child_rows import PARENTS, account_rows, add_child_rows, child_rows, keys
from tests.support.crm import OPEN, Clock, contents_of
from tests.support.requests_to_sandbox import send

PARTS = {name: ENTITIES[name].sub_path for name in PARENTS}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(contents=contents_of(0.05), switches=OPEN, clock=Clock()) as made:
        add_child_rows(made)
        yield made


def path_of(entity: str, parent: str, key: Any) -> str:
    return f"{ENTITIES[parent].path}/{key}/{PARTS[entity]}"


@pytest.mark.parametrize("entity", PARENTS)
def test_list_has_every_field_and_needs_its_parent(sandbox: Sandbox, entity: str) -> None:
    for parent in PARENTS[entity]:
        stored = [row for at, key, row in account_rows(sandbox, entity) if at == parent and key]
        key = next((key for at, key, _ in account_rows(sandbox, entity) if at == parent), keys(sandbox, parent)[0])
        rows = send(sandbox, path_of(entity, parent, key)).json()
        assert all(set(row) == set(ENTITIES[entity].fields) for row in rows)
        assert rows == [row for at, id_, row in account_rows(sandbox, entity) if (at, id_) == (parent, key)]
        assert stored or parent == "emails"
        assert send(sandbox, path_of(entity, parent, 1_999_999_999)).status_code == 404
        assert send(sandbox, path_of(entity, parent, key), "PATCH").status_code in (405, 501)


def test_comments_are_paged_counted_and_filtered(sandbox: Sandbox) -> None:
    note, store = keys(sandbox, "notes")[1], sandbox.store
    for hour in range(5):
        stamp = f"2026-11-03 0{hour}:00:00"
        store.create("comments", {"BODY": str(hour), "DATE_UPDATED_UTC": stamp}, ("notes", note))
    path = path_of("comments", "notes", note)
    page = send(sandbox, f"{path}?top=2&skip=1&count_total=true")
    assert (len(page.json()), page.headers["X-Total-Count"]) == (2, str(len(store.children("comments", "notes", note))))
    late = send(sandbox, f"{path}?updated_after_utc=2026-11-03T02:00:00Z").json()
    assert [row["BODY"] for row in late] == ["3", "4"]


@pytest.mark.parametrize("moves", [True, False])
def test_comment_changes_can_update_the_record(sandbox: Sandbox, moves: bool) -> None:
    sandbox.switches = replace(OPEN, comment_moves_date=moves)
    for parent, claim in (("notes", "NOTE_ID"), ("tasks", "TASK_ID"), ("emails", "EMAIL_ID")):
        key = keys(sandbox, parent)[0]
        before, path = sandbox.store.get(parent, key) or {}, path_of("comments", parent, key)
        made = send(sandbox, path, "POST", json={"BODY": "first"})
        assert (made.status_code, made.json()["BODY"], made.json()[claim]) == (201, "first", key)
        after = sandbox.store.get(parent, key) or {}
        assert (after.get("DATE_UPDATED_UTC") != before.get("DATE_UPDATED_UTC")) == (moves and parent != "emails")
        id_ = made.json()["COMMENT_ID"]
        changed = send(sandbox, "Comments", "PUT", json={"COMMENT_ID": id_, "BODY": "second"})
        assert (changed.status_code, changed.json()["BODY"]) == (200, "second")
        assert send(sandbox, f"Comments/{id_}", "DELETE").status_code == 202
        assert send(sandbox, f"Comments/{id_}", "DELETE").status_code == 404
        assert id_ not in [row["COMMENT_ID"] for row in send(sandbox, path).json()]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "Notes/{note}/Comments", {}, 400),
        ("POST", "Notes/{note}/Comments", {"TEXT": "y"}, 400),
        ("POST", "Notes/{note}/Comments", {"BODY": 5}, 400),
        ("PUT", "Notes/{note}/Comments", {"BODY": "x"}, 405),
        ("PUT", "Comments", {"COMMENT_ID": 5, "BODY": "x"}, 404),
        ("PUT", "Comments", {"COMMENT_ID": 5}, 400),
        ("GET", "Comments", None, 405),
        ("GET", "Comments/5", None, 405),
        ("POST", "Events/{note}/Comments", {"BODY": "x"}, 404),
        ("POST", "Ticket/{ticket}/Comments", {"BODY_HTML": "x"}, 400),
        ("POST", "Ticket/{ticket}/Comments", {"PUBLIC_COMMENT": True, "CHANNEL": "x" * 21}, 400),
        ("POST", "Ticket/{ticket}/Comments", {"PUBLIC_COMMENT": True, "CHANNEL": "Email"}, 201),
        ("POST", "Emails/{email}/FileAttachments", {}, 405),
        ("POST", "Notes/{note}/FileAttachments", {}, 400),
        ("POST", "Prospect/{prospect}/StaticListMembership", {}, 400),
        ("POST", "Prospect/{prospect}/StaticListMembership", {"LIST_ID": 7}, 201),
        ("PUT", "Prospect/{prospect}/StaticListMembership", {"LIST_ID": 7}, 400),
        ("PUT", "Prospect/{prospect}/StaticListMembership", [{"LIST_ID": 7}, {"LIST_ID": 8}], 200),
        ("POST", "Prospect/{prospect}/StaticListMembership", [{"LIST_ID": 7}], 400),
        ("DELETE", "Prospect/{prospect}/StaticListMembership", {"LIST_ID": 900}, 202),
        ("DELETE", "Prospect/{prospect}/StaticListMembership", {"LIST_ID": 12}, 404),
        ("POST", "Quotation/{quote}/QuotationDocument", {}, 405),
        ("DELETE", "Quotation/{quote}/QuotationDocument/12", None, 404),
        ("DELETE", "Quotation/{quote}/QuotationDocument/{document}", None, 202),
        ("PUT", "Opportunities/{deal}/StateHistory", {}, 405),
        ("GET", "FileAttachments", None, 404),
        ("GET", "FileAttachments/12", None, 404),
    ],
)
def test_invalid_requests_are_refused(sandbox: Sandbox, method: str, path: str, body: Any, status: int) -> None:
    names = {"note": "notes", "email": "emails", "ticket": "tickets", "prospect": "prospects", "quote": "quotes"}
    ids = {name: keys(sandbox, entity)[-1] for name, entity in {**names, "deal": "opportunities"}.items()}
    document = sandbox.store.children("quotation_documents", "quotes", ids["quote"])[0]["QUOTE_DOCUMENT_ID"]
    assert send(sandbox, path.format(**ids, document=document), method, json=body).status_code == status


def test_file_is_uploaded_listed_read_and_deleted(sandbox: Sandbox) -> None:
    contact = keys(sandbox, "contacts")[2]
    path = path_of("file_attachments", "contacts", contact)
    made = send(sandbox, path, "POST", files={"file": ("plan.txt", b"the plan", "text/plain")})
    file = made.json()
    assert (made.status_code, file["FILE_NAME"], file["CONTENT_TYPE"]) == (201, "plan.txt", "text/plain")
    assert file["FILE_SIZE"] == len(b"the plan")
    assert file in send(sandbox, path).json()
    assert send(sandbox, f"FileAttachments/{file['FILE_ID']}?format=JSON").json() == file
    content = send(sandbox, f"FileAttachments/{file['FILE_ID']}")
    assert (content.content, content.headers["Content-Type"]) == (b"the plan", "application/octet-stream")
    assert send(sandbox, f"FileAttachments/{file['FILE_ID']}", "DELETE").status_code == 202
    assert file not in send(sandbox, path).json()


def test_files_of_comments_are_deleted_with_the_record(sandbox: Sandbox) -> None:
    note = keys(sandbox, "notes")[0]
    comment = send(sandbox, path_of("comments", "notes", note), "POST", json={"BODY": "see file"}).json()["COMMENT_ID"]
    path = f"Comments/{comment}/FileAttachments"
    assert send(sandbox, path, "POST", files={"file": ("a.txt", b"a")}).status_code == 201
    assert len(send(sandbox, path).json()) == 1
    assert send(sandbox, f"Notes/{note}", "DELETE").status_code == 202
    assert send(sandbox, path).status_code == 404
    assert not sandbox.store.children("file_attachments", "comments", comment)


def test_forbidden_child_rows_return_403(sandbox: Sandbox) -> None:
    sandbox.switches = replace(OPEN, forbidden=frozenset(PARENTS))
    for entity in ("comments", "ticket_comments", "quotation_documents"):
        parent = PARENTS[entity][0]
        assert send(sandbox, path_of(entity, parent, keys(sandbox, parent)[0])).status_code == 403


def test_child_rows_follow_the_seed_and_the_dates_of_their_records() -> None:
    contents = contents_of(0.05)
    assert generate(1, 0.05).parents == contents.parents != generate(2, 0.05).parents
    store = Store(contents)
    rows = child_rows(store, "comments")
    assert rows
    assert {parent for (parent, _), _ in rows} == set(PARENTS["comments"])
    for (parent, key), row in rows:
        record = store.get(parent, key) or {}
        latest = record.get("DATE_UPDATED_UTC", record["DATE_CREATED_UTC"])
        assert record["DATE_CREATED_UTC"] <= row["DATE_CREATED_UTC"] <= latest
    ids = [row["FILE_ID"] for row in store.rows("file_attachments")]
    assert len(ids) == len(set(ids))
