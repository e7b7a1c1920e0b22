"""`make demo`: syncs the sandbox over HTTP into demo.duckdb, answers a question, and shows dashboard and status.

On the next run some records have changed, and the sync reads these, and the lists that the API cannot filter by date.
"""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

from pipelines.sandbox import Sandbox, evolve
from sources.insightly.entities import ENTITIES

DATABASE, PAGE = Path("demo.duckdb"), Path("demo.html")
DAYS = Path(".demo/days")
STATUS = ("contacts", "emails", "leads", "notes", "opportunities", "tasks")
QUERY = """\
select pipeline_name as pipeline, stage_name as stage, currency,
    sum(deals)::bigint as deals, sum(total_value)::decimal(18, 2) as value
from insightly_marts.pipeline_by_stage_and_month
where deal_state = 'OPEN'
group by pipeline_name, stage_name, stage_order, currency
order by pipeline_name, stage_order, currency"""
READ = """\
select entity, rows, inserted_or_updated from insightly._sync_runs
where command = 'sync' and run_id = (select max_by(run_id, started) from insightly._sync_runs where command = 'sync')
order by rows desc"""


def main() -> int:
    """Runs the demo and returns the exit code of the first command that fails."""
    console = Console(emoji=False)
    days = int(DAYS.read_text()) if DAYS.exists() and DATABASE.exists() else 0
    with Sandbox(seed=1) as sandbox:
        _say(console, f"A sandbox of Insightly runs at {sandbox.url}, with a CRM of 1,000 made-up contacts")
        for day in range(1, days + 1):
            changes = evolve(sandbox.store, seed=day)
        if days:
            _say(console, "Changes in the CRM since the last run (insightly sweep would find the deleted note)")
            for change in changes:
                console.print(f"  {change}", highlight=False)
        settings = sandbox.settings | {"DLT_DATA_DIR": str(Path(".demo/dlt").resolve())}
        if code := _run(console, "sync", settings):
            return code
    DAYS.parent.mkdir(exist_ok=True)
    DAYS.write_text(str(days + 1))
    if days:
        console.print(_what_was_read(), soft_wrap=True, highlight=False)
    if code := _run(console, "marts", settings, quiet=True):
        return code
    _say(console, "The open pipeline, from a view that insightly marts has created")
    console.print(QUERY, style="dim", highlight=False, soft_wrap=True)
    console.print(_answer())
    for arguments in (f"dashboard --export {PAGE}", f"status {' '.join(STATUS)} --max-age 1h"):
        if code := _run(console, arguments, settings):
            return code
    code_line = f"import duckdb; duckdb.connect('{DATABASE}').sql('show all tables').show()"
    console.print(f"\nOpen {PAGE} in a browser. To see all tables:", highlight=False)
    console.print(f'  .venv/bin/python -c "{code_line}"', soft_wrap=True, highlight=False)
    console.print("Run make demo again: some records of the CRM change, and the next sync reads them.", soft_wrap=True)
    return 0


def _say(console: Console, text: str) -> None:
    console.print(f"\n[bold]{text}[/]", highlight=False, soft_wrap=True)


def _run(console: Console, arguments: str, settings: dict[str, str], quiet: bool = False) -> int:
    """Runs `insightly` and returns its exit code. `quiet` leaves out its output, if it succeeds."""
    _say(console, f"$ insightly {arguments} --database {DATABASE}")
    command = [sys.executable, "-m", "pipelines.cli", *arguments.split(), "--database", str(DATABASE)]
    output = subprocess.PIPE if quiet else None
    ran = subprocess.run(command, env={**os.environ, **settings}, stdout=output, text=True, check=False)
    if quiet:
        lines = ran.stdout.strip().splitlines()
        console.print("\n".join(lines if ran.returncode else lines[-1:]), highlight=False, markup=False)
    return ran.returncode


def _answer() -> Table:
    """The answer to the question, one row per pipeline, stage and currency: sums over currencies mean nothing."""
    with duckdb.connect(str(DATABASE), read_only=True) as database:
        rows = database.sql(QUERY).fetchall()
    table = Table("pipeline", "stage", "currency", box=None)
    table.add_column("deals", justify="right")
    table.add_column("value", justify="right")
    for pipeline, stage, currency, deals, value in rows:
        figures = f"{deals:,}", "" if value is None else f"{value:,.2f}"
        table.add_row(pipeline or "none", stage or "none", currency or "none", *figures)
    return table


def _what_was_read() -> str:
    """What the last sync read: changed records, and lists that the API cannot filter by date."""
    with duckdb.connect(str(DATABASE), read_only=True) as database:
        rows = [row for row in database.sql(READ).fetchall() if row[1]]
    full = [row for row in rows if row[0] in ENTITIES and ENTITIES[row[0]].read != "incremental"]
    unfiltered = sum(count for _, count, _ in full)
    changed, written = sum(count for _, count, _ in rows) - unfiltered, sum(merged for *_, merged in rows)
    names = ", ".join(f"{name} {count:,}" for name, count, _ in full[:3])
    return (
        f"Of the lists that Insightly filters by date, this sync read the {changed:,} records that have changed. "
        f"It read {unfiltered:,} rows of lists that have no such filter ({names}, …). "
        f"In all it wrote {written:,} rows. "
        "Of a long list without this filter, it writes only the blocks of about 250 rows that have a change."
    )


if __name__ == "__main__":
    sys.exit(main())
