-- Which tasks are overdue, who is responsible for them, and for how many days are they late?
-- One row per task that is not completed and was due before today, in UTC; a task without a due date is never late.
-- Optional: users
with late as (
    select
        task_id,
        title,
        status,
        priority,
        due_date,
        date_diff('day', due_date, cast(current_timestamp at time zone 'UTC' as date)) as days_overdue,
        coalesce(responsible_user_id, owner_user_id) as owner_id,
        opportunity_id,
        project_id
    from current_tasks
    where not coalesce(completed, false)
)

select
    t.task_id,
    t.title,
    t.status,
    t.priority,
    t.due_date,
    t.days_overdue,
    t.owner_id as owner_user_id,
    nullif(trim(coalesce(u.first_name, '') || ' ' || coalesce(u.last_name, '')), '') as owner_name,
    t.opportunity_id,
    t.project_id
from late as t
left join users as u on u.user_id = t.owner_id
where t.days_overdue > 0
