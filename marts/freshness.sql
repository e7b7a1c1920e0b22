-- When was each entity last read, swept and verified successfully, and how did its last sync end?
-- One row per entity that was ever synced; times are the starts of runs, in UTC.
with latest as (
    select
        entity,
        started,
        state,
        reason,
        rows,
        watermark_after,
        calls_left_today,
        row_number() over (partition by entity order by started desc) as nth
    from _sync_runs
    where command = 'sync'
),

completed as (
    select
        entity,
        max(case when command = 'sync' then started end) as synced_at,
        max(case when command = 'sweep' then started end) as swept_at,
        max(case when command = 'verify' then started end) as verified_at
    from _sync_runs
    where state = 'ok'
    group by entity
)

select
    l.entity,
    c.synced_at,
    c.swept_at,
    c.verified_at,
    l.started as last_run_at,
    l.state as last_state,
    l.reason as last_reason,
    l.rows as last_rows,
    l.calls_left_today,
    l.watermark_after as watermark
from latest as l
left join completed as c on c.entity = l.entity
where l.nth = 1
