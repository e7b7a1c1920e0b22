"""Records of which one field has one value: what `/Search` takes (API.md 7.1), and whether its answer keeps to it.

Pure logic.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from ..entities import Entity, FieldType
from ..errors import BadSetting
from ..rows.custom_fields import declared_types, definitions_of
from ..state.times import WIRE, parse

OPTION = "--where"
Normalize = Callable[[str], str]
Definitions = Callable[[], Iterable[Mapping[str, Any]] | None]


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """A field by its name at the API, and its value as it is sent; `kind` None is not known."""

    field: str
    value: str
    kind: FieldType | None
    custom: bool = False

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Whether a record has the value; letters' case and the form of numbers and dates make no difference."""
        told = _custom_value(record, self.field) if self.custom else record.get(self.field)
        if told is None or told == "":
            return False
        text = str(told).strip().casefold()
        if text == self.value.strip().casefold():
            return True
        try:
            if self.kind in ("datetime", "date"):
                here, there = parse(str(told)), parse(self.value)
                return here == there if self.kind == "datetime" else here.date() == there.date()
            return self.kind not in ("string", "boolean") and Decimal(text) == Decimal(self.value)
        except (ValueError, InvalidOperation):
            return False


@dataclass
class Search:
    """A search under way, and how far it came."""

    match: SearchFilter
    skip: int = 0
    last_id: Any = None


def parse_filter(entity: Entity, where: str, normalize: Normalize, definitions: Definitions) -> SearchFilter:
    """What `FIELD=VALUE` means for an entity; FIELD is a field of the API or a column.

    Args:
        entity: one with a search.
        where: as it was given.
        normalize: the column that a field becomes.
        definitions: asks for the definitions of custom fields, where FIELD is no standard field; None: not to be had.

    Raises:
        BadSetting: there is no such field, or it cannot have that value.
    """
    name, equals, value = where.partition("=")
    name, wanted = name.strip(), normalize(name.strip()) if name.strip() else ""
    if not equals or not name:
        raise BadSetting(OPTION, where, "must be FIELD=VALUE, as EMAIL_ADDRESS=a@b.c")
    if not value.strip():
        raise BadSetting(OPTION, where, "Search finds values only: a field that is empty cannot be looked for")
    types: dict[str, FieldType | None] = {field: facts.type for field, facts in entity.fields.items()}
    standard = _named(types, name, wanted, normalize)
    if standard is not None:
        return _checked(SearchFilter(standard, value, types[standard]), where)
    told = definitions() if entity.custom_fields else ()
    if told is None:
        return SearchFilter(name, value, None, custom=True)
    custom = declared_types(definitions_of(entity, told))
    found = _named(custom, name, wanted, normalize)
    if found is not None:
        return _checked(SearchFilter(found, value, custom[found], custom=True), where)
    columns = {normalize(field): field for field in (*types, *custom)}
    close = [columns[column] for column in difflib.get_close_matches(wanted, columns, n=3)]
    hint = f"; close names are {', '.join(close)}" if close else f"; it has {', '.join(columns.values())}"
    raise BadSetting(OPTION, where, f"{entity.name} has no field {name} to search by{hint}")


def _named(fields: Iterable[str], name: str, column: str, normalize: Normalize) -> str | None:
    fields = tuple(fields)
    if name in fields:
        return name
    return next((field for field in fields if column in (normalize(field), field.lower())), None)


def _checked(match: SearchFilter, where: str) -> SearchFilter:
    """The match with its value as the API writes such values."""
    value, kind = match.value.strip(), match.kind
    try:
        if kind == "integer":
            value = str(int(value))
        elif kind == "number":
            Decimal(value)
        elif kind == "boolean":
            value = {"true": "true", "false": "false"}[value.lower()]
        elif kind in ("datetime", "date"):
            value = parse(value).strftime(WIRE)
        else:
            value = match.value
    except (ValueError, InvalidOperation, KeyError):
        forms = {"boolean": "true or false", "datetime": "2026-01-31T09:30:00", "date": "2026-01-31"}
        form = forms.get(str(kind), f"{'a whole' if kind == 'integer' else 'a'} number")
        raise BadSetting(OPTION, where, f"{match.field} is a {kind}: the value must be as {form}") from None
    return SearchFilter(match.field, value, kind, match.custom)


def _custom_value(record: Mapping[str, Any], name: str) -> Any:
    entries = record.get("CUSTOMFIELDS")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("FIELD_NAME") == name:
            return entry.get("FIELD_VALUE")
    return None
