"""Tags by endpoint: a call a record, at the rate limit."""

from .limit import LATENCY, RATE
from .measure import Ours, Result, server

MOST = 1.10


def measure(records: int = 5_000) -> Result:
    options = ("--records", str(records), "--rate", str(RATE), "--latency", str(LATENCY), "--without-tags")
    with server(*options) as served, Ours(served.url, tags="endpoint") as ours:
        whole, report = ours.sync("contacts")
        counted, loaded = served.counted(), ours.loaded()
    limit = report["calls"] / RATE
    ratio = (loaded - counted["first"]) / limit
    result = Result(
        f"Tags by endpoint: {records:,} records, 10 requests per second, 200 ms latency",
        "A first sync of records that contain no tags.",
        ["calls", "minimum time, s", "first request to last row", "whole process", "refused"],
        [
            [
                f"{counted['calls']:,}",
                f"{limit:.1f}",
                f"{ratio:.2f}",
                f"{whole.seconds / limit:.2f}",
                str(counted["refused"]),
            ]
        ],
    )
    result.target(f"{ratio:.2f} times the minimum time, at most {MOST:.2f}", ratio <= MOST)
    return result
