"""Which routes the sandbox has, compared with the recorded facts of the API."""

from typing import Any

import pytest

from tests.support.requests_to_sandbox import FIRST_17, LISTED, RECORDED_ENTITIES, first, send


@pytest.mark.parametrize("entity", LISTED)
def test_list_returns_a_json_array(read_only, entity):
    response = send(read_only, RECORDED_ENTITIES[entity]["path"], params={"count_total": "true"})
    assert response.status_code == 200
    assert isinstance(response.json(), list)
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert ("X-Total-Count" in response.headers) == RECORDED_ENTITIES[entity]["paging"]


@pytest.mark.parametrize("entity", FIRST_17)
def test_full_and_brief_rows_have_the_recorded_fields(read_only, entity):
    facts = RECORDED_ENTITIES[entity]
    full = send(read_only, facts["path"]).json()
    assert full
    assert all(set(row) == set(facts["fields"]) for row in full)
    brief = send(read_only, facts["path"], params={"brief": "true"}).json()
    dropped = set(facts["dropped_by_brief"])
    assert all(set(row) == set(facts["fields"]) - dropped for row in brief)


@pytest.mark.parametrize("entity", LISTED)
def test_search_exists_where_recorded(read_only, entity):
    facts = RECORDED_ENTITIES[entity]
    response = send(read_only, f"{facts['path']}/Search")
    if facts["search_path"]:
        assert response.status_code == 200
        assert len(response.json()) == min(100, read_only.store.count(entity))
    else:
        assert response.status_code in {404, 405}


@pytest.mark.parametrize("entity", FIRST_17)
def test_get_returns_one_record_where_recorded(read_only, entity):
    facts, row = RECORDED_ENTITIES[entity], first(read_only, entity)
    response = send(read_only, f"{facts['path']}/{row[facts['primary_key']]}")
    if facts["get"]:
        assert response.status_code == 200
        assert response.json() == row
        missing = send(read_only, f"{facts['path']}/1")
        assert missing.status_code == 404
        assert missing.json()["Message"]
    else:
        assert response.status_code in {404, 405}


VALUES: dict[str, Any] = {
    "START_DATE_UTC": "2026-12-01 10:00:00",
    "END_DATE_UTC": "2026-12-01T11:00:00Z",
    "ACTIVE": True,
    "DEFAULT_PRICE": 9.5,
}


@pytest.mark.parametrize("entity", FIRST_17)
def test_create_update_and_delete_exist_where_recorded(sandbox, entity):
    facts = RECORDED_ENTITIES[entity]
    key = facts["primary_key"]
    body = {name: VALUES.get(name, "NOT STARTED") for name in facts["required_on_create"]}
    path = facts["path"]
    if facts["create"] is None:
        assert send(sandbox, path, "POST", json={}).status_code == 405
        assert send(sandbox, path, "PUT", json={}).status_code == 405
        return
    if facts["create"] != path:
        assert send(sandbox, path, "POST", json=body).status_code == 405
        parent = first(sandbox, "contacts")["CONTACT_ID"]
        made = send(sandbox, f"Contacts/{parent}/Notes", "POST", json=body)
        assert made.json()["LINKS"][0]["LINK_OBJECT_ID"] == parent
    else:
        if body:
            refused = send(sandbox, path, "POST", json=dict(list(body.items())[1:]))
            assert refused.status_code == 400
            assert facts["required_on_create"][0] in refused.json()["Message"]
        made = send(sandbox, path, "POST", json=body)
    assert made.status_code == 201, made.text
    assert set(made.json()) == set(facts["fields"])
    number = made.json()[key]
    text = next(
        name for name in facts["required_on_create"] + list(facts["fields"]) if facts["fields"][name] == "string"
    )
    changed = send(sandbox, path, "PUT", json={key: number, text: "DEFERRED"})
    assert changed.status_code == 200, changed.text
    assert changed.json()[text] == "DEFERRED"
    if facts["get"]:
        assert send(sandbox, f"{path}/{number}", "PUT", json={text: "WAITING"}).json()[text] == "WAITING"
    gone = send(sandbox, facts["delete"].replace("{id}", str(number)), "DELETE")
    assert (gone.status_code, gone.content) == (202, b"")
    assert send(sandbox, facts["delete"].replace("{id}", str(number)), "DELETE").status_code == 404
    if facts["get"]:
        assert send(sandbox, f"{path}/{number}").status_code == 404
    again = sandbox.store.create(entity, {})
    assert again[key] > number, "ids are never used twice"


@pytest.mark.parametrize("entity", FIRST_17)
def test_tags_and_links_exist_where_recorded(sandbox, entity):
    facts, row = RECORDED_ENTITIES[entity], first(sandbox, entity)
    base = f"{facts['path']}/{row[facts['primary_key']]}"
    tags, links = send(sandbox, f"{base}/Tags"), send(sandbox, f"{base}/Links")
    assert (tags.status_code == 200) == ("tags_path" in facts)
    assert (links.status_code == 200) == ("links_path" in facts)
    by_tag = send(sandbox, f"{facts['path']}/SearchByTag", params={"tagName": "none such"})
    assert (by_tag.status_code == 200) == ("tags_path" in facts)


def test_paths_ignore_case_and_wrong_plurals_are_405(read_only):
    assert send(read_only, "contacts").content == send(read_only, "CONTACTS").content
    assert send(read_only, "cOnTaCtS/sEaRcH").status_code == 200
    for path in ("Products", "Tickets", "Quotations", "KnowledgeArticleCategories"):
        assert send(read_only, path).status_code == 405, path
    for path in ("Quote", "Nothing", "Contacts/abc", "Contacts/1/Nothing", "Leads/60000000/Links"):
        assert send(read_only, path).status_code == 404, path


def test_singular_paths_of_plural_objects_work(read_only):
    for path in ("Project", "Opportunity", "Country", "LeadStatus"):
        assert send(read_only, path).status_code == 200, path
