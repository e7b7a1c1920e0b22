"""Deterministic data for an account: the same seed, scale and time give the same bytes."""

import gc
from datetime import UTC, datetime
from functools import cache

from pipelines.sandbox.store.shapes import HISTORY, Parent, Record, definition, facts_of, key_of, parent_field
from pipelines.sandbox.store.store import Contents
from pipelines.sandbox.store.table import dump
from sources.insightly.entities import DATE_CREATED, DATE_UPDATED

from . import records
from .data import CHILDREN, CUSTOM_FIELDS, FACTS
from .dirty import make_dirty
from .fill import Row, fill
from .story import Story, at

SEED_NOW = datetime(2026, 11, 1, tzinfo=UTC)
"""When the generated history ends; fixed, so that the data are the same on every day."""


def generate(seed: int = 1, scale: float = 1, now: datetime = SEED_NOW, dirty: bool = False) -> Contents:
    """An account with a history of three years that ends at `now`.

    Args:
        seed: any integer; another seed gives other people, deals and dates.
        scale: of the sizes in `data.toml`, but never less than one of each; the fixed lists do not grow.
        now: an aware datetime.
        dirty: some values are as in accounts that people have typed into for years (see `make_dirty`).
    """
    collecting = gc.isenabled()
    # No object is part of a cycle, and collecting garbage among millions of new ones doubles the time.
    gc.disable()
    try:
        story = Story(seed, scale, now)
        contents = _write(story)
        if dirty:
            make_dirty(contents, story.rng)
        return contents
    finally:
        if collecting:
            gc.enable()


def _write(story: Story) -> Contents:
    contents = Contents(definitions=_definitions())
    for entity in FACTS:
        writer = vars(records).get(entity)  # without one, `data.toml` and `fill` say everything
        for number, created in enumerate(story.created[entity]):
            row = Row(story, entity, number, created)
            record = fill(row, writer(row) if writer else {})
            story.created[entity][number] = row.created
            _add(contents, entity, record)
            _add_children(contents, row, record)
    return contents


def _add_children(contents: Contents, row: Row, record: Record) -> None:
    """The first child row of a record has its date of creation, others that of its update."""
    parent = row.entity, row.id
    for state in records.states(row) if row.entity == "opportunities" else ():
        _add(contents, HISTORY, state, parent)
    for entity, every in _children_of(row.entity):
        if row.number % every:
            continue
        for place in range(1 + int(row.story.rng.random() ** 3 * 4)):
            number = len(contents.tables.get(entity, ()))
            child = Row(row.story, entity, number, row.updated if place else row.created)
            stamps = dict.fromkeys({DATE_CREATED, DATE_UPDATED} & facts_of(entity).fields.keys(), at(child.created))
            made = fill(child, parent_field(entity, parent) | stamps | records.child_row(child, place, record))
            child.updated = child.created
            _add(contents, entity, made, parent)
            _add_children(contents, child, made)


def _add(contents: Contents, entity: str, record: Record, parent: Parent | None = None) -> None:
    key = key_of(entity, record, parent)
    contents.tables.setdefault(entity, {})[key] = dump(record)
    if parent:
        contents.parents.setdefault(entity, {})[key] = parent


@cache
def _children_of(parent: str) -> list[tuple[str, int]]:
    return [(entity, facts[parent]) for entity, facts in CHILDREN.items() if parent in facts]


def _definitions() -> list[Record]:
    made: list[Record] = []
    for field_for, fields in CUSTOM_FIELDS.items():
        for order, (name, kind, choices) in enumerate(fields, start=1):
            options = choices if kind in {"DROPDOWN", "MULTISELECT"} else ()
            join = choices[0] if kind == "LOOKUP" else ""
            made.append(definition(field_for, name, kind, order, options=options, join=join))
            if options:
                made[-1] |= {"FIELD_HELP_TEXT": "Choose from the list.", "DEFAULT_VALUE": options[0]}
            if options and order > 1:
                made[-1]["DEPENDENCY"] = {"CONTROLLING_FIELD_ID": fields[0][0], "OPTIONS_FILTERS": []}
    return made
