"""kill -9 while child rows are read or loaded: the next run completes them, none lost and none twice."""

import shutil
from collections.abc import Callable

import pytest

from pipelines.sandbox import Store
from tests.support.child_rows import add_child_rows, assert_equal, child_requests, child_rows
from tests.support.crm import Crm
from tests.support.sync_kill import PAGING, Point, sync_and_die

NAMES = ("comments", "opportunity_state_history")
SHORT = [(Point(3, "merge", "after"), False)]
LONG = [
    (Point(16), True),
    *((Point(nth), nth % 2 > 0) for nth in (2, 5, 9, 20, 33)),
    *((Point(2, "commit of the extract", when), True) for when in ("before", "after")),
    *((Point(2, "normalise", when), kept) for when in ("before", "after") for kept in (True, False)),
    *((Point(nth, "merge", "before"), True) for nth in (1, 2, 4)),
    *((Point(2, "note in _dlt_loads", when), kept) for when in ("before", "after") for kept in (True, False)),
    (Point(2, "completion", "after"), True),
]


def edit_meanwhile(store: Store) -> None:
    """Edits between the killed run and the next: of records that it had read, and of others."""
    for parent in ("notes", "tasks"):
        parents = [key for (kind, key), _ in child_rows(store, "comments") if kind == parent]
        for key in {parents[0], parents[-1]}:
            for row in store.children("comments", parent, key):
                store.delete("comments", row["COMMENT_ID"])
        store.create("comments", {"BODY": "meanwhile"}, (parent, store.tables[parent].keys[1]))
        store.create(parent, {})
    deal = store.tables["opportunities"].keys[0]
    store.record_state(store.update("opportunities", deal, {"OPPORTUNITY_STATE": "LOST"}), store.now(), None)


@pytest.mark.parametrize(
    ("point", "kept"), [*SHORT, *(pytest.param(*case, marks=pytest.mark.sample(0)) for case in LONG)], ids=str
)
def test_killed_run_is_completed_by_the_next(make_crm: Callable[..., Crm], point: Point, kept: bool) -> None:
    crm = make_crm(0.01)
    add_child_rows(crm.sandbox)
    crm.clock.advance()
    sync_and_die(crm, point, NAMES)
    done = set(child_requests(crm))
    if not kept:
        shutil.rmtree(crm.folder / "dlt")
    crm.clock.advance()
    edit_meanwhile(crm.sandbox.store)
    crm.sync_done(*NAMES, **PAGING)
    waste = PAGING["chunk_calls"] + PAGING["max_connections"] + 2
    assert len(done & set(child_requests(crm))) <= waste + 7  # and those that changed meanwhile
    crm.sync_done(*NAMES, **PAGING)
    assert_equal(crm, *NAMES)
