"""Pace and time left: laws of the estimate, without a clock."""

from itertools import accumulate

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipelines.engine.pace import ENOUGH_SECONDS, Pace, TimeLeft

STEPS = st.lists(st.tuples(st.floats(0.0, 60.0), st.integers(0, 500), st.none() | st.integers(0, 5000)), max_size=40)


@given(steps=STEPS)
def test_time_left_is_never_negative(steps: list[tuple[float, int, int | None]]) -> None:
    time_left, now, done = TimeLeft(), 100.0, 0
    for seconds, amount, left in steps:
        now, done = now + seconds, done + amount
        estimate = time_left.update(now, done, left)
        assert estimate is None or 0.0 <= estimate < float("inf")
        assert left is not None or estimate is None


@given(rate=st.floats(0.1, 50), pauses=st.lists(st.floats(0.01, 20), min_size=2, max_size=60))
def test_time_left_falls_as_time_passes_at_a_constant_pace(rate: float, pauses: list[float]) -> None:
    assume(sum(pauses) > 2 * ENOUGH_SECONDS)
    time_left, now, total = TimeLeft(), 100.0, rate * sum(pauses)
    time_left.update(now, 0.0, total)
    estimates = []
    for pause in pauses:
        now += pause
        done = (now - 100.0) * rate
        estimates.append(time_left.update(now, done, max(total - done, 0.0)))
    known = [estimate for estimate in estimates if estimate is not None]
    remaining = [sum(pauses) - passed for passed in accumulate(pauses)]
    assert known
    assert known == pytest.approx(remaining[-len(known) :], abs=1e-3)


def test_pause_of_a_load_moves_the_end_little() -> None:
    """Five calls a second, and a pause of six seconds, as in the load of a chunk on a busy machine."""
    time_left, now, done, estimates = TimeLeft(), 0.0, 0, dict[float, float | None]()
    for pause in [1.0] * 20 + [6.0] + [1.0] * 20:
        now, done = now + pause, done + 5
        estimates[now] = time_left.update(now, done, 1000 - done)
    before, after = estimates[20.0], estimates[26.0]
    assert before is not None
    assert after is not None
    assert before == pytest.approx(180, rel=0.05)
    assert before - 6 < after < before * 1.1


def test_nothing_is_said_before_the_pace_is_known() -> None:
    time_left = TimeLeft()
    assert [time_left.update(now, now, 100.0) for now in (0.0, 5.0)] == [None, None]
    assert time_left.update(15.0, 15.0, 85.0) == pytest.approx(85.0)
    assert time_left.update(16.0, 16.0, None) is None


def test_pace_follows_what_was_done_last() -> None:
    pace = Pace()
    for now in range(0, 100, 5):
        pace.update(now, now)
    assert pace.rate == pytest.approx(1.0)
    for now in range(100, 300, 5):
        pace.update(now, 100 + 10 * (now - 100))
    assert pace.rate == pytest.approx(10.0, rel=0.1)


def test_total_that_falls_counts_from_there() -> None:
    pace = Pace()
    for now, total in ((0.0, 0), (10.0, 100), (10.0, 0), (20.0, 100)):
        pace.update(now, total)
    assert pace.rate == pytest.approx(10.0)
