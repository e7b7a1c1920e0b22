"""The routes of the account: the key's user, the instance, permissions, custom-field definitions and tag names."""

from collections.abc import Mapping

from pipelines.sandbox.store.custom_objects import object_named
from pipelines.sandbox.store.shapes import Record, facts_of
from sources.insightly.entities import ENTITIES, RECORD_TYPES, Entity

from .messages import ApiError, Response, json_response
from .query import page_response
from .reads import Reader

_404_ON_PROFESSIONAL = frozenset(
    {"products", "pricebooks", "pricebook_entries", "opportunity_line_items", "quotes", "quote_line_items"}
)
_403_ON_PROFESSIONAL = frozenset(
    {"knowledge_articles", "knowledge_article_categories", "knowledge_article_folders", "tickets", "prospects"}
    | {"community_forums", "community_posts", "community_comments", "forum_categories"}
)


class Account:
    """Responds to requests about the account; `user` is the id of the key's user."""

    def __init__(self, reader: Reader, user: int) -> None:
        self.reader = reader
        self.store = reader.store
        self.switches = reader.switches
        self.user = user

    def refusal_status(self, entity: str) -> int | None:
        """403 or 404 if the plan or the permissions exclude the entity (API.md 7.4), else None."""
        professional = self.switches.plan == "professional"
        if entity in self.switches.missing or (professional and entity in _404_ON_PROFESSIONAL):
            return 404
        if entity in self.switches.forbidden or (professional and entity in _403_ON_PROFESSIONAL):
            return 403
        return None

    def check(self, entity: str) -> None:
        """Raises ApiError if the key cannot read the entity."""
        status = self.refusal_status(entity)
        if status == 404:
            raise ApiError(404, f"No resource was found at {facts_of(entity).path}.")
        if status:
            raise ApiError(403, f"API User does not have access to {facts_of(entity).path}.")

    def me(self) -> Response:
        return self.reader.single("users", self.user)

    def instance(self) -> Response:
        self.check("instance")
        return json_response(200, self.store.instance | {"PLAN_NAME": self.switches.plan.capitalize()})

    def permissions(self) -> Response:
        """A row for each object that has custom fields, notes and e-mails; the switches set what is allowed."""
        self.check("permissions")
        rows = []
        for name, facts in ENTITIES.items():
            if (facts.custom_fields and "{" not in facts.path) or name in {"notes", "emails"}:
                allowed = self.refusal_status(name) is None
                can = {"CAN_CREATE": "C", "CAN_EDIT": "U", "CAN_DELETE": "D"}
                rows.append(
                    {"OBJECT_TYPE": facts.field_for, "PERMISSIONS_STATE": "ENABLED", "CAN_READ": allowed}
                    | {right: allowed and letter in facts.can for right, letter in can.items()}
                )
        bare = self.switches.permissions == "list"
        return json_response(200, rows if bare else {"PERMISSIONS_STATE": "ENABLED", "OBJECT_PERMISSIONS": rows})

    def tags(self, query: Mapping[str, str]) -> Response:
        """`/Tags?record_type=`: the distinct tags of one record type, sorted; 400 without a valid type."""
        kind = query.get("record_type", "").lower()
        if kind not in RECORD_TYPES:
            raise ApiError(400, f"record_type must be one of {', '.join(RECORD_TYPES)}.")
        self.check(kind)
        return page_response([{"TAG_NAME": name} for name in self.store.tag_names(kind)], query, self.switches)

    def custom_fields(self, object_name: str) -> Response:
        """The definitions of one object, singular or plural; of all objects for an unknown name."""
        self.check("custom_fields")
        return json_response(200, self._definitions(object_name))

    def custom_field(self, object_name: str, query: Mapping[str, str]) -> Response:
        """`/CustomFields/{objectName}/Search?fieldName=`: one definition."""
        name = query.get("fieldname", "")
        if not name:
            raise ApiError(400, "fieldName is required.")
        found = next((row for row in self._definitions(object_name) if row["FIELD_NAME"] == name), None)
        if found is None:
            raise ApiError(404, f"There is no custom field {name} on {object_name}.")
        return json_response(200, found)

    def _definitions(self, object_name: str) -> list[Record]:
        own = object_named(self.store, object_name)
        field_for = own.upper() if own else _FIELD_FOR.get(object_name.lower())
        return [row for row in self.store.definitions if field_for in (None, row["FIELD_FOR"])]


def plural(path: str) -> str:
    return f"{path[:-1]}ies" if path.endswith("y") else f"{path}s"


def _object_names(entity: Entity) -> set[str]:
    names = {entity.path.lower(), entity.field_for.lower(), entity.name.lower()}
    return names | {plural(name) for name in names if not name.endswith("s")}


_FIELD_FOR = {
    name: entity.field_for
    for entity in ENTITIES.values()
    if entity.custom_fields and "{" not in entity.path
    for name in _object_names(entity)
}
