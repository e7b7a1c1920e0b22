"""How many calls the rest of a run takes."""

from collections.abc import Sequence
from typing import Any, cast

import pytest

from sources.insightly.config.settings import InsightlySettings
from sources.insightly.context import SyncContext
from sources.insightly.resources.calls_to_go import calls_to_go


class _Reader:
    def __init__(self, pages: int | None, rows: int = 0, total: int | None = None) -> None:
        self.pages_to_go, self.rows_to_go, self.total = pages, rows, total


def _calls_to_go(chosen: Sequence[str], readers: dict[tuple[str, ...], _Reader], **settings: Any) -> int | None:
    context = SyncContext(InsightlySettings(**settings))
    context.chosen, context.page_readers = chosen, cast(Any, readers)
    context.result("notes").state = "ok"
    context.result("tasks").tags_cost_calls = True
    return calls_to_go(context)


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
