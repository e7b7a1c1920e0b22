"""The rate limiter with a clock that moves only while a thread sleeps, and with real threads."""

import threading
import time

import pytest
from hypothesis import given
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
