"""What the sandbox does where the real service is open, unknown, or depends on the account (API.md, section 9)."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Switches:
    """One setting a behaviour; the defaults are the best-supported ones.

    Attributes:
        top_limit: a `top` above 500 is clamped to 500, or refused with 400.
        list_filter: `updated_after_utc` on a plain list is ignored, or honoured as some clients assume.
        filter_inclusive: `updated_after_utc` keeps rows of that very second too.
        total_header: `X-Total-Count` is sent when `count_total=true` asks for it.
        brief_style: what `brief=true` does to collections: leaves the keys out, sends null, or sends `[]`.
        embed_tags: False leaves the `TAGS` key out of lists, searches and single gets; `/Tags` paths still work.
        etag: each record carries `ETag`, and a stale `If-Match` on PUT is refused with 400.
        date_header: answers carry `Date`.
        clock_skew_seconds: how far the service's clock (stamps and `Date`) is ahead of the injected one.
        rate: calls a key may make in any one second; None = no limit.
        quota: calls a day; None = no limit (the headers then count down from 100,000 and stop at 1).
        daily_reset: the day is 24 hours from its first call, or ends at midnight UTC.
        burst_retry_after: `Retry-After` of a burst 429 in seconds; None = no such header.
        burst_body: body of a burst 429.
        daily_retry_after: `Retry-After` of a daily 429 in seconds; None = no such header.
        plan: `professional` answers 404 or 403 for the collections of API.md 7.4.
        search_field: `field_name` on Search filters, or is ignored (so everything is the answer).
        search_none: a Search that finds nothing answers with an empty list, or with 404.
        permissions: an object that holds the rows, or the bare rows.
        forbidden: entity names answered with 403.
        missing: entity names answered with 404.
        put_status: status of PUT on records.
        put_collections: TAGS, DATES and EMAILDOMAINS in a PUT replace the stored set, or are merged into it.
        put_custom_fields: custom fields that a PUT of CUSTOMFIELDS does not name stay, or are cleared.
        tag_change_moves_date: a change of tags or links moves the parent's DATE_UPDATED_UTC.
        comment_moves_date: a new, changed or removed comment, file, document or list membership moves its record's
            DATE_UPDATED_UTC.
        converted_leads_listed: `/Leads` and its Search show converted leads.
        object_dates: custom objects' records carry DATE_UPDATED_UTC; else Search by date finds none of them.
        error_style: how an error's body is written; `html` does so for 5xx only, the rest stays JSON.
        latency: seconds every answer is held back.
    """

    top_limit: Literal["clamp", "refuse"] = "clamp"
    list_filter: Literal["ignored", "honoured"] = "ignored"
    filter_inclusive: bool = False
    total_header: bool = True
    brief_style: Literal["missing", "null", "empty"] = "missing"
    embed_tags: bool = True
    etag: bool = False
    date_header: bool = True
    clock_skew_seconds: float = 0.0
    rate: int | None = 10
    quota: int | None = 100_000
    daily_reset: Literal["window", "midnight"] = "window"
    burst_retry_after: float | None = 1
    burst_body: Literal["json", "text"] = "json"
    daily_retry_after: float | None = None
    plan: Literal["enterprise", "professional"] = "enterprise"
    search_field: Literal["honoured", "ignored"] = "honoured"
    search_none: Literal["empty", "404"] = "empty"
    permissions: Literal["object", "list"] = "object"
    forbidden: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    put_status: Literal[200, 201] = 200
    put_collections: Literal["replace", "merge"] = "replace"
    put_custom_fields: Literal["merge", "replace"] = "merge"
    tag_change_moves_date: bool = True
    comment_moves_date: bool = True
    converted_leads_listed: bool = True
    object_dates: bool = True
    error_style: Literal["json", "text", "html"] = "json"
    latency: float = 0.0
