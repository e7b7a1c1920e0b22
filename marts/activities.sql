-- What was done, or is planned, when, by whom and about which record: tasks, events, notes and e-mails?
-- One row per activity.
-- Optional: tasks, events, notes, emails, users
with done as (
    select
        'tasks' as record_type,
        task_id as record_id,
        title,
        details,
        coalesce(completed, false) as is_done,
        case when completed then completed_date_utc end as activity_at,
        due_date as planned_on,
        coalesce(responsible_user_id, owner_user_id) as owner_user_id
    from current_tasks

    union all

    select
        'events',
        event_id,
        title,
        details,
        start_date_utc < current_timestamp,
        start_date_utc,
        cast(null as date),
        owner_user_id
    from current_events

    union all

    select 'notes', note_id, title, body, true, date_created_utc, cast(null as date), owner_user_id
    from current_notes

    union all

    select
        'emails',
        email_id,
        subject,
        body,
        true,
        coalesce(email_date_utc, date_created_utc),
        cast(null as date),
        owner_user_id
    from current_emails
),

links as (
    select
        record_type,
        record_id,
        linked_type,
        linked_id,
        linked_name,
        row_number() over (partition by record_type, record_id order by link_id, linked_type, linked_id) as nth
    from record_links
    where record_type in ('tasks', 'events', 'notes', 'emails')
),

linked as (
    select
        record_type,
        record_id,
        max(case when nth = 1 then linked_type end) as linked_type,
        max(case when nth = 1 then linked_id end) as linked_id,
        max(case when nth = 1 then linked_name end) as linked_name,
        count(*) as links
    from links
    group by record_type, record_id
)

select
    a.record_type,
    a.record_id,
    a.title,
    a.details,
    a.is_done,
    a.activity_at,
    coalesce(cast(a.activity_at at time zone 'UTC' as date), a.planned_on) as activity_date,
    a.owner_user_id,
    nullif(trim(coalesce(u.first_name, '') || ' ' || coalesce(u.last_name, '')), '') as owner_name,
    l.linked_type,
    l.linked_id,
    l.linked_name,
    coalesce(l.links, 0) as links
from done as a
left join users as u on u.user_id = a.owner_user_id
left join linked as l on l.record_type = a.record_type and l.record_id = a.record_id
