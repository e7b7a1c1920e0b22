"""kill -9 at every step of a run: the next one completes the tables, with the working folder kept or lost."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines.sandbox import Store
from sources.insightly import ENTITIES
from tests.support.crm import Crm, isolated_crm
from tests.support.expected import expected, known, normalize
from tests.support.sync_kill import NAMES, PAGING, Point, sync_and_die

WASTE = PAGING["chunk_calls"] + PAGING["max_connections"] + 2
"""Pages that a kill may cost: a chunk, what was requested ahead of it, and the first page of either walk again."""

Versions = dict[Any, dict[str, Any]]


@dataclass(frozen=True)
class Loaded:
    """A first sync: its file, and the pages that it and a second one read when nobody kills them."""

    database: Path
    first: int
    second: int


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    with isolated_crm(tmp_path_factory.mktemp("loaded")) as crm:
        crm.sync_done(*NAMES, **PAGING)
        first, kept = pages(crm), crm.folder / "kept.duckdb"
        shutil.copy(crm.database, kept)
        crm.clock.advance()
        edit(crm.sandbox.store)
        crm.sync_done(*NAMES, **PAGING)
        return Loaded(kept, first, pages(crm))


def edit(store: Store) -> None:
    """What a second sync finds: changes on several pages, emptied child lists, deletions, a changed reference list."""
    contacts, notes = store.tables["contacts"].keys, store.tables["notes"].keys
    for key in contacts[::2]:
        store.update("contacts", key, {"TITLE": "changed"})
    for key in contacts[:12:4]:
        store.update("contacts", key, {"TAGS": [], "LINKS": [], "DATES": []})
    store.set_tags("contacts", contacts[-1], ["urgent"])
    for key in notes[:10]:
        store.update("notes", key, {"LINKS": []})
    store.delete("notes", notes[-2])
    store.delete("lead_sources", store.tables["lead_sources"].keys[0])
    store.create("lead_sources", {"LEAD_SOURCE": "Fair"})


def edit_meanwhile(store: Store) -> None:
    """What happens while the run is dead: to records it read, and to records it had yet to read."""
    for entity in ("contacts", "notes"):
        keys = list(store.tables[entity].keys)
        for key in (keys[0], keys[1], keys[len(keys) // 2], keys[-1]):
            store.delete(entity, key)
        store.update(entity, keys[2], {"LINKS": []})
        store.update(entity, keys[-3], {"LINKS": []})
        store.create(entity, {})
    store.set_tags("contacts", store.tables["contacts"].keys[3], ["meanwhile"])
    store.set_tags("contacts", store.tables["contacts"].keys[-4], [])
    store.delete("lead_sources", store.tables["lead_sources"].keys[-2])


SHORT = [
    ("first", Point(14), True),
    ("first", Point(4, "commit of the extract", "after"), True),
    ("first", Point(3, "merge", "after"), False),
    ("first", Point(2, "note in _dlt_loads", "after"), True),
    ("second", Point(2, "normalise"), True),
    ("second", Point(1, "load"), False),
    ("second", Point(2, "merge", "after"), True),
    ("second", Point(1, "note in _dlt_loads"), True),
]
STAGES = [
    *(("commit of the extract", when) for when in ("before", "after")),
    *(("normalise", when) for when in ("before", "after")),
    ("rewrite of files", "after"),
    ("load", "before"),
    ("change of tables", "after"),
    *(("merge", when) for when in ("before", "after")),
    ("end of a job", "before"),
    *(("note in _dlt_loads", when) for when in ("before", "after")),
    ("completion", "after"),
]
LONG = [
    *(("first", Point(nth), kept) for nth in (2, 9, 20, 27) for kept in (True, False)),
    *(("second", Point(nth), kept) for nth in (2, 8, 12) for kept in (True, False)),
    *(("first", Point(4, *stage), kept) for stage in STAGES for kept in (True, False)),
    *(("second", Point(1, *stage), kept) for stage in STAGES for kept in (True, False)),
    *(("first", Point(1, *stage), True) for stage in STAGES),
    *(("first", Point(1, "copy of the state", "after"), kept) for kept in (True, False)),
    *(("second", Point(nth, "statement"), nth % 4 > 1) for nth in range(7, 30)),
]


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("run", "point", "kept"),
    [*SHORT, *(pytest.param(*case, marks=pytest.mark.sample(0)) for case in LONG if case not in SHORT)],
    ids=lambda value: {True: "folder kept", False: "folder lost"}[value] if isinstance(value, bool) else str(value),
)
def test_killed_run_is_completed_by_the_next(crm: Crm, loaded: Loaded, run: str, point: Point, kept: bool) -> None:
    store, needed = crm.sandbox.store, getattr(loaded, run)
    crm.clock.advance()
    if run == "second":
        shutil.copy(loaded.database, crm.database)
        crm.clock.advance()
        edit(store)
    sync_and_die(crm, point)
    spent = pages(crm)
    if run == "second":
        assert crm.count("lead_sources") > 0
    if not kept:
        shutil.rmtree(crm.folder / "dlt")
    then = {entity: versions(*expected(crm.sandbox, entity), entity) for entity in ("contacts", "notes")}
    crm.clock.advance()
    edit_meanwhile(store)

    crm.sync_done(*NAMES, **PAGING)
    assert pages(crm) + spent <= needed + WASTE
    crm.assert_equal("lead_sources", "tags")
    for entity, old in then.items():
        assert_as_then_or_now(crm, entity, old)
    # What was edited behind a walk is stamped after its start, so it is the next run that has it.
    crm.sync_done(*NAMES, **PAGING)
    crm.assert_equal(*NAMES, deleted=True)


def pages(crm: Crm) -> int:
    """The calls of the last run that read contacts and notes."""
    return crm.sandbox.calls("Contacts") + crm.sandbox.calls("Notes")


def versions(own: list[dict[str, Any]], children: dict[str, list[dict[str, Any]]], entity: str) -> Versions:
    """An entity's rows by key, each with its child rows.

    Tables are merged one by one, so a record that was deleted while the run was dead may have left child rows alone.
    """
    (key,) = map(normalize, ENTITIES[entity].key)
    found: Versions = {row[key]: {entity: known(row)} for row in own}
    assert len(found) == len(own)
    for table, rows in children.items():
        for row in sorted(rows, key=lambda row: (row[key], row["list_idx"])):
            if row[key] in found:
                found[row[key]].setdefault(table, []).append(known(row))
    return found


def assert_as_then_or_now(crm: Crm, entity: str, then: Versions) -> None:
    """Asserts that each live record is loaded once and completely, as of `then` at the oldest."""
    own, children = expected(crm.sandbox, entity)
    now = versions(own, children, entity)
    loaded = versions(crm.table(entity), {table: crm.table(table) for table in children}, entity)
    assert now.keys() <= loaded.keys()
    for key in now:
        assert loaded[key] in (then.get(key), now[key])
