"""The probe against lists with known differences, unchanged or edited during the read: no live id is called missing."""

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.insightly.errors import Unsorted
from sources.insightly.paging.probe import Differences, grid, probe
from sources.insightly.paging.walk import Page


class Listing:
    """A list of ids; `edit` runs before each page is read."""

    def __init__(self, ids: Sequence[int], top: int, edit: Callable[["Listing"], None] = lambda listing: None) -> None:
        self.ids, self.top, self.edit = sorted(ids), top, edit
        self.offsets: list[int] = []

    def __call__(self, skips: Sequence[int]) -> list[Page]:
        pages = []
        for skip in skips:
            self.edit(self)
            self.offsets.append(skip)
            pages.append(Page([{"ID": id_} for id_ in self.ids[skip : skip + self.top]], len(self.ids), self.top))
        return pages

    def compared_with(self, known: Sequence[int]) -> Differences:
        return probe(self, "ID", sorted(known), self.top)


def unknown(found: Differences) -> list[int]:
    return sorted(row["ID"] for row in found.unknown)


ids = st.lists(st.integers(1, 500), unique=True, max_size=120)
tops = st.integers(2, 12)


@settings(max_examples=500)
@given(ids, tops, st.randoms(use_true_random=False))
def test_probe_finds_all_deletions(known: list[int], top: int, chance: random.Random) -> None:
    share = chance.random()
    left = [id_ for id_ in known if chance.random() > share]
    found = Listing(left, top).compared_with(known)
    assert sorted(found.missing_ids) == sorted(set(known) - set(left))
    assert found.unknown == []


@settings(max_examples=500)
@given(ids, ids, tops)
def test_probe_finds_all_unknown_ids(known: list[int], more: list[int], top: int) -> None:
    found = Listing({*known, *more}, top).compared_with(known)
    assert unknown(found) == sorted(set(more) - set(known))
    assert found.missing_ids == []


@settings(max_examples=500)
@given(ids, ids, tops)
def test_probe_reports_true_differences_and_reads_no_page_twice(known: list[int], listed: list[int], top: int) -> None:
    listing = Listing(listed, top)
    found = listing.compared_with(known)
    assert set(found.missing_ids) <= set(known) - set(listed)
    assert set(unknown(found)) <= set(listed) - set(known)
    assert len(found.missing_ids) == len(set(found.missing_ids))
    assert len(listing.offsets) == len(set(listing.offsets)) == found.pages
    assert found.pages <= max(len(grid(len(known), top)), len(grid(len(listed), top)) + 1)
    # A difference in number is never overlooked.
    assert bool(found.missing_ids or found.unknown) or len(known) == len(listed)


@settings(max_examples=500)
@given(ids, tops, st.integers(0, 2**32))
def test_probe_during_edits_reports_no_live_id_missing(known: list[int], top: int, seed: int) -> None:
    chance, always = random.Random(seed), set(known)

    def edit(listing: Listing) -> None:
        for _ in range(chance.randint(0, 3)):
            if listing.ids and chance.random() < 0.6:
                always.discard(listing.ids.pop(chance.randrange(len(listing.ids))))
            else:
                listing.ids = sorted({*listing.ids, chance.randint(1, 600)})

    listing = Listing(known, top, edit)
    found = listing.compared_with(known)
    assert not always & set(found.missing_ids)
    assert len(listing.offsets) == len(set(listing.offsets))


@given(ids, tops)
def test_probe_of_an_unchanged_list_reads_one_page(known: list[int], top: int) -> None:
    found = Listing(known, top).compared_with(known)
    assert (found.pages, found.missing_ids, found.unknown) == (1, [], [])


def test_probe_reads_few_pages_for_few_deletions() -> None:
    known, chance = range(1, 40_001), random.Random(1)
    gone = set(chance.sample(known, 5))
    listing = Listing([id_ for id_ in known if id_ not in gone], 500)
    assert sorted(listing.compared_with(known).missing_ids) == sorted(gone)
    assert len(listing.offsets) < 35


@pytest.mark.parametrize("left", [[], [1], [10_000], list(range(5_000))])
def test_probe_of_a_list_that_lost_nearly_everything(left: list[int]) -> None:
    listing = Listing(left, 500)
    assert len(listing.compared_with(range(10_001)).missing_ids) == 10_001 - len(left)
    assert len(listing.offsets) <= len(grid(len(left), 500)) + 1


def test_probe_refuses_an_unsorted_list() -> None:
    with pytest.raises(Unsorted, match="ascend"):
        probe(lambda skips: [Page([{"ID": 2}, {"ID": 1}], 2, 10)], "ID", [1, 2], 10)


def test_probe_refuses_a_list_without_a_total() -> None:
    with pytest.raises(Unsorted, match="X-Total-Count"):
        probe(lambda skips: [Page([{"ID": 1}], None, 10)], "ID", [1], 10)


def test_probe_refuses_short_pages() -> None:
    with pytest.raises(Unsorted, match="2 rows came of the 10"):
        probe(lambda skips: [Page([{"ID": 1}, {"ID": 2}], 30, 10)], "ID", range(1, 31), 10)
