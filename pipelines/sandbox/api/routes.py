"""Every path of the API, from a request to an answer, without a socket (API.md, sections 1, 5 and 9)."""

import base64
import binascii
from collections.abc import Callable
from functools import partial

from pipelines.sandbox.store.custom_objects import object_named
from pipelines.sandbox.store.shapes import Key, facts_of, served_under
from pipelines.sandbox.store.store import Store
from pipelines.sandbox.switches import Switches
from sources.insightly.entities import ENTITIES, Entity, is_custom_object

from .account import Account, plural
from .arrays import Parts
from .messages import ApiError, Request, Response, empty, refusal
from .reads import Reader
from .sublists import Sublists
from .writes import Writer

_COLLECTIONS = {entity.path.lower(): entity for entity in ENTITIES.values() if served_under(entity)}
_PLURALS = frozenset(
    plural(entity.path.lower())
    for entity in ENTITIES.values()
    if "{" not in entity.path and not entity.path.endswith("s")
)


def authorized(header: str | None, key: str) -> bool:
    """True for Basic auth with the key as user name, with or without the colon of a blank password."""
    kind, _, value = (header or "").partition(" ")
    try:
        given = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return False
    return kind.lower() == "basic" and given in (key, f"{key}:")


def handle(request: Request, store: Store, switches: Switches) -> Response:
    """The answer of an account holding `store` to one authorized request. Errors are answers too."""
    reader = Reader(store, switches)
    users = store.tables["users"].keys
    user = users[0] if users else 0
    try:
        return _Router(reader, user).route(request)
    except ApiError as error:
        return refusal(error, switches)


def entity_of(path: str) -> str | None:
    """The entity whose collection `path` lies in, or None."""
    head = path.strip("/").partition("/")[0]
    found = _COLLECTIONS.get(head.lower())
    return found.name if found is not None else head if is_custom_object(head) else None


class _Router:
    def __init__(self, reader: Reader, user: int) -> None:
        self.reader = reader
        self.writer = Writer(reader, user)
        self.parts = Parts(self.writer)
        self.account = Account(reader, user)
        self.sublists = Sublists(self.writer, self.account)

    def route(self, request: Request) -> Response:
        parts = request.path.strip("/").split("/")
        head, rest = parts[0].lower(), parts[1:]
        special = self._special(head, [part.lower() for part in rest], request)
        if special is None:
            special = self.sublists.alone(head, rest, request)
        if special is not None:
            return special
        entity = _COLLECTIONS.get(head)
        if entity is None and (name := object_named(self.reader.store, head)):
            entity = facts_of(name)
        if entity is None:
            if head in _PLURALS:
                raise _not_offered(request)
            raise _not_found(request)
        self.account.check(entity.name)
        return self._collection(entity, rest, request)

    def _special(self, head: str, rest: list[str], request: Request) -> Response | None:
        found: Callable[[], Response] | None = None
        if (head, rest) == ("users", ["me"]):
            self.account.check("users")
            found = self.account.me
        elif (head, rest) == ("instance", []):
            found = self.account.instance
        elif (head, rest) == ("permissions", []):
            found = self.account.permissions
        elif (head, rest) == ("tags", []):
            found = partial(self.account.tags, request.query)
        elif head == "customfields" and len(rest) == 1:
            found = partial(self.account.custom_fields, rest[0])
        elif head == "customfields" and len(rest) == 2 and rest[1] == "search":
            found = partial(self.account.custom_field, rest[0], request.query)
        if found and request.method != "GET":
            raise _not_offered(request)
        return None if found is None else found()

    def _collection(self, entity: Entity, rest: list[str], request: Request) -> Response:
        word = rest[0].lower() if rest else ""
        if not rest:
            return self._whole(entity, request)
        if len(rest) == 1 and word == "search" and "S" in entity.can:
            _only_get(request)
            return self.reader.search(entity.name, request.query)
        if len(rest) == 1 and word == "searchbytag" and entity.tagged:
            _only_get(request)
            return self.reader.search_by_tag(entity.name, request.query)
        key = _key(entity, rest[0])
        if key is None:
            raise _not_found(request)
        if len(rest) == 1:
            return self._single(entity, key, request)
        if not isinstance(key, int):
            raise _not_found(request)
        below = self.sublists.handle(entity.name, key, rest[1:], request)
        return below or self.parts.handle(entity.name, key, rest[1].lower(), rest[2:], request)

    def _whole(self, entity: Entity, request: Request) -> Response:
        if request.method == "GET":
            return self.reader.listing(entity.name, request.query)
        if request.method == "POST" and entity.create == entity.path:
            return self.writer.create(entity.name, request)
        if request.method == "PUT" and entity.update == entity.path:
            return self.writer.update(entity.name, request)
        if request.method == "DELETE" and (entity.delete or "").startswith(f"{entity.path}?"):
            key = request.query.get("id", "")
            if not key.isdigit():
                raise ApiError(400, "id is required.")
            return self.writer.delete(entity.name, int(key))
        raise _not_offered(request)

    def _single(self, entity: Entity, key: Key, request: Request) -> Response:
        if request.method == "GET" and "G" in entity.can:
            return self.reader.single(entity.name, key)
        if request.method == "PUT" and "U" in entity.can and entity.update == entity.path and "G" in entity.can:
            return self.writer.update(entity.name, request, int(key))
        if request.method == "DELETE" and entity.delete == f"{entity.path}/{{id}}":
            if entity.name.endswith("_categories") and "ACTIVE" in entity.fields:
                return self._deactivate(entity, key)
            return self.writer.delete(entity.name, int(key))
        raise _not_offered(request)

    def _deactivate(self, entity: Entity, key: Key) -> Response:
        row = self.reader.store.get(entity.name, key)
        if row is None:
            raise ApiError(404, f"The record with id {key} was not found in {entity.path}.")
        if not row["ACTIVE"]:
            raise ApiError(409, f"The category {key} is already deactivated.")
        self.reader.store.update(entity.name, key, {"ACTIVE": False})
        return empty(202)


def _key(entity: Entity, text: str) -> Key | None:
    if entity.fields[entity.key[0]].type != "integer":
        return text if "G" in entity.can else None
    return int(text) if text.isascii() and text.isdigit() else None


def _only_get(request: Request) -> None:
    if request.method != "GET":
        raise _not_offered(request)


def _not_offered(request: Request) -> ApiError:
    return ApiError(405, f"The requested resource does not support the method {request.method}.")


def _not_found(request: Request) -> ApiError:
    return ApiError(404, f"No resource was found at {request.path}.")
