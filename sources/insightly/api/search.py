"""Records in which one field has one value: parses `FIELD=VALUE` for `/Search` (api.md 7.1) and checks the response.

Pure logic.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..entities import Entity
from ..errors import BadSetting, closest
from ..fields import FieldType
from ..rows.custom_fields import declared_types, definitions_of
from ..rows.json_text import NUMERAL
from ..state.request import SearchFilter
from ..state.times import parse

OPTION = "--where"
Normalize = Callable[[str], str]
Definitions = Callable[[], Iterable[Mapping[str, Any]] | None]


def parse_filter(entity: Entity, where: str, normalize: Normalize, definitions: Definitions) -> SearchFilter:
    """The filter of `FIELD=VALUE`; FIELD is a field of the API or a column.

    Args:
        entity: an entity with a search.
        where: the text that the user typed.
        normalize: a field's name -> its column.
        definitions: reads the definitions of custom fields; called if FIELD is no standard field. None: not readable.

    Raises:
        BadSetting: there is no such field, or it cannot have that value.
    """
    name, equals, value = where.partition("=")
    name = name.strip()
    if not equals or not name:
        raise BadSetting(OPTION, where, "must be FIELD=VALUE, such as EMAIL_ADDRESS=a@b.c")
    if not value.strip():
        raise BadSetting(OPTION, where, "add a value: Search cannot find records with an empty field")
    column = normalize(name)
    standard: dict[str, FieldType | None] = {field: facts.type for field, facts in entity.fields.items()}
    if (field := _find(standard, name, column, normalize)) is not None:
        return _with_wire_value(SearchFilter(field, value, standard[field]), where)
    rows = definitions() if entity.custom_fields else ()
    if rows is None:
        return SearchFilter(name, value, None, custom=True)
    custom = declared_types(definitions_of(entity, rows))
    if (field := _find(custom, name, column, normalize)) is not None:
        return _with_wire_value(SearchFilter(field, value, custom[field], custom=True), where)
    columns = {normalize(field): field for field in (*standard, *custom)}
    similar = closest(column, columns)
    hint = f"did you mean {columns[similar]}?" if similar else f"it has {', '.join(columns.values())}"
    raise BadSetting(OPTION, where, f"{entity.name} has no field {name} to search by; {hint}")


def _find(fields: Collection[str], name: str, column: str, normalize: Normalize) -> str | None:
    if name in fields:
        return name
    return next((field for field in fields if column in (normalize(field), field.lower())), None)


def _with_wire_value(search_filter: SearchFilter, where: str) -> SearchFilter:
    """The filter with its value in the format of the API."""
    value, kind = search_filter.value.strip(), search_filter.kind
    try:
        if kind in ("integer", "number"):
            if not NUMERAL.fullmatch(value):
                raise ValueError
            value = str(int(value)) if kind == "integer" else value
        elif kind == "boolean":
            value = {"true": "true", "false": "false"}[value.lower()]
        elif kind in ("datetime", "date"):
            value = parse(value).replace(tzinfo=None).isoformat(" ", "seconds")
        else:
            return search_filter
    except (ValueError, KeyError):
        examples = {"boolean": "true or false", "datetime": "2026-01-31T09:30:00", "date": "2026-01-31"}
        example = examples.get(str(kind), "42" if kind == "integer" else "42.5")
        noun = "whole number" if kind == "integer" else kind
        raise BadSetting(OPTION, where, f"{search_filter.field} is a {noun}: write the value as {example}") from None
    return replace(search_filter, value=value)
