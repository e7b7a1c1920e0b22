"""The walk against a list that is edited at random while it is read: what was there all the time is never missed."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import nullcontext
from itertools import islice
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sources.insightly.errors import EndlessList, InsightlyError, MalformedResponse, ServerError, TooLarge, Unsorted
from sources.insightly.paging.batches import batches
from sources.insightly.paging.prefetch import PAGE_BYTES, PREFETCH_BYTES, PageReader, PrefetchWindow
from sources.insightly.paging.walk import PATIENCE, Page, Step, read_list, read_unsorted, walk


class EditedList:
    """A list of ids in ascending order; `edit` runs before each answer, as other users do."""

    def __init__(self, ids: list[int], top: int, seed: int, deletions: int, joins: int) -> None:
        self.ids, self.hidden, self.top = sorted(ids), [], top
        self.always, self.edits = set(ids), deletions + joins
        self.random, self.deletions, self.joins = random.Random(seed), deletions, joins
        # Ids that may join later lie among the others, as an updated record joins a filtered list.
        self.outside = sorted({id_ + 1 for id_ in ids} - set(ids)) + [max(ids, default=0) + n for n in (5, 6, 7)]
        self.answers = 0
        self.total: Callable[[int], int | None] = lambda rows: rows

    def edit(self) -> None:
        for _ in range(self.random.randint(0, 3)):
            if self.deletions and self.ids and self.random.random() < 0.6:
                self.deletions -= 1
                gone = self.ids.pop(self.random.randrange(len(self.ids)))
                self.always.discard(gone)
            elif self.joins and self.outside:
                self.joins -= 1
                self.ids = sorted([*self.ids, self.outside.pop(self.random.randrange(len(self.outside)))])

    def read(self, skip: int, top: int | None = None) -> Page:
        self.edit()
        self.answers += 1
        top = top or self.top
        return Page([{"ID": id_} for id_ in self.ids[skip : skip + top]], self.total(len(self.ids)), top)


class OutOfOrder(Executor):
    """Runs what was submitted at random times, so answers are read in any order."""

    def __init__(self, seed: int) -> None:
        self.random, self.waiting = random.Random(seed), []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = LazyFuture(self)
        self.waiting.append((future, fn, args))
        return future

    def run_until(self, wanted: "Future[Any]") -> None:
        while not wanted.done():
            future, fn, args = self.waiting.pop(self.random.randrange(len(self.waiting)))
            if future.set_running_or_notify_cancel():
                future.set_result(fn(*args))


class LazyFuture(Future[Any]):
    def __init__(self, pool: OutOfOrder) -> None:
        super().__init__()
        self.pool = pool

    def result(self, timeout: float | None = None) -> Any:
        self.pool.run_until(self)
        return super().result(timeout)


lists = st.builds(
    EditedList,
    ids=st.lists(st.integers(0, 400), unique=True, max_size=80),
    top=st.integers(2, 12),
    seed=st.integers(0, 2**32),
    deletions=st.sampled_from([0, 3, 30]),
    joins=st.sampled_from([0, 3, 30]),
)


@settings(max_examples=600, deadline=None)
@given(lists)
def test_serial_walk_returns_every_row_that_stays(source: EditedList) -> None:
    kept = [row["ID"] for step in walk(source.read, "ID") for row in step.rows]
    assert source.always <= set(kept)
    assert len(kept) == len(set(kept))
    assert kept == sorted(kept)


@pytest.mark.parametrize(("large", "known"), [(7, ". The last record read has the ID 6"), (0, "")])
def test_walk_names_the_record_before_one_too_large(large: int, known: str) -> None:
    def read(skip: int) -> Page:
        top = 5 if large not in range(skip, skip + 5) else 2
        if large in range(skip, skip + top):
            raise TooLarge(f"too large from skip={skip} on")
        return Page([{"ID": id_} for id_ in range(skip, min(skip + top, 20))], 20, top)

    steps = walk(read, "ID")
    kept: list[int] = []
    with pytest.raises(TooLarge) as raised:
        kept.extend(row["ID"] for step in steps for row in step.rows)
    assert kept == list(range(large))
    assert str(raised.value) == f"too large from skip={max(large - 1, 0)} on{known}"


TOTALS: dict[str, Callable[[int], int | None]] = {
    "one more": lambda rows: rows + 1,
    "one less": lambda rows: max(rows - 1, 0),
    "half": lambda rows: rows // 2,
    "1,000": lambda rows: 1_000,
    "10^18": lambda rows: 10**18,
    "none": lambda rows: None,
}
"""What a service may count that lists so many rows."""
wrong_totals = st.sampled_from(list(TOTALS.values()))


@settings(max_examples=600, deadline=None)
@given(lists, wrong_totals, st.sampled_from([1, 8]), st.integers(0, 2**32))
@example(EditedList([0, *range(2, 15)], 6, 249163, 30, 30), TOTALS["one more"], 1, 0)
def test_walk_with_a_wrong_total_returns_every_row_that_stays(
    source: EditedList, total: Any, depth: int, seed: int
) -> None:
    source.total = total
    fetch = PageReader(source.read, PrefetchWindow(OutOfOrder(seed), depth), source.top)
    try:
        kept = [row["ID"] for step in walk(fetch, "ID") for row in step.rows]
    except EndlessList:
        # Each page came with other edits, and the total could not show the end: an error, but no lost row.
        assert source.edits > PATIENCE
        return
    assert source.always <= set(kept)
    assert len(kept) == len(set(kept))


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("rows", [0, 1, 120, 499, 500, 501, 10_100])
def test_walk_with_a_wrong_total_costs_two_calls_more(rows: int, total: str) -> None:
    source, exact = (EditedList(list(range(1, rows + 1)), 500, 0, 0, 0) for _ in "ab")
    source.total = TOTALS[total]
    steps, _ = list(walk(source.read, "ID")), list(walk(exact.read, "ID"))
    assert sum(len(step.rows) for step in steps) == rows
    assert source.answers <= exact.answers + 2
    counted = source.total(rows)
    assert steps[-1].note == ("" if counted in (rows, None) else f"the API counts {counted:,} and lists {rows:,}")


@pytest.mark.parametrize("total", [40, 121, 10**18])
def test_prefetch_by_a_wrong_total_is_bounded(total: int) -> None:
    pool, source = Answering(), EditedList(list(range(120)), 10, 0, 0, 0)
    source.total = lambda _: total
    fetch = PageReader(source.read, PrefetchWindow(pool, 8), 10)
    assert [row["ID"] for step in walk(fetch, "ID") for row in step.rows] == list(range(120))
    assert len(pool.requests) <= 14 + 1


ENDLESS: dict[str, Callable[[int], list[int]]] = {
    "ignores skip": lambda skip: [*range(10)],
    "starts again": lambda skip: [skip % 45 + n for n in range(10)],
    "ends and does not": lambda skip: [*range(skip, 50)][:10] if skip < 45 else [],
    "moves": lambda skip: [*range(skip + 7, skip + 17)] if skip else [*range(10)],
}


@pytest.mark.parametrize("rounds", [1, 100], ids=["in one round", "in rounds"])
@pytest.mark.parametrize("ids", ENDLESS.values(), ids=ENDLESS)
@pytest.mark.parametrize("total", [10, 50, 10**18, None])
def test_walk_that_does_not_end_is_an_error(ids: Callable[[int], list[int]], total: int | None, rounds: int) -> None:
    answers = [0]

    def fetch(skip: int) -> Page:
        answers[0] += 1
        return Page([{"ID": id_} for id_ in ids(skip)], total, 10)

    def read() -> None:
        at, steps = Step([], None, 0, None), 1_000 // rounds
        for _ in range(rounds):
            for step in islice(walk(fetch, "ID", at.skip or 0, at.last_id, at.patience), steps):
                at = step
                assert at.skip is not None

    with pytest.raises(EndlessList, match="did not end"):
        read()
    assert answers[0] <= 3 * 6 + 10 + 1


@given(lists)
def test_walk_can_resume_after_every_step_but_the_last(source: EditedList) -> None:
    places = [step.skip for step in walk(source.read, "ID")]
    assert places[-1] is None
    assert None not in places[:-1]


@settings(max_examples=600, deadline=None)
@given(lists, st.integers(1, 8), st.integers(0, 2**32))
def test_concurrent_walk_returns_every_row_that_stays(source: EditedList, depth: int, seed: int) -> None:
    fetch = PageReader(source.read, PrefetchWindow(OutOfOrder(seed), depth), source.top)
    kept = [row["ID"] for step in walk(fetch, "ID") for row in step.rows]
    assert source.always <= set(kept)
    assert len(kept) == len(set(kept))


@settings(max_examples=300, deadline=None)
@given(lists, st.lists(st.integers(1, 4), min_size=1, max_size=20))
def test_resumed_walk_returns_every_row_that_stays(source: EditedList, rounds: list[int]) -> None:
    kept: list[int] = []
    skip: int | None = 0
    last_id = None
    for steps in [*rounds, 10_000]:
        for step in islice(walk(source.read, "ID", skip, last_id), steps):
            kept += [row["ID"] for row in step.rows]
            skip, last_id = step.skip, step.last_id
        if skip is None:
            break
        source.edit()
    assert source.always <= set(kept)


@pytest.mark.parametrize(("rows", "calls"), [(0, 1), (1, 1), (499, 1), (500, 2), (998, 2), (999, 3), (10_000, 21)])
def test_walk_of_an_unchanged_list_sends_one_call_per_page(rows: int, calls: int) -> None:
    source = EditedList(list(range(1, rows + 1)), 500, 0, 0, 0)
    assert sum(len(step.rows) for step in walk(source.read, "ID")) == rows
    assert source.answers == calls


def test_prefetch_sends_no_extra_calls() -> None:
    source = EditedList(list(range(10_000)), 500, 0, 0, 0)
    fetch = PageReader(source.read, PrefetchWindow(OutOfOrder(1), 8), 500)
    assert sum(len(step.rows) for step in walk(fetch, "ID")) == 10_000
    assert source.answers == 21


class Answering(Executor):
    """Answers at once, as if no time passed between request and response; counts what was requested."""

    def __init__(self) -> None:
        self.requests: list[tuple[int, int]] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        self.requests.append(args)
        future: Future[Any] = Future()
        future.set_result(fn(*args))
        return future


def heavy(rows: int, weight: int) -> Callable[[int, int], Page]:
    """A list of so many records of so many bytes each."""

    def read(skip: int, top: int) -> Page:
        ids = range(skip, min(skip + top, rows))
        return Page([{"ID": id_} for id_ in ids], rows, top, len(ids) * weight)

    return read


def test_prefetch_is_bounded_by_pages_and_bytes() -> None:
    light, thick = Answering(), Answering()
    PageReader(heavy(1_000_000, 100), PrefetchWindow(light, 8), 500)(0)
    assert len(light.requests) == 1 + 16
    PageReader(heavy(1_000_000, 4_000), PrefetchWindow(thick, 8), 500)(0)
    assert len(thick.requests) == 1 + PREFETCH_BYTES // (500 * 4_000)


@given(st.integers(1, 400), st.integers(1, 1_000_000))
def test_prefetch_requests_smaller_pages_of_large_records(rows: int, weight: int) -> None:
    pool = Answering()
    kept = [
        row["ID"]
        for step in walk(PageReader(heavy(rows, weight), PrefetchWindow(pool, 2), 50), "ID")
        for row in step.rows
    ]
    assert kept == list(range(rows))
    assert all(top == 2 or top * weight <= PAGE_BYTES for _, top in pool.requests[1:])


def test_page_is_awaited_until_it_arrives() -> None:
    arrived, late = (PageReader(heavy(1_000, 1), PrefetchWindow(pool, 8), 500) for pool in (Answering(), OutOfOrder(1)))
    for reader in (arrived, late):
        assert reader.awaits_page
        reader.prime(0)
    assert (arrived.awaits_page, late.awaits_page) == (False, True)
    assert len(late(0).rows) == 500


def test_prefetch_starts_the_next_walk_after_the_first() -> None:
    pool = Answering()
    prefetch_window = PrefetchWindow(pool, 8)
    first, second = (PageReader(heavy(1_000, 1), prefetch_window, 500) for _ in "ab")
    first.prime(0)
    second.prime(0)
    assert pool.requests == [(0, 500), (499, 500), (998, 500), (0, 500), (499, 500), (998, 500)]
    assert [sum(len(step.rows) for step in walk(each, "ID")) for each in (first, second)] == [1_000, 1_000]


def test_prefetch_of_other_walks_takes_half_of_the_window() -> None:
    pool = Answering()
    prefetch_window = PrefetchWindow(pool, 8)
    many = [PageReader(heavy(499, 10_000), prefetch_window, 500) for _ in range(20)]
    for each in many:
        each.prime(0)
    sent = len(pool.requests)
    PageReader(heavy(1_000_000, 100), prefetch_window, 500)(0)
    assert len(pool.requests) == sent + 1 + 8


@pytest.mark.parametrize(("last_id", "lost"), [(997, 0), (990, 1)], ids=["joins", "rows went away"])
def test_prefetch_waits_until_a_resumed_walk_joins(last_id: int, lost: int) -> None:
    pool = Answering()
    fetch = PageReader(heavy(5_000, 1), PrefetchWindow(pool, 8), 500)
    assert sum(len(step.rows) for step in walk(fetch, "ID", 997, last_id)) == 4_999 - last_id
    assert len(pool.requests) == 9 + 2 * lost


def test_prefetch_continues_with_the_size_of_a_page_that_was_too_large() -> None:
    pool, read = Answering(), heavy(5_000, 1)
    fetch = PageReader(lambda skip, top: read(skip, min(top, 125)), PrefetchWindow(pool, 8), 500)
    assert [row["ID"] for step in walk(fetch, "ID") for row in step.rows] == list(range(5_000))
    assert fetch.max_rows == 125
    assert pool.requests == [(0, 500), *((skip, 125) for skip in range(124, 4_999, 124))]


def test_prefetch_requests_larger_pages_again_after_a_while() -> None:
    pool, read, busy = Answering(), heavy(200_000, 1), iter([125])
    fetch = PageReader(lambda skip, top: read(skip, next(busy, top)), PrefetchWindow(pool, 8), 500)
    assert sum(len(step.rows) for step in walk(fetch, "ID")) == 200_000
    tops = [top for _, top in pool.requests]
    assert all(100 <= tops.count(size) <= 120 for size in (125, 250))  # some are requested ahead
    assert tops[-1] == fetch.max_rows == 500


def test_prefetch_soon_requests_larger_pages_than_the_smallest() -> None:
    """The last attempt is for the smallest page, which says little about what the service bears."""
    pool, read, busy = Answering(), heavy(5_000, 1), iter([2])
    fetch = PageReader(lambda skip, top: read(skip, next(busy, top)), PrefetchWindow(pool, 8), 500)
    assert [row["ID"] for step in walk(fetch, "ID") for row in step.rows] == list(range(5_000))
    assert len(pool.requests) < 150


def test_prefetch_rarely_tries_pages_again_that_have_just_failed() -> None:
    """Only pages of up to 10 rows succeed: the client halves those of 16, and its last attempt is for two."""
    pool, read = Answering(), heavy(5_000, 1)
    succeeds = {500: 2, 16: 8}
    fetch = PageReader(lambda skip, top: read(skip, succeeds.get(top, top)), PrefetchWindow(pool, 8), 500)
    assert [row["ID"] for step in walk(fetch, "ID") for row in step.rows] == list(range(5_000))
    assert fetch.max_rows == 8
    assert sum(top == 16 for _, top in pool.requests) < 20


def test_prefetch_discards_pages_behind_one_that_was_too_large() -> None:
    source = EditedList(list(range(5_000)), 500, 0, 0, 0)

    def read(skip: int, top: int) -> Page:
        return source.read(skip, top if skip < 2_000 else min(top, 100))

    fetch = PageReader(read, PrefetchWindow(OutOfOrder(3), 8), 500)
    assert [row["ID"] for step in walk(fetch, "ID") for row in step.rows] == list(range(5_000))
    assert fetch.max_rows == 100


def test_prefetch_stops_after_a_failure() -> None:
    class Failing(Answering):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
            if args[0] < 900 or len(self.requests) > 4:
                return super().submit(fn, *args, **kwargs)
            self.requests.append(args)
            future: Future[Any] = Future()
            future.set_exception(ServerError("down", path="/"))
            return future

    pool = Failing()
    fetch = PageReader(heavy(5_000, 1), PrefetchWindow(pool, 8), 500)
    steps = walk(fetch, "ID")
    assert [len(next(steps).rows), len(next(steps).rows)] == [500, 499]
    assert pool.requests == [(0, 500), (499, 500), (998, 500)]
    with pytest.raises(ServerError):
        next(steps)
    with pytest.raises(ServerError):
        fetch(998)
    with pytest.raises(ServerError):
        fetch(998)
    assert sum(len(step.rows) for step in walk(fetch, "ID", 998, 998)) == 4_001


@given(st.lists(st.integers(1, 5)), st.integers(1, 12), st.booleans())
def test_batches_contain_the_same_rows_and_the_last_offset(sizes: list[int], enough: int, fails: bool) -> None:
    def steps() -> Iterator[Step]:
        for index, size in enumerate(sizes):
            yield Step([{"ID": (index, n)} for n in range(size)], index, index + 1, (index, size - 1), size)
        if fails:
            raise InsightlyError("the service is down")

    came: list[Step] = []
    with pytest.raises(InsightlyError) if fails else nullcontext():
        for step in batches(steps(), lambda batch: batch.size >= enough):
            came.append(step)
    assert [row["ID"] for step in came for row in step.rows] == [
        (i, n) for i, size in enumerate(sizes) for n in range(size)
    ]
    assert all(step.size >= enough for step in came[:-1])
    assert all(step.last_id == step.rows[-1]["ID"] and step.skip == step.last_id[0] + 1 for step in came)
    assert [step.at for step in came] == [step.rows[0]["ID"][0] for step in came]


def test_walk_reads_short_pages_up_to_the_total() -> None:
    source = EditedList(list(range(95)), 50, 0, 0, 0)
    kept = [
        row["ID"] for step in walk(lambda skip: Page(source.read(skip, 10).rows, 95, 50), "ID") for row in step.rows
    ]
    assert kept == list(range(95))


def test_walk_without_total_ends_at_the_overlap() -> None:
    source = EditedList(list(range(95)), 50, 0, 0, 0)
    kept = [
        row["ID"] for step in walk(lambda skip: Page(source.read(skip, 10).rows, None, 50), "ID") for row in step.rows
    ]
    assert kept == list(range(95))


def test_walk_accepts_one_page_in_any_order() -> None:
    page = Page([{"ID": 3}, {"ID": 1}, {"ID": 3}, {"ID": "b"}], 4, 10)
    assert [step.rows for step in walk(lambda skip: page, "ID")] == [[{"ID": 3}, {"ID": 1}, {"ID": "b"}]]


def test_walk_reads_an_unsorted_list_in_passes() -> None:
    ids = [5, 9, 1, 7, 3, 8, 2]

    def fetch(skip: int) -> Page:
        return Page([{"ID": id_} for id_ in ids[skip : skip + 3]], len(ids), 3)

    with pytest.raises(Unsorted):
        list(walk(fetch, "ID"))
    assert sorted(row["ID"] for step in read_unsorted(fetch, "ID", set()) for row in step.rows) == sorted(ids)


@pytest.mark.parametrize("total", [6, 8, 1_000])
@pytest.mark.parametrize("top", [3, 10])
def test_unsorted_list_with_wrong_total_is_read_until_two_passes_agree(top: int, total: int) -> None:
    ids, answers = [5, 9, 1, 7, 3, 8, 2], [0]

    def fetch(skip: int) -> Page:
        answers[0] += 1
        return Page([{"ID": id_} for id_ in ids[skip : skip + top]], total, top)

    steps = list(read_list(fetch, "ID"))
    assert [row["ID"] for step in steps for row in step.rows] == ids
    assert total == 6 or steps[-1].note == f"the API counts {total:,} and lists 7"
    assert answers[0] <= (2 if top == 10 else 1 + 2 * 4)


def test_unsorted_list_that_does_not_end_is_an_error() -> None:
    with pytest.raises(EndlessList):
        list(read_unsorted(lambda skip: Page([{"ID": 2}, {"ID": 1}], 10**18, 2), "ID", set()))


def test_unsorted_list_without_all_its_rows_is_an_error() -> None:
    def fetch(skip: int) -> Page:
        return Page([{"ID": 1}, {"ID": 1}][skip : skip + 2], 2, 2)

    with pytest.raises(Unsorted, match="1 of its 2 rows"):
        list(read_unsorted(fetch, "ID", set()))


@pytest.mark.parametrize("row", [{}, {"ID": None}, {"ID": {}}, {"ID": True}])
def test_row_without_an_id_is_an_error(row: dict[str, Any]) -> None:
    with pytest.raises(MalformedResponse, match="without ID"):
        list(walk(lambda skip: Page([row], 1, 10), "ID"))


def test_walk_of_an_empty_unpaged_list_is_one_page() -> None:
    assert [step.rows for step in walk(lambda skip: Page([], 0, 1), "ID")] == [[]]
