"""The context of a run: how a request applies to an entity."""

from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sources.insightly.config.settings import InsightlySettings
from sources.insightly.context import SyncContext
from sources.insightly.entities import ENTITIES
from sources.insightly.state.request import ReadRequest
from sources.insightly.state.times import parse


@pytest.mark.parametrize("date", ["2026-11-28T10:00:00Z", "2050-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_request_survives_the_clock_of_any_service(date: str) -> None:
    context = SyncContext(InsightlySettings())
    skew = (parse(date) - datetime.now(UTC)).total_seconds()
    context.client = cast(Any, SimpleNamespace(clock_skew=skew))
    latest = context.request_for(ENTITIES["contacts"], ReadRequest()).latest
    assert latest is not None
    assert latest >= date or skew < 0


@pytest.mark.parametrize(("left", "calls"), [(None, 50), (1_000, 50), (20_000, 199), (100_000, 991)])
def test_chunk_ends_after_a_hundredth_of_the_calls_left_today(left: int | None, calls: int) -> None:
    context = SyncContext(InsightlySettings(), chunked=True)
    for made in range(1, 2_000):
        context.budget.record(None if left is None else left - made, context.budget.take())
        context.count_calls(1)
        if context.chunk_spent():
            break
    assert made == calls


class _Reader:
    def __init__(self, pages: int | None, rows: int = 0, total: int | None = None) -> None:
        self.pages_to_go, self.rows_to_go, self.total = pages, rows, total


def _calls_to_go(chosen: Sequence[str], readers: dict[tuple[str, ...], _Reader], **settings: Any) -> int | None:
    context = SyncContext(InsightlySettings(**settings))
    context.chosen, context.page_readers = chosen, cast(Any, readers)
    context.result("notes").state = "ok"
    context.tags_cost_calls.add("tasks")
    return context.calls_to_go()


CONTACTS, LEADS = ("contacts", "Contacts"), ("leads", "Leads")


@pytest.mark.parametrize(
    ("chosen", "readers", "calls"),
    [
        (["contacts", "leads", "notes"], {CONTACTS: _Reader(20), LEADS: _Reader(3)}, 23),
        (["contacts", "leads"], {CONTACTS: _Reader(20)}, None),
        (["contacts", "leads"], {CONTACTS: _Reader(20), LEADS: _Reader(None)}, None),
        (["contacts", "countries", "instance"], {CONTACTS: _Reader(20), ("countries", "Countries"): _Reader(None)}, 22),
        (["contacts", "custom_object_records"], {CONTACTS: _Reader(20)}, 20),
        (["tasks"], {("tasks", "Tasks"): _Reader(4, rows=1900)}, 1904),
        (["ticket_comments"], {}, None),
        (["ticket_comments"], {("ticket_comments", "Tickets"): _Reader(0, total=300)}, 300),
        (["notes"], {}, 0),
    ],
)
def test_calls_to_go_follow_from_the_totals(
    chosen: list[str], readers: dict[tuple[str, ...], _Reader], calls: int | None
) -> None:
    assert _calls_to_go(chosen, readers) == calls


def test_calls_to_go_are_at_most_those_that_may_be_made() -> None:
    assert _calls_to_go(["contacts"], {CONTACTS: _Reader(20)}, max_calls=7) == 7
