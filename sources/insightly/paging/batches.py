"""Joins the steps of a walk into batches that are written together. Pure logic."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from ..errors import InsightlyError
from .digests import ends_block
from .walk import Key, Step, identify


def batches(
    steps: Iterable[Step],
    is_enough: Callable[[Step], bool],
    block_key: Key | None = None,
    is_urgent: Callable[[], bool] = lambda: False,
) -> Iterator[Step]:
    """Joins steps until they are enough. What was read before an error is yielded before the error is raised.

    Args:
        steps: the steps of a walk.
        is_enough: whether to yield what is joined.
        block_key: what identifies a record, to yield whole blocks (see `digests`). The last batch, one in no order, one
            before an error, and an urgent one end anywhere.
        is_urgent: whether to yield everything that was read, so that a run with few calls makes progress.
    """
    joined: Step | None = None
    try:
        for step in steps:
            joined = step if joined is None else _join(joined, step)
            batch, rest = joined, None
            if block_key is not None and step.skip is not None and step.at is not None and not is_urgent():
                ends = (end for end in range(len(step.rows), 0, -1) if ends_block(step.rows[end - 1], block_key))
                end = next(ends, 0)
                if not end:
                    continue
                if rows := step.rows[end:]:
                    last_id = identify(step.rows[end - 1], block_key)
                    batch = replace(joined, rows=joined.rows[: -len(rows)], skip=step.at, last_id=last_id)
                    rest = replace(step, rows=rows, size=0)
            if is_enough(batch):
                joined = rest
                yield batch
    except InsightlyError:
        if joined is not None:
            yield joined
        raise
    if joined is not None:
        yield joined


def _join(one: Step, other: Step) -> Step:
    at = None if other.at is None else one.at
    return replace(other, rows=one.rows + other.rows, at=at, size=one.size + other.size, requested_at=one.requested_at)
