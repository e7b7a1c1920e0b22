"""How many calls may still be sent: this run's limit, the day's allowance, and what other programs are to keep."""

import threading
from collections import Counter

from ..errors import BudgetExhausted, QuotaExhausted


class CallBudget:
    """Counts every attempt, retries included, as the service does. Thread-safe.

    `take` before a request and `note` after it belong together. Answers overtake each other, so of the values of
    X-RateLimit-Remaining (API.md 3) the smallest counts. A greater one is believed only from a call that was taken
    *after* the smallest was noted: such an answer cannot be an old one, so the day's allowance was renewed.

    While nothing is known of the day, `take` lets calls through; with a reserve the first answers of a run can thus
    reach into it by no more than the calls in flight.

    Args:
        max_calls: calls this run may spend, None for no limit.
        reserve: calls of the day to leave for other programs.
    """

    def __init__(self, max_calls: int | None = None, reserve: int = 0) -> None:
        self._max_calls, self._reserve = max_calls, reserve
        self._lock = threading.Lock()
        self._labels: Counter[str] = Counter()
        self._calls = self._in_flight = 0
        self._remaining: int | None = None
        self._lowest_at = 0
        self._day_spent = False

    def check(self) -> None:
        """Raise what `take` would raise now, and count nothing.

        Raises:
            QuotaExhausted: the day has no call left.
            BudgetExhausted: `max_calls` are spent, or the calls in flight may use up all but the reserve.
        """
        with self._lock:
            self._check()

    def take(self, label: str = "") -> int:
        """Count one call, made for `label`, and return its ticket for `note`.

        Raises:
            QuotaExhausted: the day has no call left.
            BudgetExhausted: `max_calls` are spent, or the calls in flight may use up all but the reserve.
        """
        with self._lock:
            self._check()
            self._calls += 1
            self._in_flight += 1
            self._labels[label] += 1
            return self._calls

    def note(self, remaining: int | None = None, ticket: int = 0) -> None:
        """Close a call: `remaining` is its X-RateLimit-Remaining (None without one), `ticket` what `take` returned."""
        with self._lock:
            self._in_flight -= 1
            if remaining is None or self._day_spent:
                return
            known = self._remaining
            if known is None or remaining <= known or ticket > self._lowest_at:
                self._remaining, self._lowest_at = max(remaining, 0), self._calls

    def spend_day(self) -> None:
        """The service said that the day is over: no further call in this run, whatever late answers claim."""
        with self._lock:
            self._day_spent, self._remaining = True, 0

    def left(self) -> int | None:
        """Calls that may still be sent, those in flight taken off; None if nothing bounds them or nothing is known."""
        with self._lock:
            bounds = []
            if self._max_calls is not None:
                bounds.append(self._max_calls - self._calls)
            if self._remaining is not None:
                bounds.append(self._remaining - self._in_flight - self._reserve)
            return max(min(bounds), 0) if bounds else None

    @property
    def calls(self) -> int:
        """Calls taken so far."""
        return self._calls

    @property
    def remaining(self) -> int | None:
        """The day's calls left by the service's own count, None as long as it has not told."""
        return self._remaining

    @property
    def by_label(self) -> Counter[str]:
        """Calls taken, a label each (a copy)."""
        with self._lock:
            return self._labels.copy()

    def _check(self) -> None:
        if self._day_spent or self._remaining == 0:
            raise QuotaExhausted(
                "the day's calls are used up; what was read is kept. Run again after the reset (24 hours at most)"
            )
        if self._max_calls is not None and self._calls >= self._max_calls:
            raise BudgetExhausted(
                f"sources.insightly.max_calls is {self._max_calls} and {self._calls} calls are spent; what was read is "
                "kept. Run again to go on, or raise it"
            )
        if self._reserve > 0 and self._remaining is not None and self._remaining - self._in_flight <= self._reserve:
            raise BudgetExhausted(
                f"sources.insightly.quota_reserve is {self._reserve} and {self._remaining} calls of the day are left; "
                "what was read is kept. Run again tomorrow, or lower it"
            )
