"""When a chunk ends."""

import pytest

from sources.insightly.api.quota import CallBudget
from sources.insightly.chunk import Chunk


@pytest.mark.parametrize(("left", "calls"), [(None, 50), (1_000, 50), (20_000, 199), (100_000, 991)])
def test_chunk_ends_after_a_hundredth_of_the_calls_left_today(left: int | None, calls: int) -> None:
    budget = CallBudget(None, 0)
    chunk = Chunk(budget, None, endless=False)
    for made in range(1, 2_000):
        budget.record(None if left is None else left - made, budget.take())
        chunk.add(1)
        if chunk.full:
            break
    assert made == calls
