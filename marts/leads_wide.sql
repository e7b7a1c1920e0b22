-- What is known about each lead, with the names of its status, source and owner, and of what it became?
-- One row per lead, with all its own columns.
-- Optional: leads, users, lead_sources, lead_statuses, contacts, organisations, opportunities, leads__tags
with people as (
    select user_id, nullif(trim(coalesce(first_name, '') || ' ' || coalesce(last_name, '')), '') as name
    from users
),

tagged as (
    select lead_id, array_agg(tag_name order by tag_name) as tags
    from (select distinct lead_id, tag_name from leads__tags where tag_name is not null) as t
    group by lead_id
)

select
    l.*,
    nullif(trim(coalesce(l.first_name, '') || ' ' || coalesce(l.last_name, '')), '') as lead_name,
    k.lead_status,
    s.lead_source,
    owners.name as owner_name,
    responsible.name as responsible_name,
    nullif(trim(coalesce(c.first_name, '') || ' ' || coalesce(c.last_name, '')), '') as converted_contact_name,
    g.organisation_name as converted_organisation_name,
    o.opportunity_name as converted_opportunity_name,
    case
        when l.converted
            then date_diff(
                'day',
                cast(l.date_created_utc at time zone 'UTC' as date),
                cast(l.converted_date_utc at time zone 'UTC' as date)
            )
    end as days_to_conversion,
    t.tags
from current_leads as l
left join lead_statuses as k on k.lead_status_id = l.lead_status_id
left join lead_sources as s on s.lead_source_id = l.lead_source_id
left join people as owners on owners.user_id = l.owner_user_id
left join people as responsible on responsible.user_id = l.responsible_user_id
left join current_contacts as c on c.contact_id = l.converted_contact_id
left join current_organisations as g on g.organisation_id = l.converted_organisation_id
left join current_opportunities as o on o.opportunity_id = l.converted_opportunity_id
left join tagged as t on t.lead_id = l.lead_id
