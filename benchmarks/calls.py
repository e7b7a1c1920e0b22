"""What a sync of 10,000 contacts costs of the day's calls, first and unchanged, next to Airbyte's source."""

import tempfile
from pathlib import Path

from .cpu_bound import AIRBYTE, RIVALS
from .measure import UNLIMITED, Ours, Result, service, timed, verdict
from .rivals.pyairbyte import environment

RECORDS, START = 10_000, "2021-01-01T00:00:00Z"


def ours(url: str) -> tuple[int, int]:
    """Calls of a first and of an unchanged run."""
    with Ours(url, requests_per_second=UNLIMITED) as crm:
        first, again = (crm.sync("contacts")[1]["calls"] for _ in range(2))
    return first, again


def run() -> Result:
    with service("--records", str(RECORDS)) as served:
        first, again = ours(served.url)
    rows = [["insightly-sync", str(first), str(again)]]
    notes = [f"Targets 21 + 2 and 1: {verdict(first <= 23 and again <= 1)}"]
    airbyte = environment(AIRBYTE)
    if airbyte is None:
        notes.append("PyAirbyte could not be installed here, so it is not compared.")
    else:
        with service("--records", str(RECORDS)) as served, tempfile.TemporaryDirectory() as folder:
            command = [airbyte, RIVALS / "pyairbyte.py", served.url, Path(folder) / "rival.duckdb", START]
            counts = []
            for _ in range(2):
                before = served.counted()["calls"]
                timed(command, {"AIRBYTE_OFFLINE_MODE": "1"})
                counts.append(str(served.counted()["calls"] - before))
        rows.append(["PyAirbyte, from 2021 on", *counts])
        notes.append("Airbyte's source reads the whole table once for each 30 days since its start date, here 2021.")
    return Result("Calls: 10,000 contacts", ["", "first sync", "unchanged"], rows, notes)
