-- Which records are linked to which, in which role, and what are both called?
-- One row per link and direction: the link of a deal and a contact is a row of the deal and a row of the contact.
-- Optional: contacts, contacts__links, emails, emails__links, events, events__links, leads, leads__links
-- Optional: notes, notes__links, opportunities, opportunities__links, organisations, organisations__links
-- Optional: projects, projects__links, relationships, tasks, tasks__links
with listed as (
    select
        'contacts' as record_type,
        'contact' as object_type,
        contact_id as record_id,
        link_id,
        object_name,
        object_id,
        link_object_name,
        link_object_id,
        role,
        details,
        relationship_id,
        is_forward
    from contacts__links

    union all

    select
        'emails', 'email', email_id, link_id, object_name, object_id, link_object_name, link_object_id, role, details,
        relationship_id, is_forward
    from emails__links

    union all

    select
        'events', 'event', event_id, link_id, object_name, object_id, link_object_name, link_object_id, role, details,
        relationship_id, is_forward
    from events__links

    union all

    select
        'leads', 'lead', lead_id, link_id, object_name, object_id, link_object_name, link_object_id, role, details,
        relationship_id, is_forward
    from leads__links

    union all

    select
        'notes', 'note', note_id, link_id, object_name, object_id, link_object_name, link_object_id, role, details,
        relationship_id, is_forward
    from notes__links

    union all

    select
        'opportunities', 'opportunity', opportunity_id, link_id, object_name, object_id, link_object_name, link_object_id, role, details,
        relationship_id, is_forward
    from opportunities__links

    union all

    select
        'organisations', 'organisation', organisation_id, link_id, object_name, object_id, link_object_name, link_object_id, role, details,
        relationship_id, is_forward
    from organisations__links

    union all

    select
        'projects', 'project', project_id, link_id, object_name, object_id, link_object_name, link_object_id, role, details,
        relationship_id, is_forward
    from projects__links

    union all

    select
        'tasks', 'task', task_id, link_id, object_name, object_id, link_object_name, link_object_id, role, details,
        relationship_id, is_forward
    from tasks__links
),

named as (
    select
        'contacts' as record_type,
        contact_id as record_id,
        nullif(trim(coalesce(first_name, '') || ' ' || coalesce(last_name, '')), '') as record_name,
        _deleted_at is not null as is_deleted
    from contacts

    union all

    select 'emails', email_id, subject, _deleted_at is not null
    from emails

    union all

    select 'events', event_id, title, _deleted_at is not null
    from events

    union all

    select
        'leads',
        lead_id,
        nullif(trim(coalesce(first_name, '') || ' ' || coalesce(last_name, '')), ''),
        _deleted_at is not null
    from leads

    union all

    select 'notes', note_id, title, _deleted_at is not null
    from notes

    union all

    select 'opportunities', opportunity_id, opportunity_name, _deleted_at is not null
    from opportunities

    union all

    select 'organisations', organisation_id, organisation_name, _deleted_at is not null
    from organisations

    union all

    select 'projects', project_id, project_name, _deleted_at is not null
    from projects

    union all

    select 'tasks', task_id, title, _deleted_at is not null
    from tasks
),

turned as (
    select
        *,
        -- A record may list a link as the other one sees it.
        lower(link_object_name) = object_type and link_object_id = record_id and object_id is not null as is_turned
    from listed
),

linked as (
    select
        record_type,
        record_id,
        lower(case when is_turned then object_name else link_object_name end) as other_type,
        case when is_turned then object_id else link_object_id end as linked_id,
        link_id,
        role,
        details,
        relationship_id,
        case when is_turned then not is_forward else is_forward end as is_forward
    from turned
),

typed as (
    select
        *,
        case
            when other_type = 'opportunity' then 'opportunities'
            when other_type in ('contact', 'email', 'event', 'lead', 'note', 'organisation', 'project', 'task')
                then other_type || 's'
            else other_type
        end as linked_type
    from linked
    where linked_id is not null
),

both_ways as (
    select
        record_type,
        record_id,
        linked_type,
        linked_id,
        link_id,
        role,
        details,
        relationship_id,
        case when is_forward then 1 when not is_forward then 0 end as forward,
        1 as is_own
    from typed

    union all

    select
        linked_type,
        linked_id,
        record_type,
        record_id,
        link_id,
        role,
        details,
        relationship_id,
        case when is_forward then 0 when not is_forward then 1 end,
        0
    from typed
),

merged as (
    select
        record_type,
        record_id,
        linked_type,
        linked_id,
        link_id,
        -- Both records list most links. What the record itself says about its link comes first.
        coalesce(max(case when is_own = 1 then role end), max(role)) as role,
        coalesce(max(case when is_own = 1 then details end), max(details)) as details,
        coalesce(max(case when is_own = 1 then relationship_id end), max(relationship_id)) as relationship_id,
        coalesce(max(case when is_own = 1 then forward end), max(forward)) as forward
    from both_ways
    group by record_type, record_id, linked_type, linked_id, link_id
)

select
    l.record_type,
    l.record_id,
    r.record_name,
    l.linked_type,
    l.linked_id,
    o.record_name as linked_name,
    l.role,
    l.details,
    l.relationship_id,
    case when l.forward = 1 then s.forward when l.forward = 0 then s.reverse end as relationship,
    l.forward = 1 as is_forward,
    l.link_id
from merged as l
left join named as r on r.record_type = l.record_type and r.record_id = l.record_id
left join named as o on o.record_type = l.linked_type and o.record_id = l.linked_id
left join relationships as s on s.relationship_id = l.relationship_id
where not coalesce(r.is_deleted, false) and not coalesce(o.is_deleted, false)
