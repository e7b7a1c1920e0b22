"""The two allowances of a key: calls in any one second, and calls a day (API.md, section 3)."""

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from pipelines.sandbox.switches import Switches

DAY = 86_400.0
_UNLIMITED = 100_000

Verdict = Literal["ok", "burst", "daily"]


class Limits:
    """Counts calls. Refused ones count against neither allowance.

    Args:
        monotonic: seconds from any origin, never going back.
        clock: the present moment, for a day that ends at midnight UTC.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._monotonic = monotonic
        self._clock = clock
        self._lock = threading.Lock()
        self._recent: deque[float] = deque()
        self._used = 0
        self._day: object = None

    def admit(self, switches: Switches) -> Verdict:
        """Counts one call, or tells which allowance refuses it; a used-up day is told first."""
        with self._lock:
            now = self._monotonic()
            self._turn_day(now, switches)
            if switches.quota is not None and self._used >= switches.quota:
                return "daily"
            while self._recent and now - self._recent[0] >= 1.0:
                self._recent.popleft()
            if switches.rate is not None and len(self._recent) >= switches.rate:
                return "burst"
            self._recent.append(now)
            self._used += 1
            return "ok"

    def headers(self, switches: Switches) -> dict[str, str]:
        """`X-RateLimit-Limit` and `X-RateLimit-Remaining` as they stand."""
        with self._lock:
            if switches.quota is None:
                left, allowance = max(1, _UNLIMITED - self._used), _UNLIMITED
            else:
                left, allowance = max(0, switches.quota - self._used), switches.quota
        return {"X-RateLimit-Limit": str(allowance), "X-RateLimit-Remaining": str(left)}

    def spend(self, calls: int) -> None:
        """Counts `calls` that somebody else has made today."""
        with self._lock:
            self._used += calls

    def reset(self) -> None:
        """Begins a new day with nothing used."""
        with self._lock:
            self._used = 0
            self._day = None
            self._recent.clear()

    def _turn_day(self, now: float, switches: Switches) -> None:
        if switches.daily_reset == "midnight":
            today = self._clock().astimezone(UTC).date()
            if self._day != today:
                self._used, self._day = (0 if self._day is not None else self._used), today
        elif not isinstance(self._day, float):
            self._day = now
        elif now - self._day >= DAY:
            self._used, self._day = 0, now
