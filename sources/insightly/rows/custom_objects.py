"""Custom objects: what `/CustomObjects` lists -> an entity each, or why it cannot be one. Pure logic."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..entities import ENTITIES, Entity, custom_object
from ..errors import redact

Normalize = Callable[[str], str]

LONGEST = 63
"""Letters of a table's name that every destination takes."""
# The name becomes a path of the API, so nothing may be in it that could lead that path elsewhere.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TABLES = {
    "deletions": "the ledger of deletions",
    **{f"{entity.name}__{array.lower()}": entity.name for entity in ENTITIES.values() for array in entity.arrays},
    **{f"{name}_history": name for name in ENTITIES},
    **{name: name for name in ENTITIES},
}
_PATHS = {entity.path.partition("/")[0].lower(): entity.name for entity in ENTITIES.values()}


def objects_of(
    definitions: Iterable[Mapping[str, Any]], held: Mapping[str, str], normalize: Normalize
) -> tuple[dict[str, Entity], list[str]]:
    """The entities of the custom objects that are defined, by the names of their tables.

    Args:
        definitions: rows of `/CustomObjects`.
        held: table -> OBJECT_NAME of those that the destination knows: a table stays its object's own.
        normalize: the table that a name becomes.

    Returns:
        The entities, and a sentence for each object that cannot be one.
    """
    entities: dict[str, Entity] = {}
    refused: list[str] = []
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for row in definitions:
        name = row.get("OBJECT_NAME")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            refused.append(_sentence(name, "its name is not made of letters, digits and underscores alone"))
        elif name not in alike[normalize(name)]:
            alike[normalize(name)].append(name)
    for table, names in alike.items():
        owner = _owner(names, held.get(table))
        for name in names:
            why = _taken(name, table)
            if why is None and name == owner:
                entities[table] = custom_object(name, table)
            else:
                others = dict.fromkeys(other for other in (*names, held.get(table)) if other not in (None, name))
                why = why or f"it would become table {table}, as would {' and '.join(map(repr, others))}"
                refused.append(_sentence(name, why))
    return entities, refused


def _owner(names: list[str], known: str | None) -> str | None:
    """Which of several objects a table belongs to; nobody's, where none can tell. Paths know no case (API.md 1)."""
    if len(names) == 1 and (known is None or known.lower() == names[0].lower()):
        return names[0]
    return known if known in names else None


def _taken(name: str, table: str) -> str | None:
    if table in _TABLES:
        return f"it would become table {table}, which belongs to {_TABLES[table]}"
    if name.lower() in _PATHS:
        return f"its records would be asked for at /{name}, the path of {_PATHS[name.lower()]}"
    return f"a table's name of more than {LONGEST} letters is too long" if len(table) > LONGEST else None


def _sentence(name: object, why: str) -> str:
    return f"custom object {redact(name)!r} is not loaded: {why}"
