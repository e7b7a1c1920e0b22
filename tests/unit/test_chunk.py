"""When a chunk ends."""

import time

import pytest

from sources.insightly.api.quota import CallBudget
from sources.insightly.chunk import Chunk


@pytest.mark.parametrize(("left", "calls"), [(None, 50), (1_000, 50), (20_000, 199), (100_000, 991)])
def test_chunk_ends_after_a_hundredth_of_the_calls_left_today(left: int | None, calls: int) -> None:
    budget = CallBudget(None, 0)
    chunk = Chunk(budget, None, 10, endless=False)
    for made in range(1, 2_000):
        budget.record(None if left is None else left - made, budget.take())
        chunk.add(1)
        if chunk.full:
            break
    assert made == calls


@pytest.mark.parametrize(
    ("calls", "seconds", "to_go", "load_seconds", "ends"),
    [
        (120, 12.2, 80, 0.9, True),  # a longer load would keep the limit waiting
        (119, 12.1, 80, 0.9, False),
        (72, 7.3, 9, 0.9, True),  # those to go are answered meanwhile
        (71, 7.2, 9, 0.9, False),
        (100, 10.2, 7, 0.9, False),  # too few for a package of their own
        (120, 12.2, None, 0.9, False),
        (120, 26.0, 80, 0.9, False),  # the run does not wait for the limit of calls
        (120, 12.2, 80, 6.0, False),  # the destination takes long for each package
    ],
)
def test_chunk_ends_where_calls_are_answered_while_it_is_loaded(
    calls: int, seconds: float, to_go: int | None, load_seconds: float, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk, now = Chunk(CallBudget(), 1_000, 10, endless=False), time.monotonic()
    chunk.load_seconds = load_seconds
    chunk.add(calls)
    monkeypatch.setattr(time, "monotonic", lambda: now + seconds)
    chunk.end_to_overlap(to_go)
    assert chunk.full is ends
    chunk.begin()
    assert not chunk.full


def test_chunk_ends_after_30_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    chunk, now = Chunk(CallBudget(), None, 10, endless=False), time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 29)
    assert not chunk.full
    monkeypatch.setattr(time, "monotonic", lambda: now + 31)
    assert chunk.full


@pytest.mark.parametrize(("left", "room"), [(1_000, 50), (20_000, 198), (100_000, 298)])
def test_chunk_has_room_for_calls_of_30_seconds_at_most(left: int, room: int) -> None:
    budget = CallBudget()
    budget.record(left, budget.take())
    chunk = Chunk(budget, None, 10, endless=False)
    chunk.add(2)
    assert chunk.room == room
    assert Chunk(budget, None, 10, endless=True).room is None


def test_chunk_ends_after_64_mb_of_rows() -> None:
    chunk = Chunk(CallBudget(), None, 10, endless=False)
    chunk.add_rows(63_000_000)
    assert not chunk.full
    chunk.add_rows(1_000_000)
    assert chunk.full
    chunk.begin()
    assert not chunk.full
