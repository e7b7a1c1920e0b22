-- What is known about each task, with the names of its people, category, deal, project and linked record?
-- One row per task, with all its own columns.
-- Optional: tasks, users, teams, task_categories, opportunities, projects
with people as (
    select user_id, nullif(trim(coalesce(first_name, '') || ' ' || coalesce(last_name, '')), '') as name
    from users
),

links as (
    select
        record_id as task_id,
        linked_type,
        linked_id,
        linked_name,
        row_number() over (partition by record_id order by link_id, linked_type, linked_id) as nth
    from record_links
    where record_type = 'tasks'
),

linked as (
    select
        task_id,
        max(case when nth = 1 then linked_type end) as linked_type,
        max(case when nth = 1 then linked_id end) as linked_id,
        max(case when nth = 1 then linked_name end) as linked_name,
        count(*) as links
    from links
    group by task_id
)

select
    t.*,
    k.category_name,
    owners.name as owner_name,
    responsible.name as responsible_name,
    assigning.name as assigned_by_name,
    m.team_name as assigned_team_name,
    o.opportunity_name,
    p.project_name,
    l.linked_type,
    l.linked_id,
    l.linked_name,
    coalesce(l.links, 0) as links,
    case
        when not coalesce(t.completed, false) and t.due_date < cast(current_timestamp at time zone 'UTC' as date)
            then date_diff('day', t.due_date, cast(current_timestamp at time zone 'UTC' as date))
    end as days_overdue
from current_tasks as t
left join task_categories as k on k.category_id = t.category_id
left join people as owners on owners.user_id = t.owner_user_id
left join people as responsible on responsible.user_id = t.responsible_user_id
left join people as assigning on assigning.user_id = t.assigned_by_user_id
left join teams as m on m.team_id = t.assigned_team_id
left join current_opportunities as o on o.opportunity_id = t.opportunity_id
left join current_projects as p on p.project_id = t.project_id
left join linked as l on l.task_id = t.task_id
