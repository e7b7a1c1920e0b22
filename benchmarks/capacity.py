"""What one key, one plan and one machine can load: the tables of `docs/operate/scale.md`, from saved results.

python -m benchmarks.capacity
"""

import json
from math import ceil

from pipelines.commands.plan import pages_of
from sources.insightly.paging.probe import grid

from .measure import ROOT, Result
from .render import table

PLANS = {"Free": 1_000, "legacy": 20_000, "Plus": 40_000, "Professional": 60_000, "Enterprise": 100_000}
"""Calls a day of each of Insightly's plans."""
RATE, PAGE = 10, 500
SIZES = (10_000, 100_000, 1_000_000, 10_000_000, 50_000_000)
CHANGED, RUNS = 0.01, 24
"""The share of records that change in a day, and the number of syncs that read them."""

KINDS = {"JSON, compressed": "sent", "DuckDB": "DuckDB", "Postgres": "Postgres", "Delta tables": "Delta tables"}


def tables() -> str:
    """Three tables in Markdown: a first sync, its days on each plan, and the days that follow."""
    plans = [f"{name}, {calls:,}" for name, calls in PLANS.items()]
    syncs = f"{RUNS} syncs"
    return "\n\n".join(
        [
            table(["records", "calls", "time", *KINDS.values()], map(_first, SIZES)),
            table(["records", *plans], map(_days, SIZES)),
            table(["records", "changed", syncs, "sent", "thorough sweep", *plans], map(_daily, SIZES)),
        ]
    )


def _first(records: int) -> list[str]:
    return [f"{records:,}", f"{_calls(records):,}", _time(_calls(records)), *(_size(records, kind) for kind in KINDS)]


def _days(records: int) -> list[str]:
    return [f"{records:,}", *(f"{ceil(_calls(records) / calls):,}" for calls in PLANS.values())]


def _daily(records: int) -> list[str]:
    """Syncs read what changed since the last one, and the definitions; a thorough sweep reads every id."""
    changed = int(records * CHANGED)
    syncs, sweep = RUNS * (pages_of(ceil(changed / RUNS), PAGE) + 1), len(grid(records, PAGE))
    shares = [f"{_digits(100 * syncs / calls)} %" for calls in PLANS.values()]
    cells = [f"{syncs:,} calls", _size(changed, "JSON, compressed"), f"{sweep:,} calls, {_time(sweep)}"]
    return [f"{records:,}", f"{changed:,}", *cells, *shares]


def _calls(records: int) -> int:
    """The calls of a first sync: pages that overlap by a row, the definitions of custom fields, and the account."""
    return pages_of(records, PAGE) + 2


def _time(calls: int) -> str:
    """The time of that many calls: at the rate limit, times the measured ratio."""
    (ratio,) = (float(value) for name, value in _result("limit").bars if str(name).endswith("contacts, whole"))
    seconds = calls / RATE * ratio
    return next(
        f"{_digits(seconds / each)} {unit}" for unit, each in (("h", 3600), ("min", 60), ("s", 1)) if seconds >= each
    )


def _size(records: int, kind: str) -> str:
    size = records * float(dict(_result("size").bars)[kind])
    return next(
        f"{_digits(size / each)} {unit}" for unit, each in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)) if size >= each
    )


def _digits(value: float) -> str:
    """Two significant digits."""
    return f"{value:,.0f}" if value >= 10 else f"{float(f'{value:.2g}'):g}"


def _result(name: str) -> Result:
    return Result(**json.loads((ROOT / f"benchmarks/results/{name}.json").read_text(encoding="utf-8")))


if __name__ == "__main__":
    print(tables())
