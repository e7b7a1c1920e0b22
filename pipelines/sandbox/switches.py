"""What the sandbox does where the real service is undocumented or depends on the account (api.md, section 9)."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import NoneType
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Switches:
    """A setting for each behaviour: see `docs/guide/sandbox.md`. Defaults have the best evidence, or are lenient."""

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
    zero_ids: Literal["unset", "refused"] = "unset"
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
        """These switches with some set, to JSON values or to texts such as `off`, `none`, `403` or `contacts,leads`.

        Raises:
            ValueError: there is no such switch, or it does not take the value.
        """
        types = get_type_hints(type(self))
        for name in values:
            if name not in types:
                raise ValueError(f"{name} is not a switch; known are {', '.join(field.name for field in fields(self))}")
        return replace(self, **{name: _value(name, types[name], value) for name, value in values.items()})


_FLAGS = {"true": True, "false": False, "on": True, "off": False, "yes": True, "no": False}


def _value(name: str, type_: Any, value: Any) -> Any:
    """The value of a switch of this type. Raises ValueError."""
    if get_origin(type_) is frozenset:
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            raise ValueError(f"{name} must be a list of names, such as contacts,leads, not {value!r}")
        return frozenset(each.strip() for each in names if each.strip())
    if type_ is bool or get_origin(type_) is Literal:
        choices = _FLAGS if type_ is bool else {str(choice): choice for choice in get_args(type_)}
        if str(value).lower() not in choices:
            raise ValueError(
                f"{name} must be {' or '.join([*choices][:2] if type_ is bool else choices)}, not {value!r}"
            )
        return choices[str(value).lower()]
    kinds = get_args(type_) or (type_,)
    if NoneType in kinds and str(value).lower() == "none":
        return None
    try:
        if not isinstance(value, bool):
            return kinds[0](value)
    except (ValueError, TypeError):
        pass
    raise ValueError(f"{name} must be a number, not {value!r}")
