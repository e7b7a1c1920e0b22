"""Tags by endpoint: one call per record, at the rate limit."""

from .limit import LATENCY, RATE
from .measure import InsightlySync, Result, server

MOST = 1.10


def measure(records: int = 5_000) -> Result:
    options = ("--records", str(records), "--rate", str(RATE), "--latency", str(LATENCY), "--without-tags")
    with server(*options) as service, InsightlySync(service.url, tags="endpoint") as insightly:
        run, report = insightly.sync("contacts")
        counts, last_load = service.take_counts(), insightly.last_load()
    limit = report["calls"] / RATE
    ratio = (last_load - counts["first"]) / limit
    result = Result(
        f"Tags by endpoint: {records:,} records, 10 requests per second, 200 ms latency",
        "A first sync of records that contain no tags.",
        ["calls", "minimum time, s", "first request to last row", "whole process", "refused"],
        [
            [
                f"{counts['calls']:,}",
                f"{limit:.1f}",
                f"{ratio:.2f}",
                f"{run.seconds / limit:.2f}",
                str(counts["refused"]),
            ]
        ],
    )
    result.target(f"{ratio:.2f} times the minimum time, at most {MOST:.2f}", ratio <= MOST)
    return result
