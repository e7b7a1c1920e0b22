"""The checkpoint of a walk and the watermark it leaves: nothing is requested too late, and nothing moves back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.insightly.state.checkpoint import (
    Checkpoint,
    begin,
    checkpoint_of,
    end,
    finish_full,
    loaded_from,
    needs_confirmation,
    reread_from,
    rereads_everything,
    resume_full,
)
from sources.insightly.state.missing import MissingIds
from sources.insightly.state.request import ReadRequest
from sources.insightly.state.times import earlier, iso, parse
from sources.insightly.state.watermark import next_watermark

TIMES = st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1)).map(
    lambda time: time.replace(microsecond=0, tzinfo=UTC)
)
STAMPS = TIMES.map(iso)
BOUNDS = st.none() | STAMPS


def test_parse_reads_both_formats() -> None:
    time = datetime(2025, 4, 19, 0, 49, 32, tzinfo=UTC)
    assert parse("2025-04-19 00:49:32") == parse("2025-04-19T00:49:32Z") == parse("2025-04-19T02:49:32+02:00") == time
    assert parse("2025-04-19") == datetime(2025, 4, 19, tzinfo=UTC)
    assert iso(time.astimezone(timezone(timedelta(hours=-5)))) == "2025-04-19T00:49:32Z"


@given(TIMES)
def test_timestamp_round_trips(time: datetime) -> None:
    assert parse(iso(time)) == time


@given(STAMPS, st.integers(1, 86_400), BOUNDS)
def test_watermark_moves_back_only_from_the_future_by_a_full_walk(
    started: str, lookback: int, known: str | None
) -> None:
    own = iso(parse(started) - timedelta(seconds=lookback))
    reached = next_watermark(started, lookback, known, full=False)
    assert reached == max(filter(None, [own, known]))
    assert next_watermark(started, lookback, reached, full=False) == reached
    in_the_future = known is not None and known > started
    assert next_watermark(started, lookback, known, full=True) == (own if in_the_future else reached)


@given(STAMPS, STAMPS, BOUNDS)
def test_watermark_in_the_future_counts_as_none(watermark: str, latest: str, start_date: str | None) -> None:
    state: dict[str, Any] = {"start_date": start_date}
    checkpoint = begin(state, watermark, ReadRequest(start_date=start_date, latest=latest))
    assert rereads_everything(state, start_date) == (watermark > latest)
    assert checkpoint.since == (start_date if watermark > latest else watermark)
    # Later, when the clocks have reached it, the walk still goes on.
    checkpoint.store(state)
    assert begin(state, watermark, ReadRequest(start_date=start_date, latest="9999-12-31T00:00:00Z")) == checkpoint


@given(BOUNDS, BOUNDS)
def test_earlier_is_a_strict_order_with_everything_first(one: str | None, other: str | None) -> None:
    assert earlier(one, other) == (other is not None and (one is None or parse(one) < parse(other)))
    assert not (earlier(one, other) and earlier(other, one))


@given(BOUNDS, BOUNDS, st.integers(0, 10**6), st.integers(1, 10**9))
def test_checkpoint_resumes_only_its_own_list(since: str | None, known: str | None, skip: int, last_id: int) -> None:
    state: dict[str, Any] = {}
    checkpoint = Checkpoint(since, "2025-01-01T00:00:00Z", skip, last_id)
    checkpoint.store(state)
    assert checkpoint_of(state, since, None) == checkpoint
    assert checkpoint_of(state, known, None) == (checkpoint if known == since else Checkpoint(known, None, 0, None))


@given(BOUNDS, BOUNDS)
def test_first_walk_starts_at_start_date_later_ones_at_watermark(known: str | None, start_date: str | None) -> None:
    assert begin({}, known, ReadRequest(start_date)) == Checkpoint(known or start_date, None, 0, None)


@pytest.mark.parametrize("again", [ReadRequest(full=True), ReadRequest(), ReadRequest(since="2026-02-02T00:00:00Z")])
def test_full_read_resumes_first_and_starts_again_afterwards(again: ReadRequest) -> None:
    known = "2026-01-01T00:00:00Z"
    state: dict[str, Any] = {"start_date": None}
    begin(state, known, ReadRequest(full=True, run="one"))
    walking = Checkpoint(None, known, 7, 8)
    walking.store(state)
    assert begin(state, known, replace(again, run="two")) == walking
    two = ReadRequest(full=True, run="two")
    requests = resume_full(two, {"a": state, "b": {"full_done": "one"}, "c": {}}, "abc")
    assert [(name, request.full, request.rest, request.run) for name, request in requests.items()] == [
        ("a", True, False, "one"),
        ("b", False, True, "one"),
        ("c", True, False, "one"),
    ]
    end(state, walking, None, [5])
    assert needs_confirmation(state)
    assert resume_full(two, {"a": state}, "a")["a"].rest
    assert resume_full(ReadRequest(), {"a": state}, "a") == {}
    finish_full(state)
    assert not needs_confirmation(state)
    assert resume_full(two, {"a": state, "b": {"full_done": "one"}}, "ab") == {}
    assert begin(state, known, ReadRequest(full=True, run="three")) == Checkpoint(None, None, 0, None)


def test_earlier_since_replaces_the_checkpoint() -> None:
    state: dict[str, Any] = {"start_date": None}
    known, late, early = "2026-01-01T00:00:00Z", "2025-06-01T00:00:00Z", "2025-05-01T00:00:00Z"
    begin(state, known, ReadRequest(since=late))
    Checkpoint(late, known, 7, 8).store(state)
    assert begin(state, known, ReadRequest(since=late)).skip == 7
    assert begin(state, known, ReadRequest(since=early)) == Checkpoint(early, None, 0, None)
    assert begin(state, known, ReadRequest(full=True)) == Checkpoint(None, None, 0, None)


def test_later_start_date_changes_nothing() -> None:
    state: dict[str, Any] = {"start_date": None}
    later = "2025-06-01T00:00:00Z"
    assert loaded_from(state, later) is None
    assert begin(state, "2026-01-01T00:00:00Z", ReadRequest(later, full=True)) == Checkpoint(None, None, 0, None)


@given(st.sets(st.integers(1, 60)), st.sets(st.integers(1, 60)), st.sets(st.integers(1, 60)))
def test_missing_ids_of_a_walk_in_parts(loaded: set[int], listed: set[int], stops: set[int]) -> None:
    known, ids, last = sorted(loaded), list[int](), None
    for stop in [*sorted(stops), None]:
        part = MissingIds(known, last, ids)
        came = [id_ for id_ in sorted(listed) if id_ > (last or 0) and (stop is None or id_ <= stop)]
        part.meet(came, stop or 60)
        ids, last = part.up_to(stop), stop
    assert ids == sorted(loaded - listed)


def test_missing_ids_of_an_unsorted_list() -> None:
    part = MissingIds([1, 2, 3, 4], 2, [1])
    part.meet([4], None)
    part.meet([1], None)
    assert part.up_to(None) == [2, 3]


@given(STAMPS, BOUNDS, BOUNDS)
def test_request_stays_until_its_walk_ends(known: str, start_date: str | None, since: str | None) -> None:
    state: dict[str, Any] = {}
    reread_from(state, since)
    walking = Checkpoint(since, known, 7, 8)
    walking.store(state)
    assert begin(state, known, ReadRequest(start_date)) == walking
    end(state, walking, start_date)
    assert begin(state, known, ReadRequest(start_date)) == Checkpoint(known, None, 0, None)


@pytest.mark.parametrize(
    ("wanted", "since"),
    [
        (ReadRequest(), "2026-01-01T00:00:00Z"),
        (ReadRequest(full=True), None),
        (ReadRequest("2024-01-01T00:00:00Z", full=True), None),
        (ReadRequest(since="2025-05-05T00:00:00Z"), "2025-05-05T00:00:00Z"),
        (ReadRequest("2025-06-01T00:00:00Z"), "2026-01-01T00:00:00Z"),
    ],
)
def test_request_decides_where_a_walk_starts(wanted: ReadRequest, since: str | None) -> None:
    state: dict[str, Any] = {"start_date": None}
    assert begin(state, "2026-01-01T00:00:00Z", wanted) == Checkpoint(since, None, 0, None)


@pytest.mark.parametrize(
    ("loaded", "requested", "since"),
    [("2025-01-01T00:00:00Z", None, None), ("2025-01-01T00:00:00Z", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z")],
)
def test_earlier_start_date_starts_a_walk(loaded: str, requested: str | None, since: str | None) -> None:
    state: dict[str, Any] = {"start_date": loaded}
    assert begin(state, "2026-01-01T00:00:00Z", ReadRequest(requested)).since == since


def test_full_drops_the_checkpoint_of_an_unfinished_walk() -> None:
    state: dict[str, Any] = {"start_date": None}
    Checkpoint(None, "2026-01-01T00:00:00Z", 500, 12).store(state)
    assert begin(state, None, ReadRequest(full=True)) == Checkpoint(None, None, 0, None)
