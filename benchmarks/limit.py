"""API-bound: 10 requests per second and 200 ms latency, as at the real service."""

from pipelines.sandbox import DEMO_KEY, Sandbox, Switches

from .measure import InsightlySync, Result, Run, server

RATE, LATENCY = 10, 0.2
FROM_FIRST, WHOLE, REFUSALS = 1.05, 1.10, 1


def measure(records: int = 100_000, scale: float = 15) -> Result:
    result = Result(
        "API-bound: 10 requests per second, 200 ms latency",
        "First syncs. The minimum time is calls / 10 s; the other times are multiples of it. The last row can be "
        "queried once its load package is committed.",
        ["", "calls", "minimum time, s", "first request to last row", "whole process", "refused", "peak MB"],
        unit="times the minimum time",
    )
    with server("--records", str(records), "--rate", str(RATE), "--latency", str(LATENCY)) as service:
        service.warm(499)
        with InsightlySync(service.url) as insightly:
            run, _ = insightly.sync("contacts")
            counts = service.take_counts()
            # The minimum time excludes the calls for overlapping pages and for definitions.
            _add(result, f"{records:,} contacts", -(-records // 500), counts, run, insightly.last_load())
    crm = Sandbox(scale=scale, switches=Switches(rate=RATE, latency=LATENCY))
    with crm, InsightlySync(crm.url, api_key=DEMO_KEY) as insightly:
        run, report = insightly.sync("core")
        rows = sum(entity["rows"] for entity in report["entities"].values())
        times, refused = [call.time for call in crm.log], sum(call.status == 429 for call in crm.log)
        counts = {"calls": len(times), "first": min(times), "refused": refused}
        _add(result, f"17 entities, {rows:,} records", report["calls"], counts, run, insightly.last_load())
    return result


def _add(result: Result, label: str, needed: int, counts: dict[str, float], run: Run, last_load: float) -> None:
    limit = needed / RATE
    from_first, process = (last_load - counts["first"]) / limit, run.seconds / limit
    refused = int(counts["refused"])
    result.rows.append(
        [
            label,
            str(counts["calls"]),
            f"{limit:.1f}",
            f"{from_first:.2f}",
            f"{process:.2f}",
            str(refused),
            f"{run.megabytes:.0f}",
        ]
    )
    result.target(
        f"{label}: {from_first:.2f} times the minimum time, at most {FROM_FIRST:.2f}", from_first <= FROM_FIRST
    )
    result.target(f"{label}, whole process: {process:.2f}, at most {WHOLE:.2f}", process <= WHOLE)
    result.target(f"{label}: {refused} refused, at most {REFUSALS}", refused <= REFUSALS)
    result.bars += [(f"{label}, first to last", from_first), (f"{label}, whole", process)]
