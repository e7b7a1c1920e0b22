"""`make demo`: syncs the bundled sandbox over HTTP into demo.duckdb, then runs one query.

On the next run some records have changed, and only those are read.
"""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

from pipelines.sandbox import Sandbox, evolve

DATABASE = Path("demo.duckdb")
DAYS = Path(".demo/days")
QUERY = """\
select s.stage_name as stage, count(*) as deals, sum(o.opportunity_value)::decimal(18, 2) as value
from insightly.opportunities o join insightly.pipeline_stages s using (stage_id)
where o.opportunity_state = 'OPEN'
group by s.stage_name, s.stage_order order by s.stage_order"""


def main() -> int:
    """Runs the demo and returns the exit code of the sync."""
    console = Console()
    days = int(DAYS.read_text()) if DAYS.exists() and DATABASE.exists() else 0
    with Sandbox(seed=1) as sandbox:
        for day in range(1, days + 1):
            changes = evolve(sandbox.store, seed=day)
        if days:
            console.print("[bold]Changes in the CRM since the last run[/]")
            for change in changes:
                console.print(f"  {change}", highlight=False)
        console.print(f"[bold]insightly sync --database {DATABASE}[/]")
        settings = {
            "SOURCES__INSIGHTLY__BASE_URL": sandbox.url,
            "SOURCES__INSIGHTLY__API_KEY": sandbox.key,
            "DLT_DATA_DIR": str(Path(".demo/dlt").resolve()),
        }
        command = [sys.executable, "-m", "pipelines.cli", "sync", "--database", str(DATABASE)]
        code = subprocess.run(command, env={**os.environ, **settings}, check=False).returncode
    if code:
        return code
    DAYS.parent.mkdir(exist_ok=True)
    DAYS.write_text(str(days + 1))
    console.print(f"\n[bold]The open pipeline, from {DATABASE}[/]\n[dim]{QUERY}[/]")
    with duckdb.connect(str(DATABASE), read_only=True) as database:
        rows = database.sql(QUERY).fetchall()
    table = Table("stage", "deals", "value", box=None)
    for stage, deals, value in rows:
        table.add_row(stage, f"{deals:,}", f"{value:,.2f}")
    console.print(table)
    code_line = f"import duckdb; duckdb.connect('{DATABASE}').sql('show all tables').show()"
    console.print(f'\nTo see all tables: .venv/bin/python -c "{code_line}"', soft_wrap=True)
    console.print("Run make demo again: some records change, and only those are read.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
