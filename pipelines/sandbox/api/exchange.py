"""One request on its way to a response: plain values between the socket and the routes, and what a path names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import orjson

from pipelines.sandbox.store.shapes import Key, Record, facts_of
from pipelines.sandbox.store.store import Store
from pipelines.sandbox.store.table import parse
from pipelines.sandbox.switches import Switches
from sources.insightly.entities import Entity

JSON = "application/json; charset=utf-8"


@dataclass(frozen=True)
class Request:
    """One HTTP request. `path` has no `/v3.1`; names in `query` and `headers` are lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Response:
    """One HTTP response, and how to send it.

    Attributes:
        headers: except Content-Length and Date.
        body: before compression.
        delay: seconds to wait before it is sent.
        broken: `reset` or `cut` if the connection breaks, else "".
    """

    status: int
    headers: dict[str, str]
    body: bytes
    delay: float = 0.0
    broken: str = ""


class ApiError(Exception):
    """An error response: its HTTP status and the message in its body."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass
class Exchange:
    """A request with the parts of its path.

    Attributes:
        entity: the collection, or the custom object, that the path begins with.
        key: of a record of it.
        item: the number at the end of a longer path.
        name: a name in the path, such as that of an object.
    """

    request: Request
    store: Store
    switches: Switches
    entity: str = ""
    key: Key = 0
    item: int = 0
    name: str = ""

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query

    @property
    def body(self) -> Any:
        """The parsed body; raises a 400 if it is not JSON."""
        try:
            return orjson.loads(self.request.body)
        except orjson.JSONDecodeError:
            raise ApiError(400, "The request body is not valid JSON.") from None

    @property
    def sent(self) -> Record:
        """The body; raises a 400 if it is not a JSON object."""
        body = self.body
        if not isinstance(body, dict):
            raise ApiError(400, "The request body must be a JSON object.")
        return body

    @property
    def facts(self) -> Entity:
        return facts_of(self.entity)

    def raw(self) -> bytes:
        """The JSON of the record that the path names; raises a 404 if there is none."""
        raw = self.store.tables[self.entity].raw.get(self.key)
        if raw is None:
            raise ApiError(404, f"The record with id {self.key} was not found in {self.facts.path}.")
        return raw

    @property
    def record(self) -> Record:
        return parse(self.raw())

    @property
    def definitions(self) -> dict[str, Record]:
        """The definitions of the entity's custom fields, by their names."""
        rows = (row for row in self.store.definitions if row["FIELD_FOR"] == self.facts.field_for)
        return {row["FIELD_NAME"]: row for row in rows}

    @property
    def user(self) -> int:
        """The id of the key's user."""
        return next(iter(self.store.tables["users"].keys), 0)

    def refusal_status(self, entity: str) -> int | None:
        """403 or 404 if the plan or the permissions exclude the entity (api.md 7.4), else None."""
        lacking = facts_of(entity).plan if self.switches.plan == "professional" else ""
        if entity in self.switches.missing or "404" in lacking:
            return 404
        return 403 if entity in self.switches.forbidden or "403" in lacking else None

    def check(self, entity: str) -> None:
        """Raises ApiError if the key cannot read the entity."""
        status = self.refusal_status(entity)
        if status == 404:
            raise ApiError(404, f"No resource was found at {facts_of(entity).path}.")
        if status:
            raise ApiError(403, f"API User does not have access to {facts_of(entity).path}.")


def json_response(status: int, value: Any) -> Response:
    """A JSON response; bytes are JSON already."""
    return Response(status, {"Content-Type": JSON}, value if isinstance(value, bytes) else orjson.dumps(value))


def text_response(status: int, text: str, kind: str = "plain") -> Response:
    return Response(status, {"Content-Type": f"text/{kind}; charset=utf-8"}, text.encode())


def empty_response() -> Response:
    return Response(202, {}, b"")


def error_response(error: ApiError, switches: Switches) -> Response:
    """The response to an error in the style of the switch `error_style` (api.md 1.2)."""
    if switches.error_style == "text":
        return text_response(error.status, error.message)
    if switches.error_style == "html" and error.status >= 500:
        page = f"<!DOCTYPE html><html><title>{error.status}</title><body>{escape(error.message)}</body></html>"
        return text_response(error.status, page, "html")
    return json_response(error.status, {"Message": error.message})
