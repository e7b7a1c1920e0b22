-- How many deals were won and lost on each day, what were they worth, and after how many days were they won?
-- One row per closing date, pipeline, owner and currency; the owner is the responsible user. Each deal that was won or
-- lost is in exactly one row; without a closing date, that is the row without a day.
-- Optional: pipelines, users
with deals as (
    select
        actual_close_date as closed_on,
        pipeline_id,
        coalesce(responsible_user_id, owner_user_id) as owner_id,
        bid_currency as currency,
        opportunity_value,
        upper(opportunity_state) as deal_state,
        cast(date_created_utc at time zone 'UTC' as date) as created_on
    from current_opportunities
    where upper(opportunity_state) in ('WON', 'LOST')
),

closed as (
    select
        *,
        -- A deal that was entered after it closed says nothing about the days that deals take.
        case when deal_state = 'WON' and created_on <= closed_on then date_diff('day', created_on, closed_on) end
            as days_taken
    from deals
)

select
    d.closed_on,
    d.pipeline_id,
    p.pipeline_name,
    d.owner_id as owner_user_id,
    nullif(trim(coalesce(u.first_name, '') || ' ' || coalesce(u.last_name, '')), '') as owner_name,
    d.currency,
    count(case when d.deal_state = 'WON' then 1 end) as deals_won,
    count(case when d.deal_state = 'LOST' then 1 end) as deals_lost,
    sum(case when d.deal_state = 'WON' then d.opportunity_value end) as won_value,
    sum(case when d.deal_state = 'LOST' then d.opportunity_value end) as lost_value,
    sum(d.days_taken) as days_to_win,
    count(d.days_taken) as deals_with_days
from closed as d
left join pipelines as p on p.pipeline_id = d.pipeline_id
left join users as u on u.user_id = d.owner_id
group by d.closed_on, d.pipeline_id, p.pipeline_name, d.owner_id, u.first_name, u.last_name, d.currency
