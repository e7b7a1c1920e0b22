-- How many deals moved from each stage to each next stage, were won or lost, and after how many days?
-- One row per pipeline, stage, outcome and next stage; each stay of `stage_stays` is in exactly one row.
with counted as (
    select
        pipeline_id,
        pipeline_name,
        stage_id,
        stage_name,
        stage_order,
        outcome,
        next_stage_id,
        next_stage_name,
        next_stage_order,
        count(*) as stays,
        count(distinct opportunity_id) as deals,
        sum(case when entry_seen then days end) as days_seen,
        count(case when entry_seen then 1 end) as stays_seen
    from stage_stays
    group by
        pipeline_id,
        pipeline_name,
        stage_id,
        stage_name,
        stage_order,
        outcome,
        next_stage_id,
        next_stage_name,
        next_stage_order
),

compared as (
    select
        *,
        sum(case when outcome <> 'still there' then stays else 0 end)
            over (partition by pipeline_id, stage_id) as stays_ended
    from counted
)

select
    pipeline_id,
    pipeline_name,
    stage_id,
    stage_name,
    stage_order,
    outcome,
    next_stage_id,
    next_stage_name,
    next_stage_order,
    stays,
    deals,
    case
        when outcome <> 'still there' then cast(stays / nullif(stays_ended, 0) as decimal(9, 4))
    end as share_of_ended,
    cast(days_seen / nullif(stays_seen, 0) as decimal(18, 2)) as average_days
from compared
