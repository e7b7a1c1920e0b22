-- Which tags are in use, on which kinds of records, and on how many?
-- One row per record type and tag; deleted records do not count.
-- Optional: contacts, contacts__tags, emails, emails__tags, knowledge_articles, knowledge_articles__tags
-- Optional: leads, leads__tags, opportunities, opportunities__tags, organisations, organisations__tags
-- Optional: projects, projects__tags, prospects, prospects__tags, tickets, tickets__tags
with tagged as (
    select 'contacts' as record_type, t.contact_id as record_id, t.tag_name
    from contacts__tags as t
    inner join current_contacts as r on r.contact_id = t.contact_id

    union all

    select 'emails', t.email_id, t.tag_name
    from emails__tags as t
    inner join current_emails as r on r.email_id = t.email_id

    union all

    select 'knowledge_articles', t.article_id, t.tag_name
    from knowledge_articles__tags as t
    inner join current_knowledge_articles as r on r.article_id = t.article_id

    union all

    select 'leads', t.lead_id, t.tag_name
    from leads__tags as t
    inner join current_leads as r on r.lead_id = t.lead_id

    union all

    select 'opportunities', t.opportunity_id, t.tag_name
    from opportunities__tags as t
    inner join current_opportunities as r on r.opportunity_id = t.opportunity_id

    union all

    select 'organisations', t.organisation_id, t.tag_name
    from organisations__tags as t
    inner join current_organisations as r on r.organisation_id = t.organisation_id

    union all

    select 'projects', t.project_id, t.tag_name
    from projects__tags as t
    inner join current_projects as r on r.project_id = t.project_id

    union all

    select 'prospects', t.prospect_id, t.tag_name
    from prospects__tags as t
    inner join current_prospects as r on r.prospect_id = t.prospect_id

    union all

    select 'tickets', t.ticket_id, t.tag_name
    from tickets__tags as t
    inner join current_tickets as r on r.ticket_id = t.ticket_id
)

select record_type, tag_name, count(distinct record_id) as records
from tagged
group by record_type, tag_name
