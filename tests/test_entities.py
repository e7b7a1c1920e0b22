"""The entity table, held against the recorded facts of the API."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.insightly import ENTITIES
from sources.insightly.entities import CORE, PRESETS, RECORD_TYPES, child_fields, select
from sources.insightly.errors import BadSetting

RECORDED = json.loads((Path(__file__).parent / "recorded" / "entities.json").read_text(encoding="utf-8"))
FACTS: dict[str, dict[str, Any]] = RECORDED["entities"]
LOADED = [name for name, entity in ENTITIES.items() if entity.loaded]


def slashed(path: str | None) -> str | None:
    """Paths in the table have no slash in front; one names two of them."""
    return None if path is None else f"/{path.removeprefix('/')}"


def arrays(facts: dict[str, Any]) -> set[str]:
    return {name for name, kind in facts["fields"].items() if isinstance(kind, dict)} - {"CUSTOMFIELDS"}


def test_all_entities_are_there_and_the_first_17_are_core() -> None:
    assert set(ENTITIES) == set(FACTS)
    assert len(ENTITIES) == 59
    assert CORE == PRESETS["core"] == tuple(RECORDED["first_17"])
    assert tuple(RECORDED["record_types"]) == RECORD_TYPES


@pytest.mark.parametrize("name", FACTS)
def test_paths_and_abilities(name: str) -> None:
    entity, facts = ENTITIES[name], FACTS[name]
    for ability in ("path", "search_path", "get", "create", "update", "delete"):
        assert slashed(getattr(entity, ability)) == facts[ability], ability
    assert entity.paged == facts["paging"]
    assert entity.brief == facts["brief"]
    assert entity.cursor == facts["cursor"]
    assert list(entity.key) == (
        [facts["primary_key"]] if isinstance(facts["primary_key"], str) else facts["primary_key"]
    )
    assert entity.incremental == bool(facts["search_path"] and facts["cursor"])
    assert entity.tagged == ("TAGS" in facts["fields"])


@pytest.mark.parametrize("name", FACTS)
def test_fields_and_arrays(name: str) -> None:
    entity, facts = ENTITIES[name], FACTS[name]
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


def test_presets_hold_no_entity_that_costs_a_call_a_record() -> None:
    assert set(CORE) <= set(PRESETS["all"])
    assert not any(ENTITIES[name].per_record for name in PRESETS["all"])


@given(st.lists(st.sampled_from([*LOADED, *PRESETS]), min_size=1))
def test_select_is_ordered_complete_and_the_same_twice(names: list[str]) -> None:
    chosen = select(names)
    assert chosen == select(reversed(names)) == select(", ".join(names)) == select(chosen)
    assert list(chosen) == [name for name in ENTITIES if name in chosen]
    assert set(chosen) == {each for name in names for each in PRESETS.get(name, (name,))}


@pytest.mark.parametrize("names", ["", [], " , ", "kontacts", ["contacts", "Contacts"], "ticket_comments"])
def test_select_refuses(names: Any) -> None:
    with pytest.raises(BadSetting, match="entities"):
        select(names)
