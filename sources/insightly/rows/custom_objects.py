"""Custom objects: an entity for each row of `/CustomObjects`, or the reason why there is none. Pure logic."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from ..entities import ENTITIES, Entity, custom_object
from ..errors import redact
from .naming import ARRAY_TABLES, HISTORY_TABLES, Normalize

MAX_TABLE_NAME = 63
"""Characters that every destination allows in the name of a table."""
# The name becomes a path of the API, so it must not contain anything that could change that path.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TABLES = {
    "deletions": "the ledger of deletions",
    **{table: entity.name for table, (entity, _) in ARRAY_TABLES.items()},
    **{table: entity.name for table, entity in HISTORY_TABLES.items()},
    **{name: name for name in ENTITIES},
}
_PATHS = {entity.path.partition("/")[0].lower(): entity.name for entity in ENTITIES.values()}


def objects_of(
    definitions: Iterable[Mapping[str, Any]], existing: Mapping[str, str], normalize: Normalize
) -> tuple[dict[str, Entity], list[str]]:
    """The entities of the defined custom objects, by table.

    Args:
        definitions: rows of `/CustomObjects`.
        existing: table -> OBJECT_NAME at the destination: a table keeps its object.
        normalize: an object's name -> its table.

    Returns:
        The entities, and a message for each object that cannot be loaded.
    """
    entities: dict[str, Entity] = {}
    refused: list[str] = []
    by_table: defaultdict[str, list[str]] = defaultdict(list)
    for row in definitions:
        name = row.get("OBJECT_NAME")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            refused.append(_not_loaded(name, "its name has characters other than letters, digits and underscores"))
        elif name not in by_table[normalize(name)]:
            by_table[normalize(name)].append(name)
    for table, names in by_table.items():
        owner = _owner(names, existing.get(table))
        for name in names:
            reason = _conflict(name, table)
            if reason is None and name == owner:
                entities[table] = custom_object(name, table)
            else:
                others = dict.fromkeys(other for other in (*names, existing.get(table)) if other not in (None, name))
                reason = reason or f"it would become table {table}, as would {' and '.join(map(repr, others))}"
                refused.append(_not_loaded(name, reason))
    return entities, refused


def _owner(names: list[str], known: str | None) -> str | None:
    """Which object a table belongs to; None if that is ambiguous. Paths ignore case (api.md 1)."""
    if len(names) == 1 and (known is None or known.lower() == names[0].lower()):
        return names[0]
    return known if known in names else None


def _conflict(name: str, table: str) -> str | None:
    if table in _TABLES:
        return f"it would become table {table}, which belongs to {_TABLES[table]}"
    if name.lower() in _PATHS:
        return f"its records would be at /{name}, the path of {_PATHS[name.lower()]}"
    return f"its table's name would be longer than {MAX_TABLE_NAME} characters" if len(table) > MAX_TABLE_NAME else None


def _not_loaded(name: object, reason: str) -> str:
    return f"custom object {redact(name)!r} is not loaded: {reason}"
