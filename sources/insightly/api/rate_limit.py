"""Evenly spaced requests over all threads of the process, and a count of throttles without an explanation."""

import threading
import time
from collections import deque
from collections.abc import Callable

from ..config.settings import RATE_MARGIN

SLACK = 0.005
"""Seconds by which the next slot may make up for a late one. Sleeps end late on a busy machine, and without this each
such delay would add up. With it n + 1 requests in a row still span at least n intervals less 5 ms."""
BURSTS, BURSTS_WITHIN = 3, 60.0
"""This many bursts within this many seconds are not an accident: the service allows less than the setting."""
SLOWER, FASTER = 1.25, 0.95
"""Factors of the interval after one more burst, and after each `FASTER_AFTER` seconds without one."""
FASTER_AFTER = 60.0
SLOWEST = 1.0
"""Seconds between two requests, at most, unless the setting asks for more."""


class RateLimiter:
    """Gives out slots for requests, first come, first served.

    Args:
        rate: slots per second, above 0 (Insightly allows 10 on every plan, api.md 3).
        clock: monotonic seconds.
        sleep: called with seconds in the waiting thread.

    Raises:
        ValueError: `rate` is not above 0.
    """

    def __init__(
        self,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not rate > 0:
            raise ValueError(f"rate must be above 0, not {rate!r}")
        self.interval = self._shortest = self._longest = RATE_MARGIN / rate
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._queue: deque[threading.Event] = deque()
        self._slot = self._hold_until = self._changed_at = clock()
        self._bursts = deque[float](maxlen=BURSTS)
        # However late requests leave after their slots, no more than `rate` of them leave in a second.
        self._sent = deque[float](maxlen=max(round(rate), 1))
        self._sent_within = (self._sent.maxlen or 1) / rate + SLACK

    @property
    def slowest_rate(self) -> float | None:
        """The slots per second that `burst` has come down to; None if it never did."""
        return RATE_MARGIN / self._longest if self._longest > self._shortest else None

    def wait(self) -> None:
        """Blocks until this thread's slot. Only the first in the queue sleeps, so a hold delays all in their order."""
        turn = threading.Event()
        with self._lock:
            self._queue.append(turn)
            self._queue[0].set()
        try:
            turn.wait()
            while (pause := self._claim()) > 0:
                self._sleep(pause)
        finally:
            with self._lock:
                self._queue.remove(turn)
                if self._queue:
                    self._queue[0].set()

    def record_sent(self) -> None:
        """Records that a request has left. One that left long after its slot would be too close to later ones."""
        with self._lock:
            self._sent.append(self._clock())

    def hold(self, seconds: float) -> None:
        """Gives out no slot for `seconds` from now. A longer hold stays in force."""
        with self._lock:
            self._hold_until = max(self._hold_until, self._clock() + seconds)
            self._slot = max(self._slot, self._hold_until)

    def burst(self, seconds: float) -> bool:
        """Holds after a request that came too soon; from the third within a minute on, slots also come more slowly.

        Slots come faster again little by little, up to the rate.

        Returns:
            True when this slows down for the first time.
        """
        with self._lock:
            now, was_slow = self._clock(), self.slowest_rate is not None
            if now >= self._hold_until:  # else it was in flight together with the one that caused the hold
                self._bursts.append(now)
                self._changed_at = now
                if len(self._bursts) == BURSTS and now - self._bursts[0] <= BURSTS_WITHIN:
                    self.interval = max(self.interval, min(self.interval * SLOWER, SLOWEST))
                    self._longest = max(self._longest, self.interval)
            is_first = not was_slow and self.slowest_rate is not None
        self.hold(seconds)
        return is_first

    def _claim(self) -> float:
        """Takes the slot and returns 0.0, or returns the seconds until it comes."""
        with self._lock:
            now, slot = self._clock(), self._slot
            if len(self._sent) == self._sent.maxlen:
                slot = max(slot, self._sent[0] + self._sent_within)
            if now < slot:
                return slot - now
            if self.interval > self._shortest and now - self._changed_at >= FASTER_AFTER:
                self.interval, self._changed_at = max(self.interval * FASTER, self._shortest), now
            self._slot = max(self._slot, now - SLACK) + self.interval
            return 0.0


class UnexplainedThrottles:
    """Counts the 429s in a row, over all threads, that have no X-RateLimit-Remaining: bursts, or the end of the day.

    A count for each request would cost every thread all its attempts at the end of a day. Requests that were in flight
    together count once in `in_a_row`. While it is above 0, send one request at a time, inside of `one_at_a_time`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.in_a_row, self.one_at_a_time = 0, threading.Lock()
        self._clock, self._last_at = clock, clock()
        self._lock = threading.Lock()

    def record(self, status: int, remaining: int | None, started: float) -> None:
        """Records the response of a request that left at `started`."""
        with self._lock:
            if started < self._last_at:
                return
            if status == 429 and remaining is None:
                self.in_a_row, self._last_at = self.in_a_row + 1, self._clock()
            elif 200 <= status < 300:
                self.in_a_row = 0
