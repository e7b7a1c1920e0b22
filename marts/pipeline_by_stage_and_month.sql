-- How many deals are in each stage, what are they worth, and in which month do they close, or are expected to close?
-- One row per pipeline, stage, state, month and currency; each live deal is in exactly one row.
-- Optional: pipelines, pipeline_stages
with deals as (
    select
        pipeline_id,
        stage_id,
        upper(opportunity_state) as deal_state,
        bid_currency as currency,
        opportunity_value,
        probability,
        case
            when upper(opportunity_state) in ('WON', 'LOST', 'ABANDONED') then actual_close_date
            else forecast_close_date
        end as closes_on
    from current_opportunities
),

months as (
    select
        pipeline_id,
        stage_id,
        deal_state,
        currency,
        opportunity_value,
        case
            when probability between 0 and 100
                then cast(opportunity_value as decimal(28, 4)) * cast(probability as decimal(3, 0)) * 0.01
        end as weighted,
        cast(date_trunc('month', cast(closes_on as date)) as date) as close_month
    from deals
)

select
    m.pipeline_id,
    p.pipeline_name,
    m.stage_id,
    s.stage_name,
    s.stage_order,
    m.deal_state,
    m.close_month,
    m.currency,
    count(*) as deals,
    sum(m.opportunity_value) as total_value,
    sum(m.weighted) as weighted_value
from months as m
left join pipelines as p on p.pipeline_id = m.pipeline_id
left join pipeline_stages as s on s.stage_id = m.stage_id
group by
    m.pipeline_id,
    p.pipeline_name,
    m.stage_id,
    s.stage_name,
    s.stage_order,
    m.deal_state,
    m.close_month,
    m.currency
