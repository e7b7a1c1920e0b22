"""Dashboard: building the page over many deals and tasks, which are written straight into DuckDB."""

import statistics
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import duckdb

from pipelines.dashboard.build import build_page
from pipelines.destinations.target import Target
from pipelines.sandbox import DEMO_KEY

from .measure import UNLIMITED, InsightlySync, Result, sandbox

BUILD = 1.0
CURRENCIES = ("EUR", "USD", "GBP", "CHF")

DEALS = """
insert into insightly.opportunities by name
with places as (
    select stage_id, pipeline_id, row_number() over (order by stage_id) - 1 as nth, count(*) over () as n
    from insightly.pipeline_stages
    where pipeline_id in (select pipeline_id from insightly.pipelines where for_opportunities)
),
people as (select user_id, row_number() over (order by user_id) - 1 as nth, count(*) over () as n from insightly.users)
select
    900000000 + i as opportunity_id,
    'Deal ' || i as opportunity_name,
    ['OPEN', 'OPEN', 'WON', 'WON', 'WON', 'WON', 'LOST', 'LOST', 'LOST', 'ABANDONED'][1 + i % 10] as opportunity_state,
    $currencies[1 + (i // 10) % len($currencies)] as bid_currency,
    (i * 7919) % 90000 + 0.37 as opportunity_value,
    case when i % 7 <> 0 then (i * 31) % 101 end as probability,
    current_date - cast((i * 13) % 1000 as int) as actual_close_date,
    current_date + cast((i * 17) % 150 as int) - 30 as forecast_close_date,
    now() - interval 1 day * (1000 + (i * 13) % 300) as date_created_utc,
    now() as date_updated_utc,
    case when i % 3 <> 0 then now() - interval 1 day * ((i * 11) % 200) end as last_activity_date_utc,
    p.pipeline_id,
    p.stage_id,
    u.user_id as owner_user_id,
    case when i % 50 = 0 then now() end as _deleted_at
from range($records) t(i)
join places p on p.nth = (i // 40) % p.n
join people u on u.nth = (i // 3) % u.n
"""
TASKS = """
insert into insightly.tasks by name
with people as (select user_id, row_number() over (order by user_id) - 1 as nth, count(*) over () as n
    from insightly.users)
select
    900000000 + i as task_id,
    'Task ' || i as title,
    i % 4 <> 0 as completed,
    case when i % 4 <> 0 then now() - interval 1 hour * (i % 9000) end as completed_date_utc,
    current_date + cast((i * 17) % 150 as int) - 100 as due_date,
    now() as date_created_utc,
    now() as date_updated_utc,
    u.user_id as owner_user_id,
    case when i % 50 = 0 then now() end as _deleted_at
from range($records) t(i)
join people u on u.nth = i % u.n
"""


def fill(database: Path, records: int, currencies: Sequence[str] = CURRENCIES) -> None:
    """Adds deals and tasks to the tables of a synced account, `records` of each."""
    with duckdb.connect(str(database)) as crm:
        crm.execute(DEALS, {"records": records, "currencies": list(currencies)})
        crm.execute(TASKS, {"records": records})


def measure(records: int = 100_000, rounds: int = 5) -> Result:
    with (
        sandbox("--rate", "0", "--quota", "0") as url,
        InsightlySync(url, requests_per_second=UNLIMITED, api_key=DEMO_KEY) as insightly,
    ):
        insightly.sync()
        target = Target(database=str(insightly.file))
        few = _build(target, rounds)
        fill(insightly.file, records)
        many = _build(target, rounds)
    result = Result(
        f"Dashboard: {records:,} deals and {records:,} tasks",
        f"Medians of {rounds} loads of the page in one process: of the bundled sandbox with all its tables, and with "
        "these records added. The target is of processor seconds, which depend less on what else the machine does.",
        ["", "processor seconds", "seconds"],
        [
            ["sandbox", f"{few[1]:.2f}", f"{few[0]:.2f}"],
            [f"with {records:,} deals and tasks", f"{many[1]:.2f}", f"{many[0]:.2f}"],
        ],
    )
    result.target(
        f"page of {records:,} deals and tasks: {many[1]:.2f} s of processor time, below {BUILD:g}", many[1] < BUILD
    )
    return result


def _build(target: Target, rounds: int) -> tuple[float, float]:
    """The median seconds and processor seconds of a load of the page, after a first one."""
    build_page(target, timedelta(days=1)).html()
    seconds, processor = list[float](), list[float]()
    for _ in range(rounds):
        started, cpu = time.perf_counter(), time.process_time()
        build_page(target, timedelta(days=1)).html()
        seconds.append(time.perf_counter() - started)
        processor.append(time.process_time() - cpu)
    return statistics.median(seconds), statistics.median(processor)
