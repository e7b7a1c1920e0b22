"""What a page of records needs beyond itself: the definitions of its custom fields, and tags its payload lacks."""

from collections.abc import Iterator
from typing import Any

from ..context import Record, SyncContext
from ..entities import ENTITIES, Entity
from ..errors import Forbidden
from ..paging.digests import digest
from ..result import EntityResult
from ..rows.custom_fields import definitions_of, object_of
from ..rows.shaper import RowShaper
from .fetch import read_definitions, tags_of
from .hints import marked, shaper_of
from .reference import GROUPS, changed, definitions_kept


def define(entity: Entity, context: SyncContext, shaper: RowShaper) -> None:
    """Asks for the definitions once a run, when the first records came."""
    if entity.custom_fields and not shaper.defined:
        told = read_definitions(context, entity)
        shaper.define(None if told is None else definitions_of(entity, told))


def definition_tables(entity: Entity, context: SyncContext) -> Iterator[Any]:
    """The definitions themselves, for the table `custom_fields`, when they changed."""
    told = context.definitions.get(entity.name)
    if told is None:
        return
    mine = definitions_of(entity, told)
    shaper, name = shaper_of(ENTITIES["custom_fields"], context, GROUPS["custom_fields"]), object_of(entity, mine)
    if changed(definitions_kept(), name, digest(shaper.masked(mine))):
        yield from marked(shaper.shape_groups([(dict.fromkeys(shaper.group, name), mine)]))


def fill_tags(entity: Entity, context: SyncContext, records: list[Record], result: EntityResult) -> list[Record]:
    """Asks for the tags of records whose payload does not tell them (`auto`), or of every record (`endpoint`).

    `embedded` leaves records as they are; `off` takes the tags from them.

    Returns:
        The records that are complete: all, or as many from the first on as the calls left are enough for.
    """
    mode = context.settings.tags
    if mode == "off":
        for record in records:
            record.pop("TAGS", None)
    if not entity.tagged or mode in ("embedded", "off"):
        return records
    asked = [record for record in records if mode == "endpoint" or record.get("TAGS") is None]
    if asked:
        context.tags_cost_calls.add(entity.name)
    left = context.budget.left()
    if left is not None and left < len(asked):
        records = records[: next(index for index, record in enumerate(records) if record is asked[left])]
        asked = asked[:left]
    try:
        answers = tags_of(context, entity, [record[entity.key[0]] for record in asked])
    except Forbidden as error:
        result.notes.append(f"tags of {entity.name} may not be read: {error}")
        return records
    gone = 0
    for record, tags in zip(asked, answers, strict=True):
        if tags is None:
            gone += 1
            record.pop("TAGS", None)
        else:
            record["TAGS"] = tags
    if gone:
        result.notes.append(f"{gone} records of {entity.name} went away before their tags were read")
    return records
