"""Blocks of a list: what is passed over is as it was, whatever was edited and wherever pages and runs begin."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.insightly.errors import ServerError
from sources.insightly.paging import digests as blocks
from sources.insightly.paging.batches import batches
from sources.insightly.paging.digests import Blocks, forget
from sources.insightly.paging.walk import Page, Step, walk

Rows = list[dict[str, Any]]
lists = st.dictionaries(st.integers(1, 120), st.integers(0, 3), max_size=60)


@pytest.fixture(autouse=True, scope="module")
def _short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_LENGTH", 4)
        yield


def rows_of(listed: dict[int, int]) -> Rows:
    return [{"ID": id_, "TEXT": text} for id_, text in sorted(listed.items())]


def pages(rows: Rows, top: int, skip: int = 0, last_id: int | None = None) -> Iterator[Step]:
    return walk(lambda at: Page(rows[at : at + top], len(rows), top), "ID", skip, last_id)


@given(st.lists(st.tuples(lists, st.integers(2, 9), st.integers(0, 4)), min_size=1, max_size=5))
def test_skipped_rows_equal_the_loaded_rows(readings: list[tuple[dict[int, int], int, int]]) -> None:
    """Readings of an edited list, each in one or two runs; rows that are unlisted are taken from what is loaded."""
    state: dict[str, Any] = {}
    loaded: dict[int, int] = {}
    for listed, top, stop in readings:
        rows, live = rows_of(listed), frozenset(loaded)
        place: tuple[int, int | None] = (0, None)
        for run in range(2):
            known = Blocks(state, "ID", place[1] is not None, lambda id_, live=live: id_ in live)  # type: ignore[misc]
            for number, step in enumerate(batches(pages(rows, top, *place), lambda _: True, "ID", lambda: False)):
                loaded |= {row["ID"]: row["TEXT"] for row in known.changed(step.rows, list)}
                known.record()
                if step.skip is None:
                    break
                place = step.skip, step.last_id
                if run == 0 and number == stop:
                    break
            if step.skip is None:
                break
        known.end()
        loaded = {id_: text for id_, text in loaded.items() if id_ in listed}
        assert loaded == listed


@given(lists, st.integers(2, 9), st.integers(2, 9))
def test_unchanged_list_writes_no_block(listed: dict[int, int], top: int, other: int) -> None:
    state: dict[str, Any] = {}
    for size, wanted in ((top, rows_of(listed)), (other, [])):
        known, found = Blocks(state, "ID", False, lambda _: True), list[Any]()
        for step in batches(pages(rows_of(listed), size), lambda _: True, "ID", lambda: False):
            found += known.changed(step.rows, list)
            known.record()
        known.end()
        assert found == wanted


def test_one_change_writes_one_block() -> None:
    state: dict[str, Any] = {}
    listed = dict.fromkeys(range(1, 200), 0)
    counts = []
    for change in ({}, {77: 1}, {500: 0}):
        listed |= change
        known = Blocks(state, "ID", False, lambda _: True)
        counts.append(
            sum(len(known.changed(step.rows, list)) + bool(known.record()) for step in pages(rows_of(listed), 500))
        )
        known.end()
    assert counts[0] == 199
    assert 1 <= counts[1] < 30
    assert 1 <= counts[2] < 30


def test_unchanged_record_that_is_not_live_is_written() -> None:
    state: dict[str, Any] = {}
    rows = rows_of(dict.fromkeys(range(1, 30), 0))
    first = Blocks(state, "ID", False, lambda _: True)
    first.changed(rows, list)
    first.record()
    first.end()
    assert 9 in [row["ID"] for row in Blocks(state, "ID", False, lambda id_: id_ != 9).changed(rows, list)]
    forget(state)
    assert Blocks(state, "ID", False, lambda _: True).changed(rows, list) == rows


def test_digests_of_an_unfinished_read_count_for_it_alone() -> None:
    state: dict[str, Any] = {}
    rows = rows_of(dict.fromkeys(range(1, 9), 0))
    first = Blocks(state, "ID", False, lambda _: True)
    first.changed(rows, list)
    first.record()
    second = Blocks(state, "ID", False, lambda _: True)
    other = rows_of(dict.fromkeys(range(1, 9), 1))
    second.changed(other, list)
    second.record()
    second.end()
    assert Blocks(state, "ID", False, lambda _: True).changed(rows, list) == rows


@given(lists, st.integers(2, 9), st.integers(0, 9))
def test_digests_can_resume_after_each_step(listed: dict[int, int], top: int, hurry: int) -> None:
    rows, left = rows_of(listed), hurry

    def hurried() -> bool:
        nonlocal left
        left -= 1
        return left == 0

    came = Rows()
    for step in batches(pages(rows, top), lambda _: True, "ID", hurried):
        came += step.rows
        if step.skip is not None:
            rest = [row for each in pages(rows, top, step.skip, step.last_id) for row in each.rows]
            assert came + rest == rows
    assert came == rows


def test_rows_before_an_error_are_returned() -> None:
    def failing() -> Iterator[Step]:
        yield Step([{"ID": 1}, {"ID": 2}], 0, 1, 2)
        raise ServerError("no")

    steps = batches(failing(), lambda _: True, "ID", lambda: False)
    assert [row["ID"] for row in next(steps).rows] == [1, 2]
    with pytest.raises(ServerError):
        next(steps)
