"""From 10,000 to 1,000,000 records, and records of 100 kB: time grows with them, memory does not."""

from .measure import UNLIMITED, Ours, Result, Run, service, verdict

SIZES = (10_000, 50_000, 100_000, 1_000_000)
HEAVY = 4_000


def measure(records: int, kilobytes: float) -> Run:
    with (
        service("--records", str(records), "--kilobytes", str(kilobytes)) as served,
        Ours(served.url, requests_per_second=UNLIMITED) as ours,
    ):
        ours.sync("contacts", "--plan")  # the service has made its first page
        return ours.sync("contacts")[0]


def run() -> Result:
    runs = {size: measure(size, 1.6) for size in SIZES}
    heavy = measure(HEAVY, 100)
    rows = [
        [f"{size:,} of 1.6 kB", f"{run.seconds:.1f}", f"{size / run.seconds:,.0f}", f"{run.megabytes:.0f}"]
        for size, run in runs.items()
    ]
    rows.append(
        [f"{HEAVY:,} of 100 kB", f"{heavy.seconds:.1f}", f"{HEAVY / heavy.seconds:,.0f}", f"{heavy.megabytes:.0f}"]
    )
    flat = runs[1_000_000].megabytes / runs[50_000].megabytes
    return Result(
        "Growth",
        ["records", "seconds", "records a second", "peak MB"],
        rows,
        [
            f"Peak memory of 1,000,000 is {flat:.2f} of that of 50,000 (target 1.35, and below 700 MB): "
            + verdict(flat <= 1.35 and runs[1_000_000].megabytes < 700),
            f"With records of 100 kB (target below 1 GB): {verdict(heavy.megabytes < 1000)}",
            "The service is on the same machine and makes the records past the first 100,000 while it is asked.",
        ],
    )
