"""A key's calls dealt out: all parts together are what one process would have had."""

from hypothesis import given
from hypothesis.strategies import integers, none

from pipelines.commands.each_account import share_limits
from sources.insightly.config.settings import InsightlySettings


@given(integers(1, 20), none() | integers(0, 100_000))
def test_parts_are_equal_and_together_the_whole(parts: int, most: int | None) -> None:
    dealt = [InsightlySettings(max_calls=most) for _ in range(parts)]
    for index, settings in enumerate(dealt):
        share_limits(settings, parts, index, concurrent=True)
    assert abs(sum(settings.requests_per_second for settings in dealt) - 10) < 1e-9
    calls = [settings.max_calls for settings in dealt]
    if most is None:
        assert set(calls) == {None}
    else:
        counted = [each for each in calls if each is not None]
        assert (len(counted), sum(counted)) == (parts, most)
        assert max(counted) - min(counted) <= 1


def test_one_after_the_other_has_the_whole_rate() -> None:
    settings = InsightlySettings(max_calls=5)
    share_limits(settings, 2, 1, concurrent=False)
    assert (settings.requests_per_second, settings.max_calls) == (10, 2)
