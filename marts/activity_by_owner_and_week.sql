-- How many tasks does each owner complete in a week, how many events take place, and how many notes are written?
-- One row per owner and week, by its Monday in UTC; the owner of a task is the responsible user.
-- Optional: users
with activities as (
    select
        coalesce(responsible_user_id, owner_user_id) as owner_id,
        cast(completed_date_utc at time zone 'UTC' as date) as done_on,
        'task' as kind
    from current_tasks
    where completed

    union all

    select owner_user_id, cast(start_date_utc at time zone 'UTC' as date), 'event'
    from current_events

    union all

    select owner_user_id, cast(date_created_utc at time zone 'UTC' as date), 'note'
    from current_notes
),

weeks as (
    select owner_id, kind, cast(date_trunc('week', cast(done_on as date)) as date) as week_begins
    from activities
)

select
    w.owner_id as owner_user_id,
    nullif(trim(coalesce(u.first_name, '') || ' ' || coalesce(u.last_name, '')), '') as owner_name,
    w.week_begins,
    count(case when w.kind = 'task' then 1 end) as tasks_completed,
    count(case when w.kind = 'event' then 1 end) as events,
    count(case when w.kind = 'note' then 1 end) as notes,
    count(*) as activities
from weeks as w
left join users as u on u.user_id = w.owner_id
group by w.owner_id, u.first_name, u.last_name, w.week_begins
