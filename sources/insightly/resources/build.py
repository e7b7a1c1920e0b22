"""Entities -> dlt resources."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dlt
from dlt.extract import DltResource

from ..context import SyncContext
from ..entities import OBJECTS, RECORDS, Entity, ReadMode
from ..errors import EndlessList, Stop
from ..result import EntityResult
from ..state.checkpoint import Checkpoint, begin, restart
from ..state.request import ReadRequest
from ..state.watermark import watermark_in
from .describe import describe
from .discovery import discover_objects, find_objects, record_refusals
from .fetch import page_reader
from .hints import GROUPS, MERGE, empty_tables
from .incremental import read_changes, with_state
from .owner import refuse_dataset_of_command
from .per_parent import read_per_parent
from .reference import read_reference
from .selected import read_selected

Reader = Callable[[Entity, SyncContext, ReadRequest, EntityResult], Iterator[Any]]

READERS: dict[ReadMode, Reader] = {
    "incremental": read_changes,
    "full": read_changes,
    "reference": read_reference,
    "object": read_reference,
    "per_parent": read_per_parent,
}


def resource_of(entity: Entity, request: ReadRequest, context: SyncContext) -> DltResource:
    """The dlt resource of one entity; its child tables are variants of it, so all are selected together."""

    def records() -> Iterator[Any]:
        return _read(entity, request, context)

    return dlt.resource(records, name=entity.name, primary_key=list(entity.key), write_disposition=MERGE)


def resource_of_objects(name: str, request: ReadRequest, context: SyncContext) -> DltResource:
    """The dlt resource that finds the custom objects, and reads their records.

    A runner gives each custom object a resource of its own once it is known; then nothing is read here.

    Args:
        name: the one custom object to read, or `custom_object_records` for all.
        request: what the run requests.
        context: the run.
    """

    def objects() -> Iterator[Any]:
        context.catalog.add(dlt.current.source_state().get(OBJECTS, {}))
        if name == RECORDS:
            with context.reading(name) as result:
                context.save_account()
                if context.chunk.full:
                    return
                refused = discover_objects(context)
                result.end(dlt.current.resource_state())
                record_refusals(result, refused)
        else:
            find_objects(context, [name])
        for each in context.catalog.with_objects([name]) if context.chunk.endless else ():
            if each in context.catalog.objects:
                yield from _read(context.catalog.objects[each], request, context)

    return dlt.resource(objects, name=name, write_disposition=MERGE)


def _read(entity: Entity, request: ReadRequest, context: SyncContext) -> Iterator[Any]:
    if not context.result(entity.name).open:
        return
    if not context.dataset_checked:
        refuse_dataset_of_command()
        context.dataset_checked = True
    context.record_earlier_read(entity.name, dlt.current.resource_state(entity.name))
    with context.reading(entity.name) as result:
        context.save_account()
        read = read_selected if request.selects else READERS[entity.read]
        for table in read(entity, context, context.request_for(entity, request), result):
            context.chunk.add_rows(table.data.nbytes)
            yield table
        if not result.open:
            yield from empty_tables(entity, context)
        describe(context)
    if result.error is not None and not isinstance(result.error, Stop) and not request.selects:
        # The next full read starts again, because this entity may fail in every run; only a stop is resumed.
        state = dlt.current.resource_state(entity.name)
        state.pop("full", None)
        if isinstance(result.error, EndlessList) and entity.read != "per_parent":
            restart(state)


def checkpoint_in(entity: Entity, state: Mapping[str, Any], request: ReadRequest, context: SyncContext) -> Checkpoint:
    """Where the walk of an entity starts, by the state of its resource, which is not changed."""
    copy = dict(state)
    return begin(copy, watermark_in(entity, copy), with_state(context.request_for(entity, request), entity, copy))


def prime(
    entity: Entity, state: Mapping[str, Any], request: ReadRequest, context: SyncContext, patiently: bool = False
) -> None:
    """Requests the first page of an entity, so that entities do not wait for each other's first response.

    Args:
        entity: the entity.
        state: that of its resource.
        request: what the run requests of it.
        context: the run.
        patiently: whether to wait for the response: it may say that the key is invalid, or that no call is left.
    """
    known = entity.name == OBJECTS and context.catalog.definitions is not None
    if entity.name in (*GROUPS, RECORDS) or entity.read in ("object", "per_parent") or known or request.selects:
        return
    checkpoint = checkpoint_in(entity, state, request, context) if entity.swept else Checkpoint(None)
    reader = page_reader(context, entity, checkpoint.since, max_rows=state.get("page_rows"))
    reader.prime(checkpoint.skip, patiently)
