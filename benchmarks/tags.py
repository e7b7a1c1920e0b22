"""`tags = endpoint` costs a call a record: 5,000 records at the rate limit."""

from .measure import Ours, Result, service, verdict

RECORDS, RATE, LATENCY = 5_000, 10, 0.2


def run() -> Result:
    options = ("--records", str(RECORDS), "--rate", str(RATE), "--latency", str(LATENCY), "--without-tags")
    with service(*options) as served, Ours(served.url, tags="endpoint") as ours:
        whole, report = ours.sync("contacts")
        counted = served.counted()
    limit, spent = report["calls"] / RATE, whole.ended - counted["first"]
    return Result(
        "Tags by endpoint: 5,000 records, 10 requests a second",
        ["calls", "their limit, s", "first request to end", "refused as a burst"],
        [[str(report["calls"]), f"{limit:.1f}", f"{spent / limit:.2f}", str(counted["refused"])]],
        [f"Target: 1.10 of the limit's time: {verdict(spent <= 1.10 * limit)}"],
    )
