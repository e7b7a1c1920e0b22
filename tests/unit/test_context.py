"""The context of a run: how a request applies to an entity."""

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
