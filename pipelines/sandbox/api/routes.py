"""Every path of the API, from a request to a response, without a socket (API.md, sections 1, 5 and 9)."""

import base64
import binascii
import re
from functools import partial

from pipelines.sandbox.store.custom_objects import object_named
from pipelines.sandbox.store.shapes import Key, facts_of, has_list
from pipelines.sandbox.store.store import Store
from pipelines.sandbox.switches import Switches
from sources.insightly.entities import ENTITIES, Entity, is_custom_object

from .account import Account, plural
from .arrays import RecordRoutes
from .messages import (
    ApiError,
    Handler,
    Request,
    Response,
    empty_response,
    error_response,
    method_not_allowed,
    record_not_found,
    route_not_found,
)
from .reads import Reader
from .sublists import ChildRoutes
from .writes import Writer

_COLLECTIONS = {entity.path.lower(): entity for entity in ENTITIES.values() if has_list(entity)}
_ALIASES = {path.removesuffix("s"): entity for path, entity in _COLLECTIONS.items() if path.endswith("s")}
"""Singular paths of plural objects: not in the vendor's list, and used by some clients."""
_PLURALS = frozenset(
    plural(entity.path.lower())
    for entity in ENTITIES.values()
    if "{" not in entity.path and not entity.path.endswith("s")
)


_OWNED = {
    (parent.name, match[2].lower()): entity.name
    for entity in ENTITIES.values()
    if has_list(entity) and entity.name != "notes"
    for match in re.finditer(r"(\w+)/\{id\}/(\w+)", entity.create or "")
    if (parent := _COLLECTIONS.get(match[1].lower())) is not None
}
"""(Parent, part of the path) -> the entity whose records are written below their parent."""
_UNSERVED = frozenset(
    {"follow", "image", "imagefield", "mergedocument", "activitysetassignment", "linkemailaddress", "translations"}
    | {"cti", "marketingcustomevent"}
)
"""Families of the vendor's list that no sync and no push needs, by a part of their paths."""


def authorized(header: str | None, key: str, blank_password: bool = True) -> bool:
    """True for Basic auth with the key as user name; the colon is optional, and with it the password."""
    kind, _, value = (header or "").partition(" ")
    try:
        credentials = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return False
    user, _, password = credentials.partition(":")
    return kind.lower() == "basic" and user == key and not (password and blank_password)


def handle(request: Request, store: Store, switches: Switches) -> Response:
    """The response to one authorized request; an error is a response too."""
    reader = Reader(store, switches)
    users = store.tables["users"].keys
    user = users[0] if users else 0
    try:
        return _Router(reader, user, request).route()
    except ApiError as error:
        return error_response(error, switches)


def entity_of(path: str) -> str | None:
    """The entity whose collection `path` starts with, or None."""
    head = path.strip("/").partition("/")[0]
    found = _COLLECTIONS.get(head.lower())
    return found.name if found is not None else head if is_custom_object(head) else None


class _Router:
    """Responds to one request."""

    def __init__(self, reader: Reader, user: int, request: Request) -> None:
        self.reader, self.request = reader, request
        self.writer = Writer(reader, user)
        self.account = Account(reader, user)
        self.child_routes = ChildRoutes(self.writer, self.account, request)

    def route(self) -> Response:
        parts = self.request.path.strip("/").split("/")
        if unserved := next((part for part in parts if part.lower() in _UNSERVED), None):
            raise ApiError(501, f"The sandbox does not serve {unserved}: no sync and no push needs it.")
        head, rest = parts[0].lower(), parts[1:]
        response = self._account_route([head, *(part.lower() for part in rest)])
        if response is None:
            response = self.child_routes.by_id(head, rest)
        if response is not None:
            return response
        entity = _COLLECTIONS.get(head) or (_ALIASES.get(head) if self.reader.switches.aliases else None)
        if entity is None and (name := object_named(self.reader.store, head)):
            entity = facts_of(name)
        if entity is None:
            raise method_not_allowed(self.request) if head in _PLURALS else route_not_found(self.request)
        self.account.check(entity.name)
        return self._entity_route(entity, rest)

    def _account_route(self, parts: list[str]) -> Response | None:
        handler: Handler
        match parts:
            case ["users", "me"]:
                self.account.check("users")
                handler = self.account.me
            case ["instance"]:
                handler = self.account.instance
            case ["permissions"]:
                handler = self.account.permissions
            case ["tags"]:
                handler = partial(self.account.tags, self.request.query)
            case ["customfields", name]:
                handler = partial(self.account.custom_fields, name)
            case ["customfields", name, "search"]:
                handler = partial(self.account.custom_field, name, self.request.query)
            case _:
                return None
        self._only_get()
        return handler()

    def _entity_route(self, entity: Entity, rest: list[str]) -> Response:
        if not rest:
            return self._collection(entity)
        search = None
        if len(rest) == 1 and rest[0].lower() == "search" and "S" in entity.can:
            search = self.reader.search
        elif len(rest) == 1 and rest[0].lower() == "searchbytag" and entity.tagged:
            search = self.reader.search_by_tag
        if search is not None:
            self._only_get()
            return search(entity.name, self.request.query)
        key = _key(entity, rest[0])
        if key is None:
            raise route_not_found(self.request)
        if len(rest) == 1:
            return self._single(entity, key)
        if not isinstance(key, int):
            raise route_not_found(self.request)
        if (owned := _OWNED.get((entity.name, rest[1].lower()))) is not None:
            return self._owned(owned, entity, key, rest[2:])
        return self.child_routes.of_record(entity.name, key, rest[1:]) or RecordRoutes(
            self.writer, entity.name, key, self.request
        ).handle(rest[1].lower(), rest[2:])

    def _collection(self, entity: Entity) -> Response:
        method, request = self.request.method, self.request
        if method == "GET":
            return self.reader.listing(entity.name, request.query)
        if method == "POST" and entity.create == entity.path:
            return self.writer.create(entity.name, request)
        if method == "PUT" and entity.update == entity.path:
            return self.writer.update(entity.name, request)
        if method == "DELETE" and (entity.delete or "").startswith(f"{entity.path}?"):
            key = request.query.get("id", "")
            if not key.isdigit():
                raise ApiError(400, "id is required.")
            return self.writer.delete(entity.name, int(key))
        raise method_not_allowed(request)

    def _single(self, entity: Entity, key: Key) -> Response:
        method = self.request.method
        if method == "GET" and entity.name == "marketing_visits":
            return self.reader.children("marketing_visits", "PROSPECT_ID", key, self.request.query)
        if method == "GET" and "G" in entity.can:
            return self.reader.single(entity.name, key)
        if method == "PUT" and "U" in entity.can and entity.update == entity.path and "G" in entity.can:
            return self.writer.update(entity.name, self.request, int(key))
        if method == "DELETE" and entity.delete == f"{entity.path}/{{id}}":
            if entity.name.endswith("_categories") and "ACTIVE" in entity.fields:
                return self._deactivate(entity, key)
            return self.writer.delete(entity.name, int(key))
        raise method_not_allowed(self.request)

    def _owned(self, name: str, parent: Entity, key: int, rest: list[str]) -> Response:
        """Writes of records that belong to another one, such as `/Opportunities/{id}/OpportunityLineItem`."""
        reference = parent.key[0]
        if self.reader.store.get(parent.name, key) is None:
            raise record_not_found(parent.name, key)
        self.account.check(name)
        match self.request.method, rest:
            case "POST", []:
                return self.writer.create(name, self.request, owner={reference: key})
            case "PUT", []:
                return self.writer.update(name, self.request)
            case "DELETE", [id_] if id_.isdigit():
                return self.writer.delete(name, int(id_))
        raise method_not_allowed(self.request)

    def _deactivate(self, entity: Entity, key: Key) -> Response:
        row = self.reader.store.get(entity.name, key)
        if row is None:
            raise record_not_found(entity.name, key)
        if not row["ACTIVE"]:
            raise ApiError(409, f"The category {key} is already deactivated.")
        self.reader.store.update(entity.name, key, {"ACTIVE": False})
        return empty_response(202)

    def _only_get(self) -> None:
        if self.request.method != "GET":
            raise method_not_allowed(self.request)


def _key(entity: Entity, text: str) -> Key | None:
    if entity.fields[entity.key[0]].type != "integer":
        return text if "G" in entity.can else None
    return int(text) if text.isascii() and text.isdigit() else None
