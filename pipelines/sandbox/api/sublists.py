"""The routes of child rows (API.md 8): comments, files, list memberships, documents of quotes."""

from collections.abc import Mapping
from email import message_from_bytes
from email.policy import HTTP
from typing import Any

import orjson

from pipelines.sandbox.store.child_rows import CHILD_ENTITIES, Parent
from pipelines.sandbox.store.shapes import Record, facts_of
from pipelines.sandbox.store.table import dump
from sources.insightly.entities import ENTITIES

from .account import Account
from .messages import (
    ApiError,
    Handler,
    Request,
    Response,
    empty_response,
    handler_for,
    json_response,
    record_not_found,
)
from .query import page_response, updated_after
from .validate import json_body, json_object, require
from .writes import Writer

_LISTS = {
    (path.lower(), ENTITIES[name].sub_path.lower()): name
    for name in CHILD_ENTITIES
    for path in ENTITIES[name].path.partition("/")[0].strip("{}").split("|")
}
"""(First and last part of a path, in lower case) -> the entity it lists."""
_BY_ID = {"comments": "comments", "fileattachments": "file_attachments"}
"""The paths to a single row that do not name its parent."""


class ChildRoutes:
    """Responds to one request for child rows; other paths get None."""

    def __init__(self, writer: Writer, account: Account, request: Request) -> None:
        self.writer, self.account, self.request = writer, account, request
        self.store, self.switches, self.child_rows = writer.store, writer.switches, writer.store.child_rows

    def of_record(self, parent: str, key: int, rest: list[str]) -> Response | None:
        """The response to `/{parent}/{key}/{rest}`."""
        part = rest[0].lower()
        custom = "file_attachments" if parent not in ENTITIES and part == "fileattachments" else None
        entity = _LISTS.get((facts_of(parent).path.lower(), part), custom)
        if entity is None or len(rest) > 2:
            return None
        if self.store.get(parent, key) is None:
            raise record_not_found(parent, key)
        return self._of_parent(entity, (parent, key), rest[1:])

    def by_id(self, head: str, rest: list[str]) -> Response | None:
        """The response to `/Comments`, `/Comments/{id}`, `/Comments/{id}/FileAttachments`, `/FileAttachments/{id}`."""
        if head not in _BY_ID or not (rest or head == "comments"):
            return None
        entity = _BY_ID[head]
        self.account.check(entity)
        if not rest:
            return self._call({"PUT": self._change_comment})
        id_ = _number(rest[0])
        found = None if id_ is None else self.child_rows.find(entity, id_)
        if id_ is None or found is None:
            raise ApiError(404, f"The record with id {rest[0]} was not found in {head}.")
        parent, row = found
        if len(rest) > 1:
            files = _LISTS.get((head, rest[1].lower()))
            return None if files is None or len(rest) > 2 else self._of_parent(files, (entity, id_), [])
        handlers: dict[str, Handler] = {"DELETE": lambda: self._remove(entity, parent, id_)}
        return self._call(handlers | ({"GET": lambda: self._file(row)} if head != "comments" else {}))

    def _of_parent(self, entity: str, parent: Parent, rest: list[str]) -> Response | None:
        self.account.check(entity)
        if rest:
            id_ = _number(rest[0])
            if entity != "quotation_documents" or id_ is None:
                return None
            return self._call({"DELETE": lambda: self._remove(entity, parent, id_)})
        handlers: dict[str, Handler] = {"GET": lambda: self._list(entity, parent)}
        if entity == "static_list_memberships":
            handlers |= {"POST": lambda: self._join(parent), "PUT": lambda: self._join(parent)}
            handlers["DELETE"] = lambda: self._remove(entity, parent, _list_id(json_body(self.request.body)))
        elif entity == "file_attachments" and parent[0] != "emails":
            handlers["POST"] = lambda: self._upload(parent)
        elif entity != "file_attachments" and "C" in ENTITIES[entity].can:
            handlers["POST"] = lambda: self._create(entity, parent)
        return self._call(handlers)

    def _call(self, handlers: Mapping[str, Handler]) -> Response:
        with self.store.lock:
            return handler_for(self.request, handlers)()

    def _list(self, entity: str, parent: Parent) -> Response:
        rows, query = self.child_rows.of(entity, *parent), self.request.query
        if not ENTITIES[entity].paged:
            return json_response(200, rows)
        date_filter = updated_after(query, self.switches)
        if date_filter is not None:
            rows = [row for row in rows if date_filter[1](0, dump(row))]
        return page_response(rows, query, self.switches)

    def _create(self, entity: str, parent: Parent) -> Response:
        fields = self.writer.writable(entity, json_object(self.request.body))
        require(entity, fields)
        return self._add(entity, parent, fields)

    def _add(self, entity: str, parent: Parent, fields: Record) -> Response:
        users = ENTITIES[entity].fields.keys() & {"OWNER_USER_ID", "CREATED_USER_ID"}
        row = dict.fromkeys(users, self.writer.user) | fields
        return json_response(201, self.child_rows.add(entity, *parent, row, self.switches.comment_moves_date))

    def _upload(self, parent: Parent) -> Response:
        """Takes a multipart body with one file."""
        kind = self.request.headers.get("content-type", "")
        body = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + self.request.body, policy=HTTP)
        file = next((part for part in body.iter_parts() if part.get_filename()), None)
        if file is None:
            raise ApiError(400, "The request body must be multipart/form-data with a file.")
        content = file.get_payload(decode=True)
        content = content if isinstance(content, bytes) else b""
        fields = {"FILE_NAME": file.get_filename(), "CONTENT_TYPE": file.get_content_type(), "FILE_SIZE": len(content)}
        made = self._add("file_attachments", parent, fields)
        self.child_rows.files[orjson.loads(made.body)["FILE_ID"]] = content
        return made

    def _file(self, row: Record) -> Response:
        """The row with `format=JSON`, else the content of the file: what was uploaded, or zeros in its size."""
        if self.request.query.get("format", "").lower() == "json":
            return json_response(200, row)
        content = self.child_rows.files.get(row["FILE_ID"])
        return Response(
            200,
            {"Content-Type": "application/octet-stream"},
            bytes(row["FILE_SIZE"] or 0) if content is None else content,
        )

    def _change_comment(self) -> Response:
        sent = json_object(self.request.body)
        fields = self.writer.writable("comments", sent)
        if fields.get("BODY") in (None, ""):
            raise ApiError(400, "BODY is required.")
        try:
            id_ = int(sent.get("COMMENT_ID") or 0)
            row = self.child_rows.update("comments", id_, fields, self.switches.comment_moves_date)
        except (KeyError, ValueError, TypeError):
            raise ApiError(404, f"The record with id {sent.get('COMMENT_ID')} was not found in Comments.") from None
        return json_response(200, row)

    def _remove(self, entity: str, parent: Parent, id_: int) -> Response:
        try:
            self.child_rows.remove(entity, id_, parent, self.switches.comment_moves_date)
        except KeyError:
            raise ApiError(404, f"The record with id {id_} was not found.") from None
        return empty_response(202)

    def _join(self, parent: Parent) -> Response:
        """POST adds one list, PUT replaces all of them by an array."""
        entity, replaces = "static_list_memberships", self.request.method == "PUT"
        body = json_body(self.request.body)
        if replaces != isinstance(body, list):
            raise ApiError(400, f"The request body must be {'an array' if replaces else 'an object'}.")
        ids = [_list_id(item) for item in (body if replaces else [body])]
        present = [row["LIST_ID"] for row in self.child_rows.of(entity, *parent)]
        for id_ in dict.fromkeys(ids):
            if id_ not in present:
                self.child_rows.add(entity, *parent, {"LIST_ID": id_}, self.switches.comment_moves_date)
        for id_ in present if replaces else ():
            if id_ not in ids:
                self._remove(entity, parent, id_)
        sent = [{"LIST_ID": id_} for id_ in ids]
        return json_response(self.switches.put_status, sent) if replaces else json_response(201, sent[0])


def _list_id(sent: Any) -> int:
    id_ = sent.get("LIST_ID") if isinstance(sent, dict) else None
    if not isinstance(id_, int) or isinstance(id_, bool):
        raise ApiError(400, "LIST_ID is required.")
    return id_


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
