-- What is known about each contact, with the names of its owner and organisation, its source and its deals?
-- One row per contact, with all its own columns.
-- Optional: contacts, users, organisations, leads, lead_sources, opportunities
-- Optional: contacts__tags
with people as (
    select user_id, nullif(trim(coalesce(first_name, '') || ' ' || coalesce(last_name, '')), '') as name
    from users
),

converted as (
    select
        converted_contact_id as contact_id,
        lead_id,
        lead_source_id,
        row_number() over (partition by converted_contact_id order by converted_date_utc, lead_id) as nth
    from current_leads
    where converted_contact_id is not null
),

origins as (
    select
        contact_id,
        max(case when nth = 1 then lead_id end) as lead_id,
        max(case when nth = 1 then lead_source_id end) as lead_source_id
    from converted
    group by contact_id
),

linked_deals as (
    select distinct l.record_id as contact_id, o.opportunity_id, upper(o.opportunity_state) as deal_state
    from record_links as l
    inner join current_opportunities as o on o.opportunity_id = l.linked_id
    where l.record_type = 'contacts' and l.linked_type = 'opportunities'
),

deal_counts as (
    select
        contact_id,
        count(*) as deals,
        count(case when deal_state = 'OPEN' then 1 end) as open_deals,
        count(case when deal_state = 'WON' then 1 end) as won_deals
    from linked_deals
    group by contact_id
),

tagged as (
    select contact_id, array_agg(tag_name order by tag_name) as tags
    from (select distinct contact_id, tag_name from contacts__tags where tag_name is not null) as t
    group by contact_id
)

select
    c.*,
    nullif(trim(coalesce(c.first_name, '') || ' ' || coalesce(c.last_name, '')), '') as contact_name,
    owners.name as owner_name,
    g.organisation_name,
    f.lead_id,
    d.lead_source,
    coalesce(n.deals, 0) as deals,
    coalesce(n.open_deals, 0) as open_deals,
    coalesce(n.won_deals, 0) as won_deals,
    t.tags
from current_contacts as c
left join people as owners on owners.user_id = c.owner_user_id
left join current_organisations as g on g.organisation_id = c.organisation_id
left join origins as f on f.contact_id = c.contact_id
left join lead_sources as d on d.lead_source_id = f.lead_source_id
left join deal_counts as n on n.contact_id = c.contact_id
left join tagged as t on t.contact_id = c.contact_id
