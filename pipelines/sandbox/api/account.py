"""The account: the key's user, the instance, permissions, custom-field definitions and tag names."""

from pipelines.sandbox.store.custom_objects import object_named
from pipelines.sandbox.store.shapes import Record
from sources.insightly.entities import ENTITIES, RECORD_TYPES, Entity

from .exchange import Exchange
from .messages import ApiError, Response, json_response
from .query import page_response
from .reads import single


def me(x: Exchange) -> Response:
    x.check("users")
    x.entity, x.key = "users", x.user
    return single(x)


def instance(x: Exchange) -> Response:
    x.check("instance")
    return json_response(200, x.store.instance | {"PLAN_NAME": x.switches.plan.capitalize()})


def permissions(x: Exchange) -> Response:
    """A row for each object that has custom fields, notes and e-mails; the switches set what is allowed."""
    x.check("permissions")
    rows = []
    for name, facts in ENTITIES.items():
        if (facts.custom_fields and "{" not in facts.path) or name in {"notes", "emails"}:
            allowed = x.refusal_status(name) is None
            can = {"CAN_CREATE": "C", "CAN_EDIT": "U", "CAN_DELETE": "D"}
            rows.append(
                {"OBJECT_TYPE": facts.field_for, "PERMISSIONS_STATE": "ENABLED", "CAN_READ": allowed}
                | {right: allowed and letter in facts.can for right, letter in can.items()}
            )
    bare = x.switches.permissions == "list"
    return json_response(200, rows if bare else {"PERMISSIONS_STATE": "ENABLED", "OBJECT_PERMISSIONS": rows})


def tags(x: Exchange) -> Response:
    """`/Tags?record_type=`: the distinct tags of one record type, sorted; 400 without a valid type."""
    kind = x.query.get("record_type", "").lower()
    if kind not in RECORD_TYPES:
        raise ApiError(400, f"record_type must be one of {', '.join(RECORD_TYPES)}.")
    x.check(kind)
    return page_response([{"TAG_NAME": name} for name in x.store.tag_names(kind)], x.query, x.switches)


def custom_fields(x: Exchange) -> Response:
    """The definitions of one object, singular or plural; of all objects for an unknown name."""
    x.check("custom_fields")
    return json_response(200, _definitions(x))


def custom_field(x: Exchange) -> Response:
    """`/CustomFields/{objectName}/Search?fieldName=`: one definition."""
    name = x.query.get("fieldname", "")
    if not name:
        raise ApiError(400, "fieldName is required.")
    found = next((row for row in _definitions(x) if row["FIELD_NAME"] == name), None)
    if found is None:
        raise ApiError(404, f"There is no custom field {name} on {x.name}.")
    return json_response(200, found)


def _definitions(x: Exchange) -> list[Record]:
    own = object_named(x.store, x.name)
    field_for = own.upper() if own else _FIELD_FOR.get(x.name.lower())
    return [row for row in x.store.definitions if field_for in (None, row["FIELD_FOR"])]


def plural(path: str) -> str:
    return f"{path[:-1]}ies" if path.endswith("y") else f"{path}s"


def singular(path: str) -> str:
    if path.endswith("ies"):
        return f"{path[:-3]}y"
    return path.removesuffix("es" if path.endswith("ses") else "s")


def _object_names(entity: Entity) -> set[str]:
    names = {entity.path.lower(), entity.field_for.lower(), entity.name.lower()}
    return names | {plural(name) for name in names if not name.endswith("s")}


_FIELD_FOR = {
    name: entity.field_for
    for entity in ENTITIES.values()
    if entity.custom_fields and "{" not in entity.path
    for name in _object_names(entity)
}
