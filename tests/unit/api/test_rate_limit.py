"""The rate limiter with a clock that moves only while a thread sleeps, and with real threads."""

import threading
import time
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.insightly.api.rate_limit import RateLimiter
from sources.insightly.config.settings import RATE_MARGIN


class Clock:
    """A clock that sleeping moves; each sleep ends late, by the next value of `late`."""

    def __init__(self, late=()):
        self.now, self.late, self.slept = 1000.0, list(late), []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self.slept.append(seconds)
        self.now += seconds + (self.late.pop() if self.late else 0.0)


def make_limiter(rate, late=()):
    clock = Clock(late)
    return RateLimiter(rate, clock, clock.sleep), clock


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_rate_must_be_above_zero(rate):
    with pytest.raises(ValueError, match="rate"):
        RateLimiter(rate)


def test_slots_are_evenly_spaced_and_the_first_is_free():
    rate_limiter, clock = make_limiter(10)
    rate_limiter.wait()
    assert clock.slept == []
    for _ in range(200):
        rate_limiter.wait()
    assert clock.now - 1000 == pytest.approx(200 * RATE_MARGIN / 10)
    assert {round(pause, 6) for pause in clock.slept} == {0.1015}


@given(
    rate=st.floats(0.2, 500),
    late=st.lists(st.floats(0, 0.3) | st.just(0.0), max_size=60),
    idle=st.lists(st.floats(0, 3) | st.just(0.0), min_size=40, max_size=80),
)
def test_no_second_has_more_requests_than_the_rate(rate, late, idle):
    rate_limiter, clock = make_limiter(rate, late)
    sent = []
    for pause in idle:
        clock.now += pause
        rate_limiter.wait()
        sent.append(clock.now)
    for n in range(1, len(sent)):
        for first, last in zip(sent, sent[n:], strict=False):
            assert last - first >= n * RATE_MARGIN / rate - 0.005 - 1e-6


def test_short_delays_are_made_up_for():
    rate_limiter, clock = make_limiter(10, [0.004] * 100)
    for _ in range(101):
        rate_limiter.wait()
    assert clock.now - 1000 == pytest.approx(100 * 0.1015 + 0.004)


def test_requests_that_leave_late_do_not_crowd_a_second():
    rate_limiter, clock = make_limiter(10)
    sent = []
    for number in range(40):
        rate_limiter.wait()
        claimed = clock.now
        clock.now += 0.08 if number % 7 == 0 else 0.0
        sent.append(clock.now)
        rate_limiter.record_sent()
        clock.now = claimed  # another thread goes on meanwhile
    assert all(later - earlier > 1.0 for earlier, later in zip(sorted(sent), sorted(sent)[10:], strict=False))
    assert sent[-1] - sent[0] < 39 * 0.1015 + 0.5


def test_hold_stops_every_thread_and_the_longer_hold_wins():
    rate_limiter, clock = make_limiter(10)
    rate_limiter.wait()
    rate_limiter.hold(5)
    rate_limiter.hold(1)
    rate_limiter.wait()
    assert clock.now == pytest.approx(1005)
    rate_limiter.wait()
    assert clock.now == pytest.approx(1005.1015)


def test_hold_reaches_a_sleeping_thread():
    clock = Clock()
    holds = [3.0]

    def sleep(seconds):
        clock.sleep(seconds)
        if holds:
            rate_limiter.hold(holds.pop())

    rate_limiter = RateLimiter(10, clock, sleep)
    rate_limiter.wait()
    rate_limiter.wait()
    assert clock.now == pytest.approx(1000 + 0.1015 + 3)


def test_threads_are_served_in_order_of_arrival():
    gate, order, clock = threading.Event(), [], Clock()

    def sleep(seconds):
        gate.wait(5)
        clock.sleep(seconds)

    rate_limiter = RateLimiter(10, clock, sleep)
    rate_limiter.wait()

    def worker(number):
        rate_limiter.wait()
        order.append(number)

    threads = []
    for number in range(8):
        threads.append(threading.Thread(target=worker, args=(number,)))
        threads[-1].start()
        while len(rate_limiter._queue) <= number:
            time.sleep(0.001)
    gate.set()
    for thread in threads:
        thread.join(5)
    assert sorted(order) == list(range(8))
    assert len(clock.slept) == 8
    assert clock.now - 1000 == pytest.approx(8 * 0.1015)
    assert order[0] == 0


def test_interrupted_thread_lets_the_next_one_through():
    def sleep(seconds):
        raise KeyboardInterrupt

    clock = Clock()
    rate_limiter = RateLimiter(10, clock, sleep)
    rate_limiter.wait()
    with pytest.raises(KeyboardInterrupt):
        rate_limiter.wait()
    clock.now += 1
    rate_limiter.wait()


def test_eight_threads_keep_the_rate():
    rate_limiter, sent, lock = RateLimiter(400), [], threading.Lock()

    def worker():
        for _ in range(10):
            rate_limiter.wait()
            with lock:
                sent.append(time.monotonic())

    threads = [threading.Thread(target=worker) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(sent) == 80
    assert max(sent) - min(sent) >= 79 * RATE_MARGIN / 400 - 0.02


def burst(rate_limiter, clock, seconds=1.0):
    """A request that comes too soon, and the end of the hold after it."""
    slowed = rate_limiter.burst(seconds)
    clock.now += seconds
    return slowed


def test_third_burst_within_a_minute_slows_down_and_says_so_once():
    rate_limiter, clock = make_limiter(10)
    assert [burst(rate_limiter, clock) for _ in range(2)] == [False, False]
    assert (rate_limiter.slowest_rate, rate_limiter.interval) == (None, RATE_MARGIN / 10)
    assert [burst(rate_limiter, clock) for _ in range(3)] == [True, False, False]
    assert rate_limiter.interval == pytest.approx(0.1015 * 1.25**3)
    assert rate_limiter.slowest_rate == pytest.approx(10 / 1.25**3)


def test_rare_bursts_leave_the_pace():
    rate_limiter, clock = make_limiter(10)
    for _ in range(20):
        burst(rate_limiter, clock)
        clock.now += 30
    assert rate_limiter.slowest_rate is None


def test_requests_in_flight_together_are_one_burst():
    rate_limiter, clock = make_limiter(10)
    for _ in range(2):
        assert [rate_limiter.burst(1.0) for _ in range(8)] == [False] * 8
        clock.now += 1
    assert rate_limiter.slowest_rate is None


@pytest.mark.parametrize(("rate", "slowest"), [(10, 1.015), (0.5, 0.5)])
def test_pace_has_a_lower_bound(rate, slowest):
    rate_limiter, clock = make_limiter(rate)
    for _ in range(40):
        burst(rate_limiter, clock)
    assert RATE_MARGIN / rate_limiter.interval == pytest.approx(slowest)


def test_pace_recovers_slowly_up_to_the_rate():
    rate_limiter, clock = make_limiter(10)
    for _ in range(6):
        burst(rate_limiter, clock)
    slow, intervals = rate_limiter.interval, []
    for _ in range(90):
        clock.now += 30
        rate_limiter.wait()
        intervals.append(rate_limiter.interval)
    assert intervals[0] == slow
    assert intervals[1:3] == [pytest.approx(slow * 0.95)] * 2
    assert intervals == sorted(intervals, reverse=True)
    assert intervals[-1] == RATE_MARGIN / 10
    assert rate_limiter.slowest_rate == pytest.approx(RATE_MARGIN / slow)


@settings(max_examples=5)  # each an hour of requests
@given(allowed=st.integers(2, 9), seconds=st.floats(0.5, 2))
def test_refusals_are_few(allowed, seconds):
    assert_refusals_are_few(allowed, seconds)


@pytest.mark.sample(0)
@settings(max_examples=40)
@given(allowed=st.integers(2, 9), seconds=st.floats(0.5, 2))
def test_refusals_are_few_whatever_is_allowed(allowed, seconds):
    assert_refusals_are_few(allowed, seconds)


def assert_refusals_are_few(allowed, seconds):
    """By a service that refuses the request after `allowed` ones in any second, as the sandbox does."""
    rate_limiter, clock = make_limiter(10)
    recent, refused = deque(), 0
    while clock.now < 1000 + 3600:
        rate_limiter.wait()
        while recent and clock.now - recent[0] >= 1.0:
            recent.popleft()
        if len(recent) < allowed:
            recent.append(clock.now)
        else:
            refused += 1
            rate_limiter.burst(seconds)
    assert refused <= 60
