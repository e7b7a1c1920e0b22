-- Which sources do leads come from, how many of them are converted, and after how many days?
-- One row per source and month in which its leads were created, in UTC.
-- Optional: lead_sources
with created as (
    select
        lead_source_id,
        coalesce(converted, false) as is_converted,
        converted_opportunity_id,
        cast(date_created_utc at time zone 'UTC' as date) as created_on,
        cast(converted_date_utc at time zone 'UTC' as date) as converted_on
    from current_leads
),

followed as (
    select
        lead_source_id,
        cast(date_trunc('month', cast(created_on as date)) as date) as created_month,
        case when is_converted then 1 end as was_converted,
        case when is_converted and converted_opportunity_id is not null then 1 end as became_deal,
        case when is_converted then date_diff('day', created_on, converted_on) end as days_taken
    from created
)

select
    f.lead_source_id,
    s.lead_source,
    f.created_month,
    count(*) as leads,
    count(f.was_converted) as converted,
    count(f.became_deal) as converted_with_deal,
    cast(count(f.was_converted) / count(*) as decimal(9, 4)) as conversion_rate,
    cast(sum(f.days_taken) / nullif(count(f.days_taken), 0) as decimal(18, 2)) as average_days
from followed as f
left join lead_sources as s on s.lead_source_id = f.lead_source_id
group by f.lead_source_id, s.lead_source, f.created_month
