"""Values as accounts have them that people have typed into, and imported into, for years."""

import re
from itertools import count
from random import Random
from typing import Any

from pipelines.sandbox.store.shapes import facts_of
from pipelines.sandbox.store.store import Contents
from pipelines.sandbox.store.table import dump, parse
from sources.insightly.fields import Field

from .data import DIRTY, nth

_ENTITIES = ("contacts", "leads", "organisations", "opportunities", "projects", "tasks", "events", "notes", "emails")
_KEPT = re.compile("DATE_(CREATED|UPDATED)_UTC|OPPORTUNITY_STATE|STATUS|BID_TYPE|BID_CURRENCY|VISIBLE_TO|FORMAT")
_LONG = f"<p>{'A long text, pasted from a document. ' * 28_000}</p>"
"""The body of one note: 1 MB."""


def make_dirty(contents: Contents, rng: Random) -> None:
    """Changes every fourth record of the main entities.

    Ids, states, currencies and the two dates of each record stay as they are.
    """
    turns = count()
    for entity in _ENTITIES:
        table = contents.tables[entity]
        keys = list(table)
        for key, neighbour in zip(keys[1::4], keys[::4], strict=False):
            record = parse(table[key])
            if entity == "contacts":
                record["EMAIL_ADDRESS"] = parse(table[neighbour])["EMAIL_ADDRESS"].upper()
            for field in facts_of(entity).fields.values():
                if not _KEPT.fullmatch(field.name) and rng.random() < 0.4:
                    record[field.name] = _spoiled(field, record[field.name], next(turns))
            table[key] = dump(record)
    first = next(iter(contents.tables["notes"]))
    contents.tables["notes"][first] = dump(parse(contents.tables["notes"][first]) | {"BODY": _LONG})


def _spoiled(field: Field, value: Any, turn: int) -> Any:
    if field.type in {"date", "datetime"}:
        return value and nth(DIRTY["dates"], turn)
    if field.type != "string":
        return value
    for pattern, texts in DIRTY.items():
        if re.search(pattern, field.name):
            return nth(texts, turn)
    return f"  {value}\u00a0" if value else ""
