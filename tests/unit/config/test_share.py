"""The calls of a key divided between processes: all parts together are those of one process."""

from hypothesis import given
from hypothesis.strategies import integers, none

from pipelines.commands.each_account import share_limits
from sources.insightly.config.settings import InsightlySettings


@given(integers(1, 20), none() | integers(0, 100_000))
def test_share_limits_divides_rate_and_calls_evenly(parts: int, limit: int | None) -> None:
    shares = [InsightlySettings(max_calls=limit) for _ in range(parts)]
    for index, settings in enumerate(shares):
        share_limits(settings, parts, index, concurrent=True)
    assert abs(sum(settings.requests_per_second for settings in shares) - 10) < 1e-9
    calls = [settings.max_calls for settings in shares]
    if limit is None:
        assert set(calls) == {None}
    else:
        limits = [each for each in calls if each is not None]
        assert (len(limits), sum(limits)) == (parts, limit)
        assert max(limits) - min(limits) <= 1


def test_share_limits_in_sequence_keeps_the_full_rate() -> None:
    settings = InsightlySettings(max_calls=5)
    share_limits(settings, 2, 1, concurrent=False)
    assert (settings.requests_per_second, settings.max_calls) == (10, 2)
