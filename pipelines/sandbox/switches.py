"""What the sandbox does where the real service is undocumented or depends on the account (API.md, section 9)."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import NoneType, UnionType
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Switches:
    """A setting for each behaviour; the defaults have the best evidence.

    Attributes:
        top_limit: clamps a `top` above 500 to 500, or refuses it with 400.
        date_formats: dates may have every ISO 8601 form, as JavaScript writes them too, or the documented ones.
        flag_values: `brief` and `count_total` take 1 and 0 too, or `true` and `false` alone.
        list_filter: ignores `updated_after_utc` on a plain list, or honours it as some clients assume.
        filter_inclusive: `updated_after_utc` returns rows of that second too.
        total_header: sends `X-Total-Count` for `count_total=true`.
        total_error: how much greater that count is than the list: records that the key may not see are counted.
        brief_style: what `brief=true` does with arrays: omits them, sends null, or sends `[]`.
        embed_tags: False omits `TAGS` from lists, searches and single records; `/Tags` paths still work.
        images_listed: False omits custom fields of the type IMAGE from lists and searches; single records have them.
        etag: each record has an `ETag`, and a PUT with a stale `If-Match` is refused with 400 (seen live in 2026).
        date_header: responses have a `Date` header.
        clock_skew_seconds: how far the service's clock (stamps and `Date`) is ahead of the true one.
        rate: requests a key may send in any one second; None = no limit.
        quota: requests a day; None = no limit (the headers then count down from 100,000 to 1).
        daily_reset: the day lasts 24 hours from its first request, or ends at midnight UTC.
        burst_retry_after: `Retry-After` of a burst 429 in seconds; None = no such header.
        burst_body: body of a burst 429.
        daily_retry_after: `Retry-After` of a daily 429 in seconds; None = no such header.
        plan: `professional` returns 404 or 403 for the collections of API.md 7.4.
        search_field: `field_name` on Search filters, or is ignored, so every record is returned.
        search_none: a Search that finds nothing returns an empty list, or 404.
        permissions: an object with the rows, or the rows alone.
        forbidden: entities that return 403.
        missing: entities that return 404.
        field_case: a body's field names count in any case, or in upper case alone.
        unknown_fields: a body's unknown fields are ignored, or refused with 400.
        duplicate_link: a link that exists is returned again, refused with 400, or added once more.
        password: is ignored beside the key, or must be blank.
        aliases: singular paths of plural objects work, such as `/Project`, as some clients use them.
        put_status: status of PUT on records.
        put_collections: TAGS, DATES and EMAILDOMAINS in a PUT replace the stored ones, or are merged with them.
        put_custom_fields: a PUT of CUSTOMFIELDS keeps the fields it does not name, or clears them.
        tag_change_moves_date: a change of tags or links updates the record's DATE_UPDATED_UTC.
        comment_moves_date: a change of a comment, file, document or list membership updates its record's
            DATE_UPDATED_UTC.
        converted_leads_listed: `/Leads` and its Search return converted leads.
        object_dates: records of custom objects have DATE_UPDATED_UTC; else a Search by date finds none.
        error_style: the format of an error's body; `html` is for 5xx only, other errors stay JSON.
        latency: seconds that every response is delayed.
        dirty: records are generated with odd values: other scripts, HTML, dates of 0000, duplicates, blanks.
    """

    top_limit: Literal["clamp", "refuse"] = "clamp"
    date_formats: Literal["iso", "documented"] = "iso"
    flag_values: Literal["any", "documented"] = "any"
    list_filter: Literal["ignored", "honoured"] = "ignored"
    filter_inclusive: bool = False
    total_header: bool = True
    total_error: int = 0
    brief_style: Literal["missing", "null", "empty"] = "missing"
    embed_tags: bool = True
    images_listed: bool = False
    etag: bool = True
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
    field_case: Literal["any", "upper"] = "any"
    unknown_fields: Literal["ignored", "refused"] = "ignored"
    duplicate_link: Literal["returned", "refused", "added"] = "returned"
    password: Literal["ignored", "blank"] = "ignored"
    aliases: bool = True
    put_status: Literal[200, 201] = 200
    put_collections: Literal["replace", "merge"] = "replace"
    put_custom_fields: Literal["merge", "replace"] = "merge"
    tag_change_moves_date: bool = True
    comment_moves_date: bool = True
    converted_leads_listed: bool = True
    object_dates: bool = True
    error_style: Literal["json", "text", "html"] = "json"
    latency: float = 0.0
    dirty: bool = False

    def set(self, values: Mapping[str, Any]) -> Self:
        """These switches with some of them set.

        Args:
            values: JSON values by name, or texts: `off` or `false`, `none`, `403`, `contacts,leads`.

        Raises:
            ValueError: there is no such switch, or it does not take the value.
        """
        types = get_type_hints(type(self))
        for name in values:
            if name not in types:
                raise ValueError(f"{name} is no switch; known are {', '.join(field.name for field in fields(self))}")
        return replace(self, **{name: _value(name, types[name], value) for name, value in values.items()})


_WORDS = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}


def _value(name: str, type_: Any, value: Any) -> Any:
    """The value of a switch of this type. Raises ValueError."""
    if get_origin(type_) is frozenset:
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            raise ValueError(f"{name} must be a list of names, such as contacts,leads, not {value!r}")
        return frozenset(each.strip() for each in names if each.strip())
    if get_origin(type_) is Literal:
        for choice in get_args(type_):
            if str(choice) == str(value):
                return choice
        raise ValueError(f"{name} must be {' or '.join(map(str, get_args(type_)))}, not {value!r}")
    kinds = get_args(type_) if isinstance(type_, UnionType) else (type_,)
    if NoneType in kinds and (value is None or str(value).lower() == "none"):
        return None
    kind = next(kind for kind in kinds if kind is not NoneType)
    if kind is bool:
        if isinstance(value, bool) or str(value).lower() in _WORDS:
            return value if isinstance(value, bool) else _WORDS[str(value).lower()]
        raise ValueError(f"{name} must be true or false, not {value!r}")
    try:
        if not isinstance(value, bool):
            return kind(value)
    except (ValueError, TypeError):
        pass
    raise ValueError(f"{name} must be a number, not {value!r}")
