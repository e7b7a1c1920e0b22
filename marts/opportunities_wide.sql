-- What is known about each deal, with the names of its stage, owner, organisation, contact and source?
-- One row per deal, with all its own columns.
-- Optional: opportunities, users, pipelines, pipeline_stages, opportunity_categories, organisations, contacts
-- Optional: leads, lead_sources, opportunities__tags
with people as (
    select user_id, nullif(trim(coalesce(first_name, '') || ' ' || coalesce(last_name, '')), '') as name
    from users
),

linked_contacts as (
    select
        l.record_id as opportunity_id,
        l.linked_id as contact_id,
        l.linked_name as contact_name,
        c.email_address,
        l.role,
        row_number() over (
            partition by l.record_id
            order by case when lower(l.role) like '%primary%' then 0 else 1 end, l.link_id, l.linked_id, l.role
        ) as nth
    from record_links as l
    inner join current_contacts as c on c.contact_id = l.linked_id
    where l.record_type = 'opportunities' and l.linked_type = 'contacts'
),

primary_contacts as (
    select
        opportunity_id,
        max(case when nth = 1 then contact_id end) as contact_id,
        max(case when nth = 1 then contact_name end) as contact_name,
        max(case when nth = 1 then email_address end) as email_address,
        max(case when nth = 1 then role end) as role,
        count(distinct contact_id) as contacts
    from linked_contacts
    group by opportunity_id
),

converted as (
    select
        converted_opportunity_id as opportunity_id,
        lead_id,
        lead_source_id,
        row_number() over (partition by converted_opportunity_id order by converted_date_utc, lead_id) as nth
    from current_leads
    where converted_opportunity_id is not null
),

origins as (
    select
        opportunity_id,
        max(case when nth = 1 then lead_id end) as lead_id,
        max(case when nth = 1 then lead_source_id end) as lead_source_id
    from converted
    group by opportunity_id
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
    c.email_address as primary_contact_email,
    coalesce(c.contacts, 0) as contacts,
    f.lead_id,
    d.lead_source,
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
left join primary_contacts as c on c.opportunity_id = o.opportunity_id
left join origins as f on f.opportunity_id = o.opportunity_id
left join lead_sources as d on d.lead_source_id = f.lead_source_id
left join tagged as t on t.opportunity_id = o.opportunity_id
