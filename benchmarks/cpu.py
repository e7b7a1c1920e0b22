"""CPU-bound: 100,000 contacts with tags, links and custom fields, without rate limit or latency; whole processes."""

import sys
from datetime import UTC, datetime, timedelta

from .measure import UNLIMITED, InsightlySync, Result, Run, median, server
from .rivals import ENVIRONMENT, run
from .rivals.pyairbyte import environment, versions


def measure(records: int = 100_000, rounds: int = 3) -> Result:
    # Airbyte's best case: it reads the table once for each 30 days since the start date.
    lately = (datetime.now(UTC) - timedelta(days=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    airbyte = environment(ENVIRONMENT)
    runs: dict[str, list[Run]] = {}
    with server("--records", str(records)) as service:
        service.warm(499, 500)
        for _ in range(rounds):
            with InsightlySync(service.url, requests_per_second=UNLIMITED) as insightly:
                runs.setdefault("insightly", []).append(insightly.sync("contacts")[0])
            runs.setdefault("floor", []).append(run("floor", service.url))
            runs.setdefault("plain dlt", []).append(run("plain_dlt", service.url))
            if airbyte:
                runs.setdefault("PyAirbyte", []).append(run("pyairbyte", service.url, lately, "load", python=airbyte))
    middle = {name: median(found) for name, found in runs.items()}
    seconds = middle["insightly"].seconds
    result = Result(
        f"CPU-bound: {records:,} contacts, no limit, no latency",
        f"Whole processes, medians of {rounds} rounds, with the programs run in turn.",
        ["", "seconds", "processor seconds", "peak MB", "insightly = 1"],
        [
            [name, f"{each.seconds:.1f}", f"{each.cpu:.1f}", f"{each.megabytes:.0f}", f"{each.seconds / seconds:.2f}"]
            for name, each in sorted(middle.items(), key=lambda item: item[1].seconds)
        ],
        bars=[(name, each.seconds) for name, each in middle.items()],
        unit="s",
    )
    for rival, bound in (("plain dlt", 5.0), ("PyAirbyte", 4.0)):
        if rival in middle:
            ratio = middle[rival].seconds / seconds
            result.target(f"{ratio:.1f} times as fast as {rival}, at least {bound:g}", ratio >= bound)
    floor = middle["floor"].seconds / seconds
    result.target(f"{floor:.2f} of the floor's speed, at least 0.5", floor >= 0.5)
    if airbyte:
        result.notes.append(f"{versions(airbyte)}.")
    else:
        result.notes.append(f"PyAirbyte cannot be installed here (Python {sys.version.split()[0]}): not compared.")
    return result
