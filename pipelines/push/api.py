"""What a push asks of the API: one record created, changed or deleted, its tags, and the look-ups that need no id.

A write may raise UnresolvedWrite: it was carried out, or it was not (see `client.send`).
"""

import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from sources.insightly.api.json_body import parse
from sources.insightly.api.messages import Request, Response
from sources.insightly.context import Record, SyncContext
from sources.insightly.entities import ENTITIES, Entity
from sources.insightly.errors import NotAvailable, UnresolvedWrite
from sources.insightly.paging.prefetch import read_list
from sources.insightly.resources.fetch import page_reader
from sources.insightly.state.times import iso

MOST_MATCHES = 100
"""Records of one value that a search for it asks for."""


def create(context: SyncContext, entity: Entity, body: Mapping[str, Any], parent: tuple[str, int] | None = None) -> int:
    """Creates a record, under a parent (entity, id) where the API wants that; returns its id.

    Raises:
        UnresolvedWrite: also where the answer names no id.
    """
    path = entity.path if parent is None else f"{ENTITIES[parent[0]].path}/{parent[1]}/{entity.path}"
    answer, key = _send(context, entity, "POST", path, body), entity.key[0]
    id_ = (_object(answer) or {}).get(key)
    if isinstance(id_, int):
        return id_
    raise UnresolvedWrite(f"POST /{path}: {answer.status} without the {key} of what was made", path=f"/{path}")


def update(
    context: SyncContext, entity: Entity, id_: int, fields: Mapping[str, Any], etag: str | None = None
) -> Record | None:
    """Sets the given fields of a record, only if its ETag is still `etag` where one is given.

    Returns:
        The record as the answer tells it, None where it tells none.
    """
    headers = {} if etag is None else {"If-Match": etag}
    return _object(_send(context, entity, "PUT", str(entity.update), {entity.key[0]: id_, **fields}, headers))


def delete(context: SyncContext, entity: Entity, id_: int) -> None:
    """Deletes a record."""
    _send(context, entity, "DELETE", str(entity.delete).format(id=id_))


def add_tag(context: SyncContext, entity: Entity, id_: int, name: str) -> None:
    """Adds one tag to a record."""
    _send(context, entity, "POST", _tags_path(entity, id_), {"TAG_NAME": name})


def set_tags(context: SyncContext, entity: Entity, id_: int, names: Sequence[str]) -> None:
    """Sends the set of a record's tags; whether others stay is not known of the API (API.md 6)."""
    _send(context, entity, "PUT", _tags_path(entity, id_), [{"TAG_NAME": name} for name in names])


def remove_tag(context: SyncContext, entity: Entity, id_: int, name: str) -> None:
    """Removes one tag of a record."""
    _send(context, entity, "DELETE", _tags_path(entity, id_), {"TAG_NAME": name})


def tag_names(context: SyncContext, entity: Entity, id_: int) -> list[str]:
    """The tags of a record. Raises NotAvailable where there is no such record."""
    rows = context.client.get_list(_tags_path(entity, id_), {}, label="tags")[0]
    return [str(row.get("TAG_NAME")) for row in rows]


def read_record(context: SyncContext, entity: Entity, id_: int) -> Record:
    """One record in full. Raises NotAvailable where it cannot be read."""
    return context.client.get_object(str(entity.get).format(id=id_), {}, label=entity.name)[0]


def search(context: SyncContext, entity: Entity, field: str, value: str) -> list[Record]:
    """The records that the API finds by the exact value of one field (API.md 7.1)."""
    params: dict[str, str | int] = {"field_name": field, "field_value": value, "top": MOST_MATCHES}
    return context.client.get_list(str(entity.search_path), params, label=entity.name)[0]


def changed_since(context: SyncContext, entity: Entity, moment: datetime) -> list[Record]:
    """The records created or changed at `moment` or later, in full."""
    fetch = page_reader(context, entity, iso(moment - timedelta(seconds=1)))
    try:
        return [row for step in read_list(fetch, entity.key[0]) for row in step.rows]
    finally:
        fetch.close()
        context.page_readers.clear()


def service_clock(context: SyncContext, label: str, ask: bool = False) -> datetime:
    """The present moment by the service's clock, at most a second early; ours as long as no answer told it.

    Args:
        context: the run.
        label: for whom a call is counted.
        ask: whether one call may be spent where no answer told it yet.
    """
    if ask and context.client.clock_skew is None:
        with contextlib.suppress(NotAvailable):  # that answer tells the time as well
            context.client.get("Users/Me", label=label)
    return datetime.now(UTC) + timedelta(seconds=context.client.clock_skew or 0.0)


def _send(
    context: SyncContext,
    entity: Entity,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    told = None if body is None else orjson.dumps(body)
    kind = {} if body is None else {"Content-Type": "application/json"}
    label = "tags" if path.endswith("/Tags") else entity.name
    return context.client.send(Request(method, path, None, label, told, {**kind, **(headers or {})}))


def _object(answer: Response) -> Record | None:
    try:
        value = parse(answer.body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _tags_path(entity: Entity, id_: int) -> str:
    return f"{entity.path}/{id_}/{ENTITIES['tags'].path}"
