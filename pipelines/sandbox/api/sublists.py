"""The routes to what lies below single records (API.md 8): lists, creates, changes and deletes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import HTTP

from pipelines.sandbox.store.child_rows import CHILD_ENTITIES, Parent
from pipelines.sandbox.store.shapes import Record
from pipelines.sandbox.store.table import dump
from sources.insightly.entities import ENTITIES

from .account import Account
from .messages import ApiError, Request, Response, answer, empty
from .query import flag, paging, updated_after
from .validate import json_object, require, writable
from .writes import Writer

_BELOW = {
    (head.lower(), ENTITIES[name].path.rpartition("/")[2].lower()): name
    for name in CHILD_ENTITIES
    for head in ENTITIES[name].path.partition("/")[0].strip("{}").split("|")
}
"""(First and last part of a path, in lower case) -> the entity it leads to."""
_ALONE = {"comments": "comments", "fileattachments": "file_attachments"}
"""Paths that lead to a single row, without the record it lies below."""


@dataclass(frozen=True)
class Asked:
    """A call to the rows of `entity` below the record `at`; `id` of one of them where the path names it."""

    entity: str
    at: Parent
    request: Request
    id: int = 0


_Action = Callable[[Asked], Response]


class Sublists:
    """Answers the calls below records; another path is answered with None."""

    def __init__(self, writer: Writer, account: Account) -> None:
        self.writer, self.account = writer, account
        self.store, self.switches = writer.store, writer.switches
        self.child_rows = writer.store.child_rows

    def handle(self, parent: str, key: int, rest: list[str], request: Request) -> Response | None:
        """The answer to `/{parent}/{key}/{rest}`."""
        name = _BELOW.get((ENTITIES[parent].path.lower(), rest[0].lower()))
        if name is None or len(rest) > 2:
            return None
        if self.store.get(parent, key) is None:
            raise ApiError(404, f"The record with id {key} was not found in {ENTITIES[parent].path}.")
        return self._answer(name, (parent, key), rest[1:], request)

    def alone(self, head: str, rest: list[str], request: Request) -> Response | None:
        """The answer to `/Comments`, `/Comments/{id}`, `/Comments/{id}/FileAttachments` or `/FileAttachments/{id}`."""
        if head not in _ALONE or not (rest or head == "comments"):
            return None
        name = _ALONE[head]
        self.account.check(name)
        id_ = int(rest[0]) if rest and rest[0].isascii() and rest[0].isdigit() else None
        if not rest:
            return self._do({"PUT": self._change_comment}, Asked(name, ("", 0), request))
        found = None if id_ is None else self.child_rows.find(name, id_)
        if id_ is None or found is None:
            raise ApiError(404, f"The record with id {rest[0]} was not found in {head}.")
        if len(rest) > 1:
            file = _BELOW.get((head, rest[1].lower()))
            return None if file is None or len(rest) > 2 else self._answer(file, (name, id_), [], request)
        offered: dict[str, _Action] = {"DELETE": self._remove}
        return self._do(
            offered | ({"GET": self._file} if head != "comments" else {}), Asked(name, found[0], request, id_)
        )

    def _answer(self, name: str, at: Parent, rest: list[str], request: Request) -> Response | None:
        self.account.check(name)
        if rest:
            if name != "quotation_documents" or not (rest[0].isascii() and rest[0].isdigit()):
                return None
            return self._do({"DELETE": self._remove}, Asked(name, at, request, int(rest[0])))
        offered: dict[str, _Action] = {"GET": self._list}
        if name == "static_list_memberships":
            offered |= {"POST": self._join, "PUT": self._join, "DELETE": self._leave}
        elif name == "file_attachments":
            offered |= {} if at[0] == "emails" else {"POST": self._upload}
        elif "C" in ENTITIES[name].can:
            offered |= {"POST": self._create}
        return self._do(offered, Asked(name, at, request))

    def _do(self, offered: Mapping[str, _Action], asked: Asked) -> Response:
        if asked.request.method not in offered:
            raise ApiError(405, f"The requested resource does not support the method {asked.request.method}.")
        with self.store.lock:
            return offered[asked.request.method](asked)

    def _list(self, asked: Asked) -> Response:
        rows, query = self.child_rows.of(asked.entity, *asked.at), asked.request.query
        if not ENTITIES[asked.entity].paged:
            return answer(200, rows)
        dated, (skip, top) = updated_after(query, self.switches), paging(query, self.switches)
        if dated is not None:
            rows = [row for row in rows if dated[1](0, dump(row))]
        made = answer(200, rows[skip : skip + top])
        if flag(query, "count_total") and self.switches.total_header:
            made.headers["X-Total-Count"] = str(len(rows))
        return made

    def _create(self, asked: Asked) -> Response:
        fields = writable(asked.entity, json_object(asked.request.body), ())
        require(asked.entity, fields)
        return answer(201, self._add(asked, fields))

    def _add(self, asked: Asked, fields: Record) -> Record:
        user = dict.fromkeys(("OWNER_USER_ID", "CREATED_USER_ID"), self.writer.user)
        known = {name: value for name, value in user.items() if name in ENTITIES[asked.entity].fields}
        return self.child_rows.add(asked.entity, *asked.at, known | fields, self.switches.comment_moves_date)

    def _upload(self, asked: Asked) -> Response:
        """A multipart body with one file; of its content only the size is kept."""
        kind = asked.request.headers.get("content-type", "")
        body = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + asked.request.body, policy=HTTP)
        file = next((part for part in body.iter_parts() if part.get_filename()), None)
        if file is None:
            raise ApiError(400, "The request body must be multipart/form-data with a file.")
        content = file.get_payload(decode=True) or b""
        told = {"FILE_NAME": file.get_filename(), "CONTENT_TYPE": file.get_content_type(), "FILE_SIZE": len(content)}
        return answer(201, self._add(asked, told))

    def _file(self, asked: Asked) -> Response:
        """What is known of a file with `format=JSON`, else its content, which is made up."""
        found = self.child_rows.find(asked.entity, asked.id)
        if found is not None and asked.request.query.get("format", "").lower() == "json":
            return answer(200, found[1])
        return Response(200, {"Content-Type": "application/octet-stream"}, b"content of a file")

    def _change_comment(self, asked: Asked) -> Response:
        sent = json_object(asked.request.body)
        fields = writable(asked.entity, sent, ())
        if fields.get("BODY") in (None, ""):
            raise ApiError(400, "BODY is required.")
        try:
            id_ = int(sent.get("COMMENT_ID") or 0)
            return answer(200, self.child_rows.update(asked.entity, id_, fields, self.switches.comment_moves_date))
        except (KeyError, ValueError, TypeError):
            raise ApiError(404, f"The record with id {sent.get('COMMENT_ID')} was not found in Comments.") from None

    def _remove(self, asked: Asked) -> Response:
        try:
            self.child_rows.remove(asked.entity, asked.id, asked.at, self.switches.comment_moves_date)
        except KeyError:
            raise ApiError(404, f"The record with id {asked.id} was not found.") from None
        return empty(202)

    def _join(self, asked: Asked) -> Response:
        sent = self._membership(asked)
        held = self.child_rows.of(asked.entity, *asked.at)
        if sent["LIST_ID"] not in [row["LIST_ID"] for row in held]:
            self.child_rows.add(asked.entity, *asked.at, sent, self.switches.comment_moves_date)
        return answer(201 if asked.request.method == "POST" else self.switches.put_status, sent)

    def _leave(self, asked: Asked) -> Response:
        id_ = self._membership(asked)["LIST_ID"]
        return self._remove(Asked(asked.entity, asked.at, asked.request, id_))

    def _membership(self, asked: Asked) -> Record:
        sent = json_object(asked.request.body)
        if not isinstance(sent.get("LIST_ID"), int) or isinstance(sent["LIST_ID"], bool):
            raise ApiError(400, "LIST_ID is required.")
        return {"LIST_ID": sent["LIST_ID"]}
