"""Every path of the API as a row: its method, its parts, and who responds (api.md, sections 1, 5, 8 and 9)."""

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property

from pipelines.sandbox.store.shapes import CHILD_ENTITIES, MAIN, facts_of, has_list
from pipelines.sandbox.store.store import Store
from pipelines.sandbox.switches import Switches
from sources.insightly.entities import ENTITIES, Entity, is_custom_object

from . import account, parts, reads, writes
from .account import singular
from .exchange import ApiError, Exchange, Request, Response, error_response

Serves = Callable[[Entity], bool]

_COLLECTIONS = {entity.path.lower(): entity for entity in ENTITIES.values() if has_list(entity)}
_ALIASES = {singular(path): entity for path, entity in _COLLECTIONS.items() if path.endswith("s")}
"""Singular paths of plural objects: not in the vendor's list, and used by some clients."""
_UNSERVED = frozenset(
    {"follow", "image", "imagefield", "mergedocument", "activitysetassignment", "linkemailaddress", "translations"}
    | {"cti", "marketingcustomevent"}
)
"""Families of the vendor's list that no sync and no push needs, by a part of their paths."""


@dataclass(frozen=True)
class Route:
    """One row of the table.

    Attributes:
        method: GET, POST, PUT or DELETE.
        path: its parts in lower case; `{entity}` is a collection or a custom object, `{key}` the key of a record,
            `{item}` a number, `{name}` any text.
        respond: makes the response.
        serves: the entities that have the path.
        name: the name in the exchange: that of an array, or of the entity of the rows below the record.
        entity: the entity of a path that does not begin with `{entity}`.
    """

    method: str
    path: str
    respond: Callable[[Exchange], Response]
    serves: Serves = lambda _: True
    name: str = ""
    entity: str = ""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", self.path), re.IGNORECASE)

    def match(self, x: Exchange, path: str) -> Exchange | None:
        """The exchange with the parts of the path; None if the path is another one."""
        found = self.pattern.fullmatch(path)
        if found is None:
            return None
        x = replace(x, name=self.name, entity=self.entity)
        for part, text in found.groupdict().items():
            if part == "entity":
                entity = _entity(x, text.lower())
                if entity is None or not self.serves(entity):
                    return None
                x.entity = entity.object_name or entity.name
            elif part == "name":
                x.name = text.lower()
            elif part == "key" and x.facts.fields[x.facts.key[0]].type != "integer":
                x.key = text
            elif text.isascii() and text.isdigit():
                setattr(x, part, int(text))
            else:
                return None
        return x


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
    try:
        with nullcontext() if request.method == "GET" else store.lock:
            return _respond(Exchange(request, store, switches))
    except ApiError as error:
        return error_response(error, switches)


def entity_of(path: str) -> str | None:
    """The entity whose collection `path` starts with, or None."""
    head = path.strip("/").partition("/")[0]
    found = _COLLECTIONS.get(head.lower())
    return found.name if found is not None else head if is_custom_object(head) else None


def _respond(x: Exchange) -> Response:
    method, path = x.request.method, x.request.path.strip("/")
    if unserved := next((part for part in path.split("/") if part.lower() in _UNSERVED), None):
        raise ApiError(501, f"The sandbox does not serve {unserved}: no sync and no push needs it.")
    rows = [(route, route.match(x, path)) for route in _ROUTES]
    matches = {route.method: (route, found) for route, found in reversed(rows) if found is not None}
    if method in matches:
        route, found = matches[method]
        for entity in (found.entity, route.name):
            if entity in ENTITIES or is_custom_object(entity):
                found.check(entity)
        if "{key}/" in route.path:
            found.raw()  # raises a 404 if there is no such record
        return route.respond(found)
    if matches or singular(path.lower().partition("/")[0]) in _COLLECTIONS:
        raise ApiError(405, f"The requested resource does not support the method {method}.")
    raise ApiError(404, f"No resource was found at {x.request.path}.")


def _entity(x: Exchange, head: str) -> Entity | None:
    """The entity, or the custom object, that a path begins with."""
    found = _COLLECTIONS.get(head) or (_ALIASES.get(head) if x.switches.aliases else None)
    name = None if found else x.store.object_named(head)
    return found or (facts_of(name) if name else None)


def _named(*names: str) -> Serves:
    return lambda entity: entity.name in names


def _has(array: str) -> Serves:
    return lambda entity: array in entity.arrays


def _linked(entity: Entity) -> bool:
    return "LINKS" in entity.arrays and entity.name != "leads"


def _filed(entity: Entity) -> bool:
    return bool(entity.object_name) or entity.name in {*ENTITIES[_FILES].read_parents} - {"emails"}


def _family(path: str, serves: Serves, name: str = "", **methods: Callable[[Exchange], Response]) -> Iterator[Route]:
    """The rows of a path below one record, one a method."""
    return (Route(method, f"{{entity}}/{{key}}/{path}", each, serves, name) for method, each in methods.items())


def _below() -> Iterator[Route]:
    """The rows below one record that follow from the entity table: child rows are listed there, others written."""
    for name, entity in ENTITIES.items():
        if name in CHILD_ENTITIES:
            yield from _family(entity.sub_path.lower(), _named(*entity.read_parents), name, GET=reads.child_rows)
        for match in re.finditer(r"(\w+)/\{id\}/(\w+)", entity.create or "") if has_list(entity) else ():
            path, serves = match[2].lower(), _named(_COLLECTIONS[match[1].lower()].name)
            yield from _family(path, serves, name, POST=writes.create_owned, PUT=writes.update_owned)
            yield from _family(f"{path}/{{item}}", serves, name, DELETE=writes.delete_owned)


_LISTS, _FILES = "static_list_memberships", "file_attachments"
_MAIN, _DEALS = _named(*MAIN), _named("opportunities")
_ROUTES = (
    Route("GET", "users/me", account.me, entity="users"),
    Route("GET", "instance", account.instance, entity="instance"),
    Route("GET", "permissions", account.permissions, entity="permissions"),
    Route("GET", "tags", account.tags, entity="tags"),
    Route("GET", "customfields/{name}", account.custom_fields, entity="custom_fields"),
    Route("GET", "customfields/{name}/search", account.custom_field, entity="custom_fields"),
    Route("GET", "marketingvisits/{key}", reads.visits, entity="marketing_visits"),
    Route("PUT", "comments", parts.change_comment, entity="comments"),
    Route("DELETE", "comments/{key}", writes.delete, entity="comments"),
    Route("GET", "comments/{key}/fileattachments", reads.child_rows, name=_FILES, entity="comments"),
    Route("POST", "comments/{key}/fileattachments", parts.upload, name=_FILES, entity="comments"),
    Route("GET", "fileattachments/{key}", parts.read_file, entity=_FILES),
    Route("DELETE", "fileattachments/{key}", writes.delete, entity=_FILES),
    Route("GET", "{entity}", reads.listing),
    Route("POST", "{entity}", writes.create, lambda entity: entity.create == entity.path),
    Route("PUT", "{entity}", writes.update, lambda entity: entity.update == entity.path),
    Route("DELETE", "{entity}", writes.delete_by_query, lambda entity: "?id=" in (entity.delete or "")),
    Route("GET", "{entity}/search", reads.search, lambda entity: "S" in entity.can),
    Route("GET", "{entity}/searchbytag", reads.search_by_tag, lambda entity: entity.tagged),
    Route("GET", "{entity}/{key}", reads.single, lambda entity: "G" in entity.can),
    Route("PUT", "{entity}/{key}", writes.update, lambda each: each.update == each.path and {"U", "G"} <= {*each.can}),
    Route("DELETE", "{entity}/{key}", writes.delete, lambda entity: entity.delete == f"{entity.path}/{{id}}"),
    *_family("tags", _has("TAGS"), "TAGS", GET=parts.read_array, POST=parts.add_tag, PUT=parts.put_array),
    *_family("tags", _has("TAGS"), "TAGS", DELETE=parts.remove_tag),
    *_family("links", _linked, "LINKS", GET=parts.read_array, POST=parts.add_link),
    *_family("links", lambda entity: _linked(entity) and _MAIN(entity), "LINKS", PUT=parts.change_link),
    *_family("links/{item}", _linked, "LINKS", DELETE=parts.remove_link),
    *_family("dates", _has("DATES"), "DATES", GET=parts.read_array, PUT=parts.put_array),
    *_family("emaildomains", _has("EMAILDOMAINS"), "EMAILDOMAINS", GET=parts.read_array, PUT=parts.put_array),
    *_family("notes", _MAIN, "notes", GET=reads.linked, POST=writes.create_note),
    *_family("tasks", _MAIN, "tasks", GET=reads.linked),
    *_family("events", _MAIN, "events", GET=reads.linked),
    *_family("emails", _MAIN, "emails", GET=reads.linked),
    *_family("pipeline", _DEALS, PUT=parts.set_stage, DELETE=parts.clear_stage),
    *_family("pipelinestage", _DEALS, PUT=parts.set_stage),
    *_family("statechange", _DEALS, PUT=parts.set_state),
    *_family("comments", _named(*ENTITIES["comments"].read_parents), "comments", POST=writes.create_owned),
    *_family("comments", _named("tickets"), "ticket_comments", POST=writes.create_owned),
    *_family("fileattachments", lambda entity: bool(entity.object_name), _FILES, GET=reads.child_rows),
    *_family("fileattachments", _filed, _FILES, POST=parts.upload),
    *_family("staticlistmembership", _named("prospects"), _LISTS, POST=parts.join_list),
    *_family("staticlistmembership", _named("prospects"), _LISTS, PUT=parts.put_lists, DELETE=parts.leave_list),
    *_family("quotationdocument/{item}", _named("quotes"), "quotation_documents", DELETE=writes.delete_owned),
    *_below(),
)
"""All rows; the first that fits a request responds to it."""
