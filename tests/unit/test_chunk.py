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
    ("calls", "seconds", "to_go", "ends"),
    [
        (60, 6.1, 16, True),
        (60, 6.1, 17, False),
        (60, 6.1, None, False),
        (60, 13.0, 16, False),  # the run does not wait for the limit of calls
        (49, 5.0, 16, False),
    ],
)
def test_chunk_ends_before_the_last_calls_of_a_long_run(
    calls: int, seconds: float, to_go: int | None, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk, now = Chunk(CallBudget(), 1_000, 10, endless=False), time.monotonic()
    chunk.add(calls)
    monkeypatch.setattr(time, "monotonic", lambda: now + seconds)
    chunk.end_before_last(to_go)
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
