"""How many calls a run may still make: `max_calls`, the day's quota, and the reserve for other programs."""

import threading
from collections import Counter
from typing import NoReturn

from ..errors import BudgetExhausted, QuotaExhausted, plural

DAY_SPENT = "the day's calls are used up; what was read is kept. Run again after the reset (24 hours at most)"


class CallBudget:
    """Counts every attempt, retries included, as the service does. Thread-safe.

    Call `take` before a request and `record` after it. Responses overtake each other, so the smallest value of
    X-RateLimit-Remaining (api.md 3) is the current one. A greater value counts only if its call was taken *after* the
    smallest was recorded: then the response is not an old one, and the day's quota was renewed.

    Until the first response says how many calls are left, `take` lets calls through. These calls in flight are the
    most that a run can take from the reserve.

    Args:
        max_calls: calls this run may make, None for no limit.
        reserve: calls of the day to leave for other programs.

    Attributes:
        calls: calls made so far.
        remaining: the day's calls left by the service's own count, None before its first response.
    """

    def __init__(self, max_calls: int | None = None, reserve: int = 0) -> None:
        self._max_calls, self._reserve = max_calls, reserve
        self._lock = threading.RLock()
        self._labels: Counter[str] = Counter()
        self._retries: Counter[str] = Counter()
        self.calls = self._in_flight = 0
        self.remaining: int | None = None
        self._lowest_at = 0
        self._day_spent = ""

    def check(self) -> None:
        """Raises what `take` would raise now, without counting a call.

        Raises:
            QuotaExhausted: the day has no call left.
            BudgetExhausted: `max_calls` is reached, or the calls in flight may use up all but the reserve.
        """
        with self._lock:
            if self._day_spent or self.remaining == 0:
                raise QuotaExhausted(self._day_spent or DAY_SPENT)
            if self._max_calls is not None and self.calls >= self._max_calls:
                made = plural(self.calls, "call is", "calls are")
                raise BudgetExhausted(
                    f"sources.insightly.max_calls is {self._max_calls} and {made} made; what was read is kept. "
                    "Run again to continue, or raise it"
                )
            if self._reserve > 0 and self.remaining is not None and self.remaining - self._in_flight <= self._reserve:
                raise BudgetExhausted(
                    f"sources.insightly.quota_reserve is {self._reserve} and {self.remaining} calls of the day are "
                    "left; what was read is kept. Run again tomorrow, or lower it"
                )

    def take(self, label: str = "") -> int:
        """Counts one call for `label`, and returns its ticket for `record`.

        Raises:
            QuotaExhausted: the day has no call left.
            BudgetExhausted: `max_calls` is reached, or the calls in flight may use up all but the reserve.
        """
        with self._lock:
            self.check()
            self.calls += 1
            self._in_flight += 1
            self._labels[label] += 1
            return self.calls

    def record(self, remaining: int | None = None, ticket: int = 0) -> None:
        """Records the end of a call: its X-RateLimit-Remaining (None without one), and the ticket of `take`."""
        with self._lock:
            self._in_flight -= 1
            if remaining is None or self._day_spent:
                return
            if self.remaining is None or remaining <= self.remaining or ticket > self._lowest_at:
                self.remaining, self._lowest_at = max(remaining, 0), self.calls

    def count_retry(self, kind: str) -> None:
        """Counts a call that is made again, by the kind of its failure."""
        with self._lock:
            self._retries[kind] += 1

    def spend_day(self, reason: str) -> NoReturn:
        """Allows no further call in this run, whatever later responses say.

        The first reason stays: threads that stop because of it must not hide the response it came from.

        Raises:
            QuotaExhausted: always, with `reason`.
        """
        with self._lock:
            self._day_spent, self.remaining = self._day_spent or reason, 0
        raise QuotaExhausted(reason)

    def close(self) -> None:
        """Allows no further call, because the run is ending."""
        with self._lock:
            self._max_calls = self.calls

    def left(self) -> int | None:
        """Calls that may still be made, without those in flight; None if there is no limit or none is known yet."""
        with self._lock:
            bounds = []
            if self._max_calls is not None:
                bounds.append(self._max_calls - self.calls)
            if self.remaining is not None:
                bounds.append(self.remaining - self._in_flight - self._reserve)
            return max(min(bounds), 0) if bounds else None

    @property
    def by_label(self) -> Counter[str]:
        """Calls made for each label (a copy)."""
        with self._lock:
            return self._labels.copy()

    @property
    def retries(self) -> Counter[str]:
        """Calls made again for each kind of failure (a copy)."""
        with self._lock:
            return self._retries.copy()
