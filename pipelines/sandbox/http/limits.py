"""The two limits of a key: requests in any one second, and requests a day (api.md, section 3)."""

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
    """Counts requests; refused ones count against neither limit. `used` is the number of today's requests.

    `monotonic` returns seconds that never go back, and `clock` the current time, for a day that ends at midnight UTC.
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
        self.used = 0
        self._day: object = None

    def admit(self, switches: Switches) -> Verdict:
        """Counts one request, or returns the limit that refuses it; the daily one comes first."""
        with self._lock:
            now = self._monotonic()
            self._renew_day(now, switches)
            if switches.quota is not None and self.used >= switches.quota:
                return "daily"
            while self._recent and now - self._recent[0] >= 1.0:
                self._recent.popleft()
            if switches.rate is not None and len(self._recent) >= switches.rate:
                return "burst"
            self._recent.append(now)
            self.used += 1
            return "ok"

    def headers(self, switches: Switches) -> dict[str, str]:
        """The current `X-RateLimit-Limit` and `X-RateLimit-Remaining`."""
        with self._lock:
            limit = _UNLIMITED if switches.quota is None else switches.quota
            remaining = max(switches.quota is None, limit - self.used)
        return {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(int(remaining))}

    def reset(self, used: int = 0) -> None:
        """Starts a new day with this number of requests counted."""
        with self._lock:
            self.used = used
            self._day = None
            self._recent.clear()

    def _renew_day(self, now: float, switches: Switches) -> None:
        if switches.daily_reset == "midnight":
            today = self._clock().astimezone(UTC).date()
            if self._day != today:
                self.used, self._day = (0 if self._day is not None else self.used), today
        elif not isinstance(self._day, float):
            self._day = now
        elif now - self._day >= DAY:
            self.used, self._day = 0, now
