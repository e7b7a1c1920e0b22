"""Calls: how many calls 10,000 contacts take, in a first and in an unchanged sync, compared with Airbyte's source."""

import tempfile
from pathlib import Path

from .measure import UNLIMITED, InsightlySync, Result, Service, server
from .rivals import ENVIRONMENT, run
from .rivals.pyairbyte import environment, versions

SINCE = "2021-01-01"
FIRST, AGAIN = 23, 1
"""First: 21 pages, the definitions of custom fields, and the account. Unchanged: one empty page."""


def insightly_calls(service: Service) -> list[int]:
    """Calls of a first and of an unchanged sync."""
    counts = []
    with InsightlySync(service.url, requests_per_second=UNLIMITED) as crm:
        for _ in range(2):
            crm.sync("contacts")
            counts.append(service.take_counts()["calls"])
    return counts


def airbyte_calls(service: Service, airbyte: Path) -> list[int]:
    """Calls of a first and of an unchanged run of Airbyte's source."""
    counts = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            state = Path(folder) / "state.json"
            run("pyairbyte", service.url, f"{SINCE}T00:00:00Z", "read", python=airbyte, file=state)
            counts.append(service.take_counts()["calls"])
    return counts


def measure(records: int = 10_000) -> Result:
    result = Result(
        f"Calls: {records:,} contacts",
        "The server counts the calls.",
        ["", "first sync", "unchanged sync"],
        unit="calls",
    )
    with server("--records", str(records)) as service:
        counts = {"insightly": insightly_calls(service)}
        if airbyte := environment(ENVIRONMENT):
            counts["Airbyte's source"] = airbyte_calls(service, airbyte)
            result.notes.append(
                f"{versions(airbyte)}, start date {SINCE}. Its filter uses a key that its cursor does not have, so the "
                "filter is never sent. A first run reads the whole table once for each 30 days since its start date; "
                "the next run reads it once for each 30 days since the newest record it saw, here of December 2024."
            )
        else:
            result.notes.append("Airbyte's source cannot be installed here: not compared.")
    for name, (first, again) in counts.items():
        result.rows.append([name, f"{first:,}", f"{again:,}"])
        result.bars += [(f"{name}, first", first), (f"{name}, unchanged", again)]
    first, again = counts["insightly"]
    result.target(f"first sync: {first} calls, at most {FIRST}", first <= FIRST)
    result.target(f"unchanged sync: {again}, at most {AGAIN}", again <= AGAIN)
    return result
