"""Evenly spaced requests over all threads of the process, and the headers that say when and how many."""

import threading
import time
from collections import deque
from collections.abc import Callable

MARGIN = 1.015
"""A stream of exactly 10/s puts 11 arrivals into one second as soon as the network hurries one of them; 1.5 % more
space keeps ten intervals at 1.015 s, so arrivals may be 10 ms early (and `SLACK` late) without a 429."""
SLACK = 0.005
"""Seconds a late departure may be caught up by. Sleeps end late on a busy machine; without this each such delay is lost
for good, with it n + 1 departures in a row still span at least n intervals less these 5 ms."""


class RateLimiter:
    """Gives out send slots, first come first served.

    Args:
        rate: slots a second, above 0 (Insightly: 10 on every plan, API.md 3).
        clock: monotonic seconds.
        sleep: called with seconds, in the waiting thread.

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
        self.interval = MARGIN / rate
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._queue: deque[threading.Event] = deque()
        self._slot = clock()

    def wait(self) -> None:
        """Block until this thread's slot. Only the head of the queue sleeps, so a hold reaches everybody in order."""
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

    def hold(self, seconds: float) -> None:
        """Give out no slot for `seconds` from now, to any thread. A longer hold in force stays."""
        with self._lock:
            self._slot = max(self._slot, self._clock() + seconds)

    def _claim(self) -> float:
        """Take the slot if it has come (0.0), else say how many seconds it is away."""
        with self._lock:
            now = self._clock()
            if now < self._slot:
                return self._slot - now
            self._slot = max(self._slot, now - SLACK) + self.interval
            return 0.0


class Doubt:
    """Counts the 429s in a row, over all threads, that came without X-RateLimit-Remaining: a burst, or the day's end?

    Counted for each call alone, the day's end would cost every thread its tries. `in_a_row` counts calls that were
    under way together once; while it is not 0, one call at a time is to be sent, holding `alone`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.in_a_row, self.alone = 0, threading.Lock()
        self._clock, self._since = clock, clock()
        self._lock = threading.Lock()

    def weigh(self, status: int, remaining: int | None, began: float) -> None:
        """Take the answer of a call that left at `began` into account."""
        with self._lock:
            if began < self._since:
                return
            if status == 429 and remaining is None:
                self.in_a_row, self._since = self.in_a_row + 1, self._clock()
            elif 200 <= status < 300:
                self.in_a_row = 0
