-- Through which stages did each deal go, how long did it stay in each, and how did each stay end?
-- One row per deal and stay in a stage: an unbroken time in the stage while the deal was open, as the syncs saw it.
-- Optional: pipelines, pipeline_stages
with versions as (
    select
        opportunity_id,
        pipeline_id,
        stage_id,
        coalesce(upper(opportunity_state), 'OPEN') as deal_state,
        -- A deal without a stage gets 0, because nulls do not compare.
        coalesce(pipeline_id, 0) as pipeline_key,
        coalesce(stage_id, 0) as stage_key,
        date_created_utc,
        _dlt_valid_from as valid_from,
        _dlt_valid_to as valid_to,
        row_number() over (partition by opportunity_id order by _dlt_valid_from) as version,
        min(_dlt_valid_from) over () as history_began
    from opportunities_history
),

compared as (
    select
        *,
        lag(deal_state) over (partition by opportunity_id order by version) as state_before,
        lag(pipeline_key) over (partition by opportunity_id order by version) as pipeline_before,
        lag(stage_key) over (partition by opportunity_id order by version) as stage_before
    from versions
),

numbered as (
    select
        *,
        -- There are no nulls. Their order is named because BigQuery takes a running sum only in its own order of nulls.
        cast(sum(
            case
                when version > 1
                    and deal_state = state_before
                    and pipeline_key = pipeline_before
                    and stage_key = stage_before
                    then 0
                else 1
            end
        ) over (
            partition by opportunity_id order by version nulls first rows between unbounded preceding and current row
        ) as bigint) as stay
    from compared
),

stays as (
    select
        opportunity_id,
        stay,
        pipeline_id,
        stage_id,
        pipeline_key,
        deal_state,
        min(valid_from) as entered_at,
        case when count(valid_to) = count(*) then max(valid_to) end as left_at,
        -- A deal older than the history was in its first stage for longer than the history shows.
        min(case when version = 1 and date_created_utc < history_began then 0 else 1 end) as entry_seen
    from numbered
    group by opportunity_id, stay, pipeline_id, stage_id, pipeline_key, deal_state
),

followed as (
    select
        *,
        lead(deal_state) over (partition by opportunity_id order by stay) as next_state,
        lead(pipeline_key) over (partition by opportunity_id order by stay) as next_pipeline_key,
        lead(stage_id) over (partition by opportunity_id order by stay) as next_stage_id
    from stays
)

select
    f.opportunity_id,
    f.stay,
    f.pipeline_id,
    p.pipeline_name,
    f.stage_id,
    s.stage_name,
    s.stage_order,
    f.entered_at,
    f.left_at,
    f.entry_seen = 1 as entry_seen,
    date_diff(
        'day',
        cast(f.entered_at at time zone 'UTC' as date),
        cast(coalesce(f.left_at, current_timestamp) at time zone 'UTC' as date)
    ) as days,
    case
        when f.left_at is null then 'still there'
        when f.next_state is null then 'deleted'
        when f.next_state <> 'OPEN' then lower(f.next_state)
        when f.next_pipeline_key <> f.pipeline_key then 'other pipeline'
        when n.stage_order > s.stage_order then 'moved on'
        when n.stage_order < s.stage_order then 'moved back'
        else 'moved'
    end as outcome,
    case when f.next_state = 'OPEN' then f.next_stage_id end as next_stage_id,
    case when f.next_state = 'OPEN' then n.stage_name end as next_stage_name,
    case when f.next_state = 'OPEN' then n.stage_order end as next_stage_order
from followed as f
left join pipelines as p on p.pipeline_id = f.pipeline_id
left join pipeline_stages as s on s.stage_id = f.stage_id
left join pipeline_stages as n on n.stage_id = f.next_stage_id
where f.deal_state = 'OPEN'
