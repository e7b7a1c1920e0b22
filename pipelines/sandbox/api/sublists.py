"""Child rows that are not written as records are (API.md 8): files, comments by their id, memberships of lists."""

from email import message_from_bytes
from email.policy import HTTP
from typing import Any

from .exchange import Exchange
from .messages import ApiError, Response, empty_response, json_response
from .reads import single
from .validate import writable
from .writes import created, update


def upload(x: Exchange) -> Response:
    """Takes a multipart body with one file."""
    kind = x.request.headers.get("content-type", "")
    body = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + x.request.body, policy=HTTP)
    file = next((part for part in body.iter_parts() if part.get_filename()), None)
    if file is None:
        raise ApiError(400, "The request body must be multipart/form-data with a file.")
    content = file.get_payload(decode=True)
    content = content if isinstance(content, bytes) else b""
    fields = {"FILE_NAME": file.get_filename(), "CONTENT_TYPE": file.get_content_type(), "FILE_SIZE": len(content)}
    parent, x.entity = (x.entity, x.key), x.name
    response = created(x, fields, parent)
    x.store.files[x.key] = content
    return response


def read_file(x: Exchange) -> Response:
    """The row with `format=JSON`, else the content of the file: what was uploaded, or zeros in its size."""
    if x.query.get("format", "").lower() == "json":
        return single(x)
    content = x.store.files.get(x.key) or bytes(x.record["FILE_SIZE"] or 0)
    return Response(200, {"Content-Type": "application/octet-stream"}, content)


def change_comment(x: Exchange) -> Response:
    if writable(x).get("BODY") in (None, ""):
        raise ApiError(400, "BODY is required.")
    return update(x)


def join_list(x: Exchange) -> Response:
    list_id = _list_id(x.body)
    _set_lists(x, [*_lists(x), list_id])
    return json_response(201, {"LIST_ID": list_id})


def put_lists(x: Exchange) -> Response:
    """An array replaces all memberships."""
    if not isinstance(x.body, list):
        raise ApiError(400, "The request body must be an array.")
    ids = list(dict.fromkeys(map(_list_id, x.body)))
    _set_lists(x, ids)
    return json_response(x.switches.put_status, [{"LIST_ID": id_} for id_ in ids])


def leave_list(x: Exchange) -> Response:
    list_id, stored = _list_id(x.body), _lists(x)
    if list_id not in stored:
        raise ApiError(404, f"The record with id {list_id} was not found.")
    _set_lists(x, [id_ for id_ in stored if id_ != list_id])
    return empty_response(202)


def _lists(x: Exchange) -> list[int]:
    return [row["LIST_ID"] for row in x.store.children(x.name, x.entity, x.key)]


def _set_lists(x: Exchange, ids: list[int]) -> None:
    """Makes the record a member of these lists alone."""
    stored, touch = _lists(x), x.switches.comment_moves_date
    for id_ in stored:
        if id_ not in ids:
            x.store.delete(x.name, f"{x.key} {id_}", touch)
    for id_ in ids:
        if id_ not in stored:
            x.store.create(x.name, {"LIST_ID": id_}, (x.entity, x.key), touch)


def _list_id(sent: Any) -> int:
    id_ = sent.get("LIST_ID") if isinstance(sent, dict) else None
    if not isinstance(id_, int) or isinstance(id_, bool):
        raise ApiError(400, "LIST_ID is required.")
    return id_
