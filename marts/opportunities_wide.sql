-- What is known about each deal, with the names of its stage, owner, organisation, contact and source?
-- One row per deal, with all its own columns.
-- Optional: users, pipelines, pipeline_stages, opportunity_categories, organisations, opportunities__tags
-- Optional: leads, lead_sources, contacts
with people as (
    select user_id, nullif(trim(coalesce(first_name, '') || ' ' || coalesce(last_name, '')), '') as name
    from users
),

linked_contacts as (
    select
        record_id as opportunity_id,
        linked_id as contact_id,
        linked_name as contact_name,
        role,
        row_number() over (
            partition by record_id
            order by case when lower(role) like '%primary%' then 0 else 1 end, link_id, linked_id
        ) as nth
    from record_links
    where record_type = 'opportunities' and linked_type = 'contacts'
),

contact_counts as (
    select opportunity_id, count(distinct contact_id) as contacts
    from linked_contacts
    group by opportunity_id
),

origins as (
    select
        l.converted_opportunity_id as opportunity_id,
        l.lead_id,
        s.lead_source,
        row_number() over (
            partition by l.converted_opportunity_id order by l.converted_date_utc, l.lead_id
        ) as nth
    from current_leads as l
    left join lead_sources as s on s.lead_source_id = l.lead_source_id
    where l.converted_opportunity_id is not null
),

tagged as (
    select opportunity_id, array_agg(tag_name order by tag_name) as tags
    from (select distinct opportunity_id, tag_name from opportunities__tags where tag_name is not null) as t
    group by opportunity_id
)

select
    o.*,
    upper(o.opportunity_state) as deal_state,
    p.pipeline_name,
    s.stage_name,
    s.stage_order,
    k.category_name,
    owners.name as owner_name,
    responsible.name as responsible_name,
    g.organisation_name,
    c.contact_id as primary_contact_id,
    c.contact_name as primary_contact_name,
    c.role as primary_contact_role,
    a.email_address as primary_contact_email,
    coalesce(n.contacts, 0) as contacts,
    f.lead_id,
    f.lead_source,
    date_diff(
        'day',
        cast(o.date_created_utc at time zone 'UTC' as date),
        case
            when upper(o.opportunity_state) in ('WON', 'LOST', 'ABANDONED') then o.actual_close_date
            else cast(current_timestamp at time zone 'UTC' as date)
        end
    ) as days_open,
    case
        when o.probability between 0 and 100
            then cast(o.opportunity_value as decimal(28, 4)) * cast(o.probability as decimal(3, 0)) * 0.01
    end as weighted_value,
    t.tags
from current_opportunities as o
left join pipelines as p on p.pipeline_id = o.pipeline_id
left join pipeline_stages as s on s.stage_id = o.stage_id
left join opportunity_categories as k on k.category_id = o.category_id
left join people as owners on owners.user_id = o.owner_user_id
left join people as responsible on responsible.user_id = o.responsible_user_id
left join current_organisations as g on g.organisation_id = o.organisation_id
left join linked_contacts as c on c.opportunity_id = o.opportunity_id and c.nth = 1
left join current_contacts as a on a.contact_id = c.contact_id
left join contact_counts as n on n.opportunity_id = o.opportunity_id
left join origins as f on f.opportunity_id = o.opportunity_id and f.nth = 1
left join tagged as t on t.opportunity_id = o.opportunity_id
