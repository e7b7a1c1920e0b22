-- Which deals are open, who is responsible, when do they close, and since when has nothing been done?
-- One row per open deal; the days are counted to today, in UTC, and `days_left` is negative after the forecast date.
-- Optional: organisations, pipelines, pipeline_stages, users
with deals as (
    select
        opportunity_id,
        opportunity_name,
        organisation_id,
        pipeline_id,
        stage_id,
        coalesce(responsible_user_id, owner_user_id) as owner_id,
        bid_currency as currency,
        opportunity_value,
        probability,
        case
            when probability between 0 and 100
                then cast(opportunity_value as decimal(28, 4)) * cast(probability as decimal(3, 0)) * 0.01
        end as weighted_value,
        forecast_close_date,
        cast(date_created_utc at time zone 'UTC' as date) as created_on,
        cast(last_activity_date_utc at time zone 'UTC' as date) as last_activity_on,
        cast(next_activity_date_utc at time zone 'UTC' as date) as next_activity_on,
        cast(current_timestamp at time zone 'UTC' as date) as today
    from current_opportunities
    where upper(opportunity_state) = 'OPEN'
)

select
    d.opportunity_id,
    d.opportunity_name,
    d.organisation_id,
    o.organisation_name,
    d.pipeline_id,
    p.pipeline_name,
    d.stage_id,
    s.stage_name,
    s.stage_order,
    d.owner_id as owner_user_id,
    nullif(trim(coalesce(u.first_name, '') || ' ' || coalesce(u.last_name, '')), '') as owner_name,
    d.currency,
    d.opportunity_value,
    d.probability,
    d.weighted_value,
    d.forecast_close_date,
    date_diff('day', d.today, d.forecast_close_date) as days_left,
    date_diff('day', d.created_on, d.today) as days_open,
    d.last_activity_on,
    -- A deal without any activity has had none since it was created.
    date_diff('day', coalesce(d.last_activity_on, d.created_on), d.today) as days_without_activity,
    coalesce(d.next_activity_on >= d.today, false) as activity_planned
from deals as d
left join current_organisations as o on o.organisation_id = d.organisation_id
left join pipelines as p on p.pipeline_id = d.pipeline_id
left join pipeline_stages as s on s.stage_id = d.stage_id
left join users as u on u.user_id = d.owner_id
