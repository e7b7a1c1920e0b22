"""The requests of a push: a record created, changed or deleted, and its tags.

A write raises UnresolvedWrite if it may or may not have been carried out (see `client.send`).
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from sources.insightly.api.json_body import parse
from sources.insightly.api.messages import Request, Response
from sources.insightly.context import Record, SyncContext
from sources.insightly.entities import ENTITIES, Entity
from sources.insightly.errors import NotAvailable, UnresolvedWrite


def create(context: SyncContext, entity: Entity, body: Mapping[str, Any], parent: tuple[str, int] | None = None) -> int:
    """Creates a record, under the parent (entity, id) if the API requires one; returns its id.

    Raises:
        UnresolvedWrite: also if the response has no id.
    """
    path = entity.path if parent is None else f"{ENTITIES[parent[0]].path}/{parent[1]}/{entity.path}"
    response, key = _send(context, entity, "POST", path, body), entity.key[0]
    id_ = (_parse_object(response) or {}).get(key)
    if isinstance(id_, int) and not isinstance(id_, bool):
        return id_
    raise UnresolvedWrite(f"POST /{path}: {response.status} without the {key} of the new record", path=f"/{path}")


def update(
    context: SyncContext, entity: Entity, id_: int, fields: Mapping[str, Any], etag: str | None = None
) -> Record | None:
    """Sets fields of a record, with an `etag` only if the record still has it.

    Returns:
        The record in the response, None if the response has none.
    """
    headers = {} if etag is None else {"If-Match": etag}
    body = {entity.key[0]: id_, **fields}
    return _parse_object(_send(context, entity, "PUT", str(entity.update), body, headers))


def delete(context: SyncContext, entity: Entity, id_: int) -> None:
    _send(context, entity, "DELETE", str(entity.delete).format(id=id_))


def add_tag(context: SyncContext, entity: Entity, id_: int, name: str) -> None:
    _send(context, entity, "POST", _tags_path(entity, id_), {"TAG_NAME": name})


def set_tags(context: SyncContext, entity: Entity, id_: int, names: Sequence[str]) -> None:
    """Sends the tags of a record. The API does not document whether it keeps the record's other tags (api.md 6)."""
    _send(context, entity, "PUT", _tags_path(entity, id_), [{"TAG_NAME": name} for name in names])


def remove_tag(context: SyncContext, entity: Entity, id_: int, name: str) -> None:
    _send(context, entity, "DELETE", _tags_path(entity, id_), {"TAG_NAME": name})


def tag_names(context: SyncContext, entity: Entity, id_: int) -> list[str]:
    """The tags of a record. Raises NotAvailable if there is no such record."""
    rows = context.client.get_list(_tags_path(entity, id_), {}, label="tags")[0]
    return [str(row.get("TAG_NAME")) for row in rows]


def read_record(context: SyncContext, entity: Entity, id_: int) -> Record:
    """One record in full. Raises NotAvailable if it cannot be read."""
    return context.client.get_object(str(entity.get).format(id=id_), {}, label=entity.name)[0]


def service_time(context: SyncContext, label: str, may_call: bool = False) -> datetime:
    """Now by the service's clock, at most a second early; by the local clock before the first response.

    Args:
        context: the run.
        label: the label under which a call is counted.
        may_call: send one call if no response had the service's time yet.
    """
    if may_call and context.client.clock_skew is None:
        with suppress(NotAvailable):  # that response has the time too
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
    content = None if body is None else orjson.dumps(body)
    content_type = {} if body is None else {"Content-Type": "application/json"}
    label = "tags" if path.endswith("/Tags") else entity.name
    return context.client.send(Request(method, path, None, label, content, {**content_type, **(headers or {})}))


def _parse_object(response: Response) -> Record | None:
    try:
        value = parse(response.body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _tags_path(entity: Entity, id_: int) -> str:
    return f"{entity.path}/{id_}/{ENTITIES['tags'].path}"
