"""Entities -> dlt resources."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dlt
from dlt.extract import DltResource

from ..context import SyncContext
from ..entities import DATE_UPDATED, OBJECTS, RECORDS, Entity, ReadMode
from ..errors import Stop
from ..result import EntityResult
from ..state.checkpoint import Checkpoint, begin
from ..state.watermark import Held, Watermark, watermark_in
from .discovery import discover, find, tell
from .fetch import page_reader
from .hints import MERGE
from .incremental import read_changes, wish_in
from .per_parent import read_under
from .reference import GROUPS, read_reference
from .selected import refresh

READERS: dict[ReadMode, Callable[..., Iterator[Any]]] = {
    "incremental": read_changes,
    "full": read_changes,
    "reference": read_reference,
    "object": read_reference,
    "per_parent": read_under,
}


def resource_of(entity: Entity, context: SyncContext) -> DltResource:
    """The dlt resource of one entity; its child tables are variants of it, so all are selected and kept together."""
    # Airflow 3 would hand over an empty interval as the bounds to read between.
    cursor: Any = dlt.sources.incremental(DATE_UPDATED, allow_external_schedulers=False)

    def changes(updated: Any = cursor) -> Iterator[Any]:
        # Its row logic is off: hashes of the boundary rows would grow the state without bound.
        updated.advance(None)
        yield from _changes(entity, context, updated)

    def others() -> Iterator[Any]:
        with context.reading(entity.name) as result:
            context.save_account()
            read = refresh if context.is_selected(entity.name) else READERS[entity.read]
            yield from read(entity, context, result)
        _give_up_on_full(entity, context, result)

    hints: Any = {"name": entity.name, "primary_key": list(entity.key), "write_disposition": MERGE}
    return dlt.resource(changes if entity.read == "incremental" else others, **hints)


def resource_of_objects(context: SyncContext, name: str = RECORDS) -> DltResource:
    """The dlt resource that finds out which custom objects there are, and reads their records.

    A runner gives each object, once it is known, a resource and turns of its own: there, nothing is read here.

    Args:
        context: the run.
        name: of the one object to read; else all are.
    """

    def objects() -> Iterator[Any]:
        context.know(dlt.current.source_state().get(OBJECTS, {}))
        if name == RECORDS:
            with context.reading(name) as result:
                context.save_account()
                if context.chunk_spent():
                    return
                refused = discover(context)
                context.end(result, dlt.current.resource_state())
                tell(result, refused)
        else:
            find(context, [name])
        for each in [] if context.chunked else context.with_objects([name]):
            if each in context.objects:
                yield from _changes(context.objects[each], context, Held(dlt.current.resource_state(each)))

    return dlt.resource(objects, name=name, write_disposition=MERGE)


def _changes(entity: Entity, context: SyncContext, updated: Watermark) -> Iterator[Any]:
    if not context.result(entity.name).open:
        return
    with context.reading(entity.name) as result:
        context.save_account()
        read = refresh if context.is_selected(entity.name) else READERS[entity.read]
        yield from read(entity, context, result, updated)
    _give_up_on_full(entity, context, result)


def _give_up_on_full(entity: Entity, context: SyncContext, result: EntityResult) -> None:
    """The next full run begins anew, though this entity may fail in every one; only a stop is to be gone on from."""
    failed = result.error is not None and not isinstance(result.error, Stop)
    if failed and not context.is_selected(entity.name):
        dlt.current.resource_state(entity.name).pop("full", None)


def checkpoint_in(entity: Entity, state: Mapping[str, Any], context: SyncContext) -> Checkpoint:
    """Where the session's walk of an entity begins, by its resource's state, which is left as it is."""
    told = dict(state)
    return begin(told, watermark_in(entity, told), wish_in(told, entity, context))


def prime(entity: Entity, context: SyncContext, state: Mapping[str, Any]) -> None:
    """Asks for an entity's first page, so that the entities do not wait for each other's first answer.

    The run's very first answer is waited for: it may say that the key is refused, or that no call is left.
    """
    known = entity.name == OBJECTS and context.told is not None
    if entity.name in (*GROUPS, RECORDS) or entity.read in ("object", "per_parent") or known:
        return
    checkpoint = checkpoint_in(entity, state, context) if entity.swept else Checkpoint(None, None, 0, None)
    page_reader(context, entity, checkpoint.since).prime(checkpoint.skip, patiently=not context.budget.calls)
