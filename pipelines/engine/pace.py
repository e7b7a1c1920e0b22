"""How fast a run is, and how long the rest of it takes. Pure: the caller has the clock."""

HALF_LIFE = 30.0
"""Seconds after which what was done counts half: long enough for the pauses in which chunks are loaded."""
ENOUGH_SECONDS = 10.0
"""Below this, what was done says little."""
SMOOTHING = 15.0
"""Seconds after which an estimate of the end counts half."""


class Pace:
    """Something done per second, mostly of the last minute."""

    def __init__(self) -> None:
        self._at: float | None = None
        self._total, self._amount, self._seconds = 0.0, 0.0, 0.0

    def update(self, now: float, total: float) -> None:
        """Records how much is done at a time; the first call begins. After a total that falls, it counts from there."""
        if self._at is not None:
            seconds, amount = now - self._at, max(total - self._total, 0.0)
            keep = 0.5 ** (seconds / HALF_LIFE)
            self._amount, self._seconds = self._amount * keep + amount, self._seconds * keep + seconds
        self._at, self._total = now, total

    @property
    def rate(self) -> float | None:
        """What is done per second; None as long as it is not known."""
        return self._amount / self._seconds if self._seconds >= ENOUGH_SECONDS else None


class TimeLeft:
    """When the run ends, by its pace; an estimate moves towards a new one little by little."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._at = 0.0
        self._end: float | None = None

    def update(self, now: float, done: float, left: float | None) -> float | None:
        """Seconds to the end, never below 0.

        Args:
            now: seconds of a clock.
            done: how much is done.
            left: how much is left, None if that is not known.

        Returns:
            None as long as the pace or what is left is not known.
        """
        self._pace.update(now, done)
        if left is None or not self._pace.rate:
            return None
        end = now + left / self._pace.rate
        self._end = end if self._end is None else end + (self._end - end) * 0.5 ** ((now - self._at) / SMOOTHING)
        self._at = now
        return max(self._end - now, 0.0)
