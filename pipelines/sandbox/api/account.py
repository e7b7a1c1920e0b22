"""The account: the key's user, the instance, permissions, custom-field definitions and tag names."""

from pipelines.sandbox.store.shapes import Record
from pipelines.sandbox.store.table import dump
from sources.insightly.entities import ENTITIES, RECORD_TYPES

from .exchange import ApiError, Exchange, Response, json_response
from .reads import list_response, paging, single

_CUSTOMIZED = [entity for entity in ENTITIES.values() if entity.custom_fields and "{" not in entity.path]


def me(x: Exchange) -> Response:
    x.key = x.user
    return single(x)


def instance(x: Exchange) -> Response:
    return json_response(200, x.store.instance | {"PLAN_NAME": x.switches.plan.capitalize()})


def permissions(x: Exchange) -> Response:
    """A row for each object that has custom fields, notes and e-mails; the switches set what is allowed."""
    rows = []
    for name, facts in ENTITIES.items():
        if facts in _CUSTOMIZED or name in {"notes", "emails"}:
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
    names, (skip, top) = x.store.tag_names(kind), paging(x)
    return list_response(x, [dump({"TAG_NAME": name}) for name in names[skip : skip + top]], len(names))


def custom_fields(x: Exchange) -> Response:
    """The definitions of one object, singular or plural; of all objects for an unknown name."""
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
    own, name = x.store.object_named(x.name), singular(x.name.lower())
    named = [own.upper()] if own else [each.field_for for each in _CUSTOMIZED if each.matches_name(name)]
    return [row for row in x.store.definitions if not named or row["FIELD_FOR"] in named]


def singular(path: str) -> str:
    """A path, or the name of an object, in lower case and the singular."""
    if path.endswith("ies"):
        return f"{path[:-3]}y"
    return path.removesuffix("es" if path.endswith("ses") else "s")
