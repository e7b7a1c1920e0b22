-- What is known about each organisation, with the name of its owner, its contacts, deals and domains?
-- One row per organisation, with all its own columns.
-- Optional: organisations, users, contacts, opportunities, organisations__emaildomains, organisations__tags
with people as (
    select user_id, nullif(trim(coalesce(first_name, '') || ' ' || coalesce(last_name, '')), '') as name
    from users
),

contact_counts as (
    select organisation_id, count(*) as contacts
    from current_contacts
    group by organisation_id
),

deal_counts as (
    select
        organisation_id,
        count(*) as deals,
        count(case when upper(opportunity_state) = 'OPEN' then 1 end) as open_deals,
        count(case when upper(opportunity_state) = 'WON' then 1 end) as won_deals
    from current_opportunities
    group by organisation_id
),

domains as (
    select organisation_id, array_agg(email_domain order by email_domain) as email_domains
    from (
        select distinct organisation_id, email_domain
        from organisations__emaildomains
        where email_domain is not null
    ) as d
    group by organisation_id
),

tagged as (
    select organisation_id, array_agg(tag_name order by tag_name) as tags
    from (select distinct organisation_id, tag_name from organisations__tags where tag_name is not null) as t
    group by organisation_id
)

select
    g.*,
    owners.name as owner_name,
    coalesce(c.contacts, 0) as contacts,
    coalesce(n.deals, 0) as deals,
    coalesce(n.open_deals, 0) as open_deals,
    coalesce(n.won_deals, 0) as won_deals,
    d.email_domains,
    t.tags
from current_organisations as g
left join people as owners on owners.user_id = g.owner_user_id
left join contact_counts as c on c.organisation_id = g.organisation_id
left join deal_counts as n on n.organisation_id = g.organisation_id
left join domains as d on d.organisation_id = g.organisation_id
left join tagged as t on t.organisation_id = g.organisation_id
