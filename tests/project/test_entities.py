"""The entity table against the recorded facts of the API."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.insightly import ENTITIES
from sources.insightly.entities import RECORD_TYPES
from sources.insightly.errors import BadSetting
from sources.insightly.fields import child_fields
from sources.insightly.selection import CORE, PRESETS, select
from tests.support.process import ROOT

RECORDED = json.loads((ROOT / "tests/recorded/entities.json").read_text(encoding="utf-8"))
FACTS: dict[str, dict[str, Any]] = RECORDED["entities"]
LOADABLE = [name for name, entity in ENTITIES.items() if entity.read != "embedded"]
PER_RECORD = {
    *("comments", "file_attachments", "opportunity_state_history"),
    *("quotation_documents", "static_list_memberships", "ticket_comments"),
}
EMBEDDED = {"links": "LINKS", "contact_dates": "DATES", "email_domains": "EMAILDOMAINS"}


def slashed(path: str | None) -> str | None:
    """The path with a leading slash, which paths of the table do not have."""
    return None if path is None else f"/{path.removeprefix('/')}"


def arrays(facts: dict[str, Any]) -> set[str]:
    return {name for name, kind in facts["fields"].items() if isinstance(kind, dict)} - {"CUSTOMFIELDS"}


def test_entities_are_complete_and_the_first_17_are_core() -> None:
    assert set(ENTITIES) == set(FACTS)
    assert len(ENTITIES) == 59
    assert CORE == PRESETS["core"] == tuple(RECORDED["first_17"])
    assert tuple(RECORDED["record_types"]) == RECORD_TYPES


@pytest.mark.parametrize("name", FACTS)
def test_entity_has_the_recorded_paths_and_abilities(name: str) -> None:
    entity, facts = ENTITIES[name], FACTS[name]
    for ability in ("path", "search_path", "get", "create", "update", "delete"):
        assert slashed(getattr(entity, ability)) == facts[ability], ability
    assert entity.paged == facts["paging"]
    assert entity.brief == facts["brief"]
    assert entity.cursor == facts["cursor"]
    assert list(entity.key) == (
        [facts["primary_key"]] if isinstance(facts["primary_key"], str) else facts["primary_key"]
    )
    assert (entity.read == "incremental") == bool(facts["search_path"] and facts["cursor"])
    assert entity.tagged == ("TAGS" in facts["fields"])


@pytest.mark.parametrize("name", FACTS)
def test_entity_has_the_recorded_fields_and_arrays(name: str) -> None:
    entity, facts = ENTITIES[name], FACTS[name]
    if entity.rows:
        # The rows are the items of the object's only array, each with the fields of the object.
        assert arrays(facts) == {entity.rows}
        assert set(entity.fields) >= {*facts["fields"][entity.rows]["array"], *facts["fields"]} - arrays(facts)
        return
    types = {key: kind for key, kind in facts["fields"].items() if not isinstance(kind, dict)}
    assert {key: field.type for key, field in entity.fields.items()} == {
        key: "json" if kind == "object" else kind for key, kind in types.items()
    }
    assert set(entity.arrays) == arrays(facts)
    assert entity.custom_fields == ("CUSTOMFIELDS" in facts["fields"])
    for array in entity.arrays:
        assert set(child_fields(array)) >= set(facts["fields"][array]["array"])
    needed = {key for key, field in entity.fields.items() if "required" in field.flags}
    assert needed <= set(facts["required_on_create"])


def test_preset_all_has_every_list_without_per_record_calls() -> None:
    assert {name for name in FACTS if ENTITIES[name].read == "per_parent"} == PER_RECORD
    assert set(CORE) <= set(PRESETS["all"])
    by_name = {"custom_fields", "instance", "permissions"}
    assert set(PRESETS["all"]) == set(FACTS) - PER_RECORD - set(EMBEDDED) - by_name
    assert set(LOADABLE) == {*PRESETS["all"], *by_name, *PER_RECORD}


@pytest.mark.parametrize(("name", "array"), EMBEDDED.items())
def test_select_of_an_embedded_entity_names_its_tables(name: str, array: str) -> None:
    with pytest.raises(BadSetting) as refused:
        select(name)
    owners = [entity for entity, facts in FACTS.items() if array in facts["fields"]]
    assert owners
    assert all(f"{entity}__{array.lower()}" in str(refused.value) for entity in owners)


@pytest.mark.parametrize("name", LOADABLE)
def test_replaced_lists_have_no_child_tables(name: str) -> None:
    """A replaced table would keep the marker of an empty array; a full list needs an id to confirm deletions by."""
    entity = ENTITIES[name]
    assert entity.swept or not entity.arrays or name == "custom_fields"
    if entity.read == "full":
        single = f"{FACTS[name]['path']}/{{id}}"
        assert FACTS[name]["get"] == (None if name == "marketing_visits" else single), "a visit is in lists only"
        assert FACTS[name]["fields"][FACTS[name]["primary_key"]] == "integer"


@pytest.mark.parametrize(
    ("name", "object_name"),
    [
        ("contacts", "CONTACT"),
        ("knowledge_articles", "ARTICLE"),
        ("knowledge_articles", "KNOWLEDGE_ARTICLE"),
        ("knowledge_article_categories", "KnowledgeArticleCategory"),
        ("quotes", "QUOTATION"),
        ("quotes", "QUOTE"),
        ("opportunities", "Opportunity"),
        ("products", "PRODUCTS"),
    ],
)
def test_matches_name_accepts_every_name_of_one_entity_only(name: str, object_name: str) -> None:
    assert [entity.name for entity in ENTITIES.values() if entity.matches_name(object_name)] == [name]


@given(st.lists(st.sampled_from([*LOADABLE, *PRESETS]), min_size=1))
def test_select_is_ordered_complete_and_idempotent(names: list[str]) -> None:
    chosen = select(names)
    assert chosen == select(reversed(names)) == select(", ".join(names)) == select(chosen)
    assert list(chosen) == [name for name in ENTITIES if name in chosen]
    assert set(chosen) == {each for name in names for each in PRESETS.get(name, (name,))}


@pytest.mark.parametrize("names", ["", [], " , ", "kontacts", ["contacts", "Kontakt"], *EMBEDDED])
def test_select_rejects_unknown_and_empty_names(names: Any) -> None:
    with pytest.raises(BadSetting, match="entities"):
        select(names)


@pytest.mark.parametrize(
    ("name", "entity"),
    [
        ("Contacts", "contacts"),
        (" LEAD_sources ", "lead_sources"),
        ("deals", "opportunities"),
        ("Companies", "organisations"),
        ("organizations", "organisations"),
        ("people", "contacts"),
        ("Fruit__c", "Fruit__c"),
    ],
)
def test_select_knows_names_in_any_case_and_of_other_crms(name: str, entity: str) -> None:
    assert select([name]) == select(name) == (entity,)


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("contact", "did you mean contacts?"),
        ("Organization", "did you mean organisations?"),
        ("deal", "did you mean opportunities?"),
        ("al", "did you mean all?"),
        ("fruit", "insightly entities lists them; name a custom object by its API name, such as Fruit__c"),
    ],
)
def test_select_suggests_the_entity_that_comes_close(name: str, fix: str) -> None:
    with pytest.raises(BadSetting) as refused:
        select(name, setting="ENTITY")
    assert str(refused.value) == f"ENTITY is {name!r}: {fix}"
