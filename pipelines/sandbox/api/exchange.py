"""One authorized request on its way to a response: what its path names, and the account that it is for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from pipelines.sandbox.store.shapes import Key, Record, facts_of
from pipelines.sandbox.store.store import Store
from pipelines.sandbox.store.table import parse
from pipelines.sandbox.switches import Switches
from sources.insightly.entities import Entity

from .messages import ApiError, Request


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
        """403 or 404 if the plan or the permissions exclude the entity (API.md 7.4), else None."""
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
