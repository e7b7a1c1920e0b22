"""The known ids that were met: against sets."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from sources.insightly.state.known_ids import KnownIds

IDS = st.integers(-5, 40)


@given(known=st.sets(IDS), met=st.lists(st.one_of(IDS, st.none(), st.text(max_size=2))), bounds=st.tuples(IDS, IDS))
def test_missing_ids_are_the_known_ones_that_were_not_met(
    known: set[int], met: list[int | str | None], bounds: tuple[int, int]
) -> None:
    stored = array("q", sorted(known))
    ids = KnownIds(stored)
    ids.meet(met)
    assert list(ids.missing()) == sorted(known.difference(met))
    start, end = (max(bound, 0) for bound in bounds)
    assert list(ids.missing(start, end)) == [id_ for id_ in stored[start:end] if id_ not in met]
    assert all((id_ in ids) == (id_ in known) for id_ in (*range(-6, 42), 2**70, "1", None))
