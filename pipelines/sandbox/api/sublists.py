"""Child rows (API.md 8): comments, files, list memberships, documents of quotes. `name` of the exchange is theirs."""

from email import message_from_bytes
from email.policy import HTTP
from typing import Any

from pipelines.sandbox.store.child_rows import Parent
from pipelines.sandbox.store.shapes import Record
from pipelines.sandbox.store.table import dump
from sources.insightly.entities import ENTITIES

from .exchange import Exchange
from .messages import ApiError, Response, empty_response, json_response
from .query import page_response, updated_after
from .validate import require


def list_rows(x: Exchange) -> Response:
    rows = x.store.child_rows.of(x.name, *_parent(x))
    if not ENTITIES[x.name].paged:
        return json_response(200, rows)
    date_filter = updated_after(x.query, x.switches)
    if date_filter is not None:
        rows = [row for row in rows if date_filter[1](0, dump(row))]
    return page_response(rows, x.query, x.switches)


def create_row(x: Exchange) -> Response:
    parent, fields = _parent(x), x.writable(x.name, x.sent)
    require(x.name, fields)
    return json_response(201, _add(x, parent, fields))


def upload(x: Exchange) -> Response:
    """Takes a multipart body with one file."""
    parent, kind = _parent(x), x.request.headers.get("content-type", "")
    body = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + x.request.body, policy=HTTP)
    file = next((part for part in body.iter_parts() if part.get_filename()), None)
    if file is None:
        raise ApiError(400, "The request body must be multipart/form-data with a file.")
    content = file.get_payload(decode=True)
    content = content if isinstance(content, bytes) else b""
    fields = {"FILE_NAME": file.get_filename(), "CONTENT_TYPE": file.get_content_type(), "FILE_SIZE": len(content)}
    row = _add(x, parent, fields)
    x.store.child_rows.files[row["FILE_ID"]] = content
    return json_response(201, row)


def read_file(x: Exchange) -> Response:
    """The row with `format=JSON`, else the content of the file: what was uploaded, or zeros in its size."""
    _, row = _found(x)
    if x.query.get("format", "").lower() == "json":
        return json_response(200, row)
    content = x.store.child_rows.files.get(row["FILE_ID"])
    content = bytes(row["FILE_SIZE"] or 0) if content is None else content
    return Response(200, {"Content-Type": "application/octet-stream"}, content)


def change_comment(x: Exchange) -> Response:
    x.check(x.name)
    sent, fields = x.sent, x.writable(x.name, x.sent)
    if fields.get("BODY") in (None, ""):
        raise ApiError(400, "BODY is required.")
    try:
        id_ = int(sent.get("COMMENT_ID") or 0)
        return json_response(200, x.store.child_rows.update(x.name, id_, fields, x.switches.comment_moves_date))
    except (KeyError, ValueError, TypeError):
        raise ApiError(404, f"The record with id {sent.get('COMMENT_ID')} was not found in Comments.") from None


def remove_row(x: Exchange) -> Response:
    """Of a path that does not name the parent."""
    return _remove(x, _found(x)[0], x.item)


def remove_document(x: Exchange) -> Response:
    return _remove(x, _parent(x), x.item)


def join_list(x: Exchange) -> Response:
    parent, list_id = _parent(x), _list_id(x.body)
    if list_id not in _lists(x, parent):
        _add(x, parent, {"LIST_ID": list_id})
    return json_response(201, {"LIST_ID": list_id})


def put_lists(x: Exchange) -> Response:
    """An array replaces all memberships."""
    parent, body = _parent(x), x.body
    if not isinstance(body, list):
        raise ApiError(400, "The request body must be an array.")
    present, ids = _lists(x, parent), list(dict.fromkeys(map(_list_id, body)))
    for id_ in ids:
        if id_ not in present:
            _add(x, parent, {"LIST_ID": id_})
    for id_ in present:
        if id_ not in ids:
            _remove(x, parent, id_)
    return json_response(x.switches.put_status, [{"LIST_ID": id_} for id_ in ids])


def leave_list(x: Exchange) -> Response:
    return _remove(x, _parent(x), _list_id(x.body))


def _parent(x: Exchange) -> Parent:
    """The record, or the comment, that the path names; raises a 404 if there is none."""
    x.check(x.name)
    if x.entity == "comments":
        _found(x)
        return "comments", x.item
    x.require_record()
    return x.entity, x.key


def _found(x: Exchange) -> tuple[Parent, Record]:
    """The row that the path names by its id alone, and its parent."""
    entity = x.entity or x.name
    x.check(entity)
    found = x.store.child_rows.find(entity, x.item)
    if found is None:
        raise ApiError(404, f"The record with id {x.item} was not found in {entity}.")
    return found


def _add(x: Exchange, parent: Parent, fields: Record) -> Record:
    users = ENTITIES[x.name].fields.keys() & {"OWNER_USER_ID", "CREATED_USER_ID"}
    return x.store.child_rows.add(x.name, *parent, dict.fromkeys(users, x.user) | fields, x.switches.comment_moves_date)


def _remove(x: Exchange, parent: Parent, id_: int) -> Response:
    try:
        x.store.child_rows.remove(x.name, id_, parent, x.switches.comment_moves_date)
    except KeyError:
        raise ApiError(404, f"The record with id {id_} was not found.") from None
    return empty_response(202)


def _lists(x: Exchange, parent: Parent) -> list[int]:
    return [row["LIST_ID"] for row in x.store.child_rows.of(x.name, *parent)]


def _list_id(sent: Any) -> int:
    id_ = sent.get("LIST_ID") if isinstance(sent, dict) else None
    if not isinstance(id_, int) or isinstance(id_, bool):
        raise ApiError(400, "LIST_ID is required.")
    return id_
