"""A part of a key's calls, for one of several processes that send with it."""

from sources.insightly.config.settings import InsightlySettings


def take_part(settings: InsightlySettings, parts: int, index: int, *, at_once: bool) -> None:
    """Lowers the budget of a run, and its rate, to an equal part; all parts together are what there was.

    Args:
        settings: of the run; `max_calls` and `requests_per_second` are changed.
        parts: how many share the key, at least 1.
        index: which of them this is, from 0.
        at_once: whether they run at the same time; one after the other, each may have the whole rate.
    """
    if at_once:
        settings.requests_per_second /= parts
    if settings.max_calls is not None:
        each, over = divmod(settings.max_calls, parts)
        settings.max_calls = each + (index < over)
