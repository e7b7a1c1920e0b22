"""What the dashboard asks of the tables: queries over the marts, in their dialect."""

from calendar import monthrange
from datetime import date, timedelta

from pipelines.views.marts import Mart

SOON, IDLE, CLOSED, LISTED = 30, 30, 90, 8
"""Days in which a deal closes soon, without activity, and of the win rate; and the deals that a list names."""
MONTHS, AHEAD, WEEKS = 12, 3, 8
"""The months until this one, the months after it, and the weeks until this one that the charts show."""

MARTS = ("activity_by_owner_and_week", "open_deals", "overdue_tasks", "pipeline_by_stage_and_month", "sales_by_day")
"""The marts that the queries read."""

STAGES, MONTHLY, PERIODS, LISTS, OWNERS, OVERDUE, ACTIVITY = (
    "stages",
    "monthly",
    "periods",
    "lists",
    "owners",
    "overdue",
    "activity",
)
QUERIES = {
    STAGES: """
select
    pipeline_name,
    stage_name,
    stage_order,
    currency,
    count(*) as deals,
    sum(opportunity_value) as total_value,
    sum(weighted_value) as weighted_value,
    count(opportunity_value) - count(weighted_value) as unweighted
from open_deals
group by pipeline_id, pipeline_name, stage_id, stage_name, stage_order, currency
""",
    MONTHLY: """
select
    currency,
    deal_state,
    close_month,
    sum(deals) as deals,
    sum(total_value) as total_value,
    sum(weighted_value) as weighted_value
from pipeline_by_stage_and_month
where
    (deal_state = 'WON' and close_month between date '{first_month}' and date '{this_month}')
    or (deal_state = 'OPEN' and close_month between date '{this_month}' and date '{last_month}')
group by currency, deal_state, close_month
""",
    PERIODS: """
with sales as (
    select * from sales_by_day
),

days as (
    {periods}
)

select
    period,
    pipeline_name,
    currency,
    sum(deals_won) as won,
    sum(deals_lost) as lost,
    sum(won_value) as won_value,
    sum(days_to_win) as days_to_win,
    sum(deals_with_days) as deals_with_days
from days
group by period, pipeline_id, pipeline_name, currency
""",
    LISTS: """
with deals as (
    select * from open_deals
),

listed as (
    select *, 'closing' as list, days_left as urgency from deals where days_left between 0 and {soon}
    union all
    select *, 'late', days_left from deals where days_left < 0
    union all
    select *, 'idle', -days_without_activity
    from deals
    where days_without_activity >= {idle} and not activity_planned
),

numbered as (
    select
        *,
        row_number() over (partition by list order by urgency, opportunity_id) as nth,
        count(*) over (partition by list) as total
    from listed
)

select
    list,
    total,
    opportunity_id,
    opportunity_name,
    organisation_name,
    stage_name,
    owner_user_id,
    owner_name,
    currency,
    opportunity_value,
    forecast_close_date,
    days_left,
    last_activity_on,
    days_without_activity
from numbered
where nth <= {listed}
order by list, nth
""",
    OWNERS: """
with deals as (
    select
        owner_user_id, owner_name, currency, 1 as deals, opportunity_value as open_value, weighted_value,
        0 as won, null as won_value
    from open_deals
    union all
    select owner_user_id, owner_name, currency, 0, null, null, deals_won, won_value
    from sales_by_day
    where closed_on between date '{quarter[0]}' and date '{quarter[1]}' and deals_won > 0
)

select
    owner_user_id,
    owner_name,
    currency,
    sum(deals) as deals,
    sum(open_value) as open_value,
    sum(weighted_value) as weighted_value,
    sum(won) as won,
    sum(won_value) as won_value
from deals
group by owner_user_id, owner_name, currency
""",
    OVERDUE: """
select owner_user_id, owner_name, count(*) as tasks, max(days_overdue) as days_overdue
from overdue_tasks
group by owner_user_id, owner_name
""",
    ACTIVITY: """
select owner_user_id, owner_name, week_begins, tasks_completed, events, notes
from activity_by_owner_and_week
where week_begins between date '{first_week}' and date '{this_week}'
""",
}


def queries(today: date) -> list[Mart]:
    """The queries, for a day in UTC."""
    monday, bounds = today - timedelta(days=today.weekday()), periods(today)
    facts = {
        "soon": SOON,
        "idle": IDLE,
        "listed": LISTED,
        "first_month": month(today, 1 - MONTHS),
        "this_month": month(today),
        "last_month": month(today, AHEAD),
        "first_week": monday - timedelta(weeks=WEEKS - 1),
        "this_week": monday,
        "quarter": bounds["this quarter"],
        "periods": " union all ".join(
            f"select *, '{name}' as period from sales where closed_on between date '{first}' and date '{last}'"
            for name, (first, last) in bounds.items()
        ),
    }
    return [Mart.parse(name, sql.format(**facts)) for name, sql in QUERIES.items()]


def periods(today: date) -> dict[str, tuple[date, date]]:
    """The first and last days of the periods that are compared.

    A period `to date` ends on the same day of the month as today, or on the last day of its month.
    """
    this_quarter = month(today, -((today.month - 1) % 3))
    found = dict[str, tuple[date, date]]()
    for unit, first, months in (("month", month(today), 1), ("quarter", this_quarter, 3)):
        before, same = month(first, -months), month(today, -months)
        to_date = same.replace(day=min(today.day, monthrange(same.year, same.month)[1]))
        found[f"this {unit}"] = first, month(first, months) - timedelta(days=1)
        found[f"last {unit}"] = before, first - timedelta(days=1)
        found[f"last {unit} to date"] = before, to_date
    found["last days"] = today - timedelta(days=CLOSED - 1), today
    found["days before"] = today - timedelta(days=2 * CLOSED - 1), today - timedelta(days=CLOSED)
    return found


def month(day: date, ahead: int = 0) -> date:
    """The first day of a day's month, or of one that is `ahead` of it.

    >>> month(date(2026, 1, 31), -1)
    datetime.date(2025, 12, 1)
    """
    years, number = divmod(day.year * 12 + day.month - 1 + ahead, 12)
    return date(years, number + 1, 1)
