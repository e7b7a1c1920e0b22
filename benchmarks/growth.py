"""Growth: from 10,000 to 1,000,000 records, and records of 100 kB each."""

from .measure import UNLIMITED, InsightlySync, Result, Run, server

SIZES = (10_000, 50_000, 100_000, 1_000_000)
MOST, MOST_WIDE, LINEAR = 450, 700, 1.1


def measure(sizes: tuple[int, ...] = SIZES, wide: int = 3_000) -> Result:
    result = Result(
        "Growth",
        "First syncs of contacts, whole processes, without limit and latency.",
        ["records", "seconds", "records per second", "peak MB"],
        unit="MB peak",
    )
    runs, heavy = {size: _sync(size) for size in sizes}, _sync(wide, "--wide")
    for size, run, each in [*((size, run, "1.6 kB") for size, run in runs.items()), (wide, heavy, "100 kB")]:
        label = f"{size:,} of {each}"
        result.rows.append([label, f"{run.seconds:.1f}", f"{size / run.seconds:,.0f}", f"{run.megabytes:.0f}"])
        result.bars.append((f"insightly, {label}", run.megabytes))
    most, largest = sizes[-1], runs[sizes[-1]]
    peak = max(run.megabytes for run in runs.values())
    result.target(f"peak at any size: {peak:.0f} MB, below {MOST}", peak < MOST)
    result.target(
        f"peak with records of 100 kB: {heavy.megabytes:.0f} MB, below {MOST_WIDE:,}", heavy.megabytes < MOST_WIDE
    )
    slower = (largest.seconds / most) / (runs[sizes[-2]].seconds / sizes[-2])
    result.target(
        f"time per record with {most:,} records: {slower:.2f} times that with {sizes[-2]:,}, at most {LINEAR}",
        slower <= LINEAR,
    )
    return result


def _sync(records: int, *options: str) -> Run:
    with server("--records", str(records), *options) as service:
        if not options:  # the reader decides how long pages of large records are
            service.warm(499)
        with InsightlySync(service.url, requests_per_second=UNLIMITED) as insightly:
            return insightly.sync("contacts")[0]
