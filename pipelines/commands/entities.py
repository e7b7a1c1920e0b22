"""What can be loaded and how, and what this key and plan may read: by /Permissions and one call per entity."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from pipelines.engine.report import EntityReport, Report
from sources.insightly.config.settings import InsightlySettings
from sources.insightly.context import SyncContext
from sources.insightly.entities import ENTITIES, RECORD_TYPES, RECORDS, Entity
from sources.insightly.errors import BadCredentials, InsightlyError, MissingKey, NotAvailable, NotFound, Stop
from sources.insightly.resources.reference import read_groups
from sources.insightly.result import EntityResult
from sources.insightly.selection import PRESETS, how_to_read

ABILITIES = {"S": "search", "G": "get", "C": "create", "U": "update", "D": "delete"}


@dataclass(frozen=True)
class Access:
    """Whether an entity may be read (None: not known), the reason, the error, and one of its records."""

    readable: bool | None
    reason: str | None = None
    error: InsightlyError | None = None
    record: Mapping[str, Any] | None = None

    @property
    def state(self) -> str:
        if self.readable is None and self.error is not None:
            return "partial" if isinstance(self.error, Stop) else "failed"
        return "skipped" if self.readable is False else "ok"


def entities(settings: InsightlySettings) -> Report:
    """The entity table, and whether each entity may be read.

    Args:
        settings: validated settings; without a key no call is sent, and whether an entity may be read is not known.

    Returns:
        A report whose entities have the fact `readable`.

    Raises:
        BadCredentials: the key is refused.
    """
    with closing(SyncContext(settings)) as context:
        try:
            access = _check_all(context)
        except MissingKey as error:
            access = {name: Access(None, f"not checked without a key: {error}") for name in ENTITIES}
    report = Report("entities")
    report.add_costs(context)
    for name, found in access.items():
        calls, facts = context.budget.by_label[name], {"readable": found.readable}
        report.entities[name] = EntityReport(found.state, found.reason, calls=calls, facts=facts)
    report.conclude(None, [found.error for found in access.values() if isinstance(found.error, Stop)], set())
    report.facts = {"table": {name: _facts(entity) for name, entity in ENTITIES.items()}}
    return report


def _check_all(context: SyncContext) -> dict[str, Access]:
    context.settings.require_key()
    permissions: list[Mapping[str, Any]] = []
    groups = read_groups(ENTITIES["permissions"], context, EntityResult())
    # The first call is sent alone: it may say that the key is refused, or that no call is left.
    access = {"permissions": _access(lambda: permissions.extend(row for _, rows in groups for row in rows))}
    lists = [entity for entity in ENTITIES.values() if entity.read not in ("embedded", "per_parent")]
    lists = [entity for entity in lists if entity.name not in ("permissions", RECORDS)]
    children = [entity for entity in ENTITIES.values() if entity.read == "per_parent"]
    for entity, found in zip(lists, context.pool.map(lambda each: _check_list(each, context), lists), strict=True):
        access[entity.name] = found
    checked = context.pool.map(lambda each: _check_children(each, access, context), children)
    access |= {entity.name: found for entity, found in zip(children, list(checked), strict=True)}
    return {
        name: _with_permissions(
            access.get(name) or Access(None, f"not checked by itself: {how_to_read(entity)}"),
            [row for row in permissions if entity.matches_name(row.get("OBJECT_TYPE"))],
        )
        for name, entity in ENTITIES.items()
    }


def _access(read: Callable[[], Any]) -> Access:
    """Reads, and turns every error except a refused key into the result."""
    try:
        rows = read()
    except BadCredentials:
        raise
    except InsightlyError as error:
        return Access(False if isinstance(error, NotAvailable) else None, str(error), error)
    return Access(True, record=rows[0] if isinstance(rows, list) and rows else None)


def _check_list(entity: Entity, context: SyncContext) -> Access:
    path = entity.path.format(objectName=ENTITIES["contacts"].path)
    params: dict[str, Any] = {**dict(entity.params), **({"top": 1} if entity.paged else {})}
    if entity.name == "tags":
        params["record_type"] = RECORD_TYPES[0]
    get = context.client.get_object if entity.read == "object" else context.client.get_list
    return _access(lambda: get(path, params, label=entity.name)[0])


def _check_children(entity: Entity, access: Mapping[str, Access], context: SyncContext) -> Access:
    """Reads the rows of one parent. A 404 proves nothing: it may be about that parent only."""
    parents = {name: access[name] for name in entity.read_parents}
    name, record = next(((name, found.record) for name, found in parents.items() if found.record), ("", None))
    if record is None:
        refused = all(found.readable is False for found in parents.values())
        reason = "they may not be read" if refused else "there is no parent record to test with"
        return Access(False if refused else None, f"it belongs to records of {', '.join(parents)}: {reason}")
    path = f"{ENTITIES[name].path}/{record.get(ENTITIES[name].key[0])}/{entity.sub_path}"
    params = {"top": 1} if entity.paged else {}
    found = _access(lambda: context.client.get_list(path, params, label=entity.name)[0])
    return Access(None, found.reason) if isinstance(found.error, NotFound) else found


def _with_permissions(found: Access, permissions: Sequence[Mapping[str, Any]]) -> Access:
    """Adds what /Permissions says if it differs; the response of the list itself is the better evidence."""
    allowed = {bool(row["CAN_READ"]) for row in permissions if row.get("CAN_READ") is not None}
    if len(allowed) != 1 or found.readable is None or allowed == {found.readable}:
        return found
    verb = "may" if True in allowed else "may not"
    reasons = filter(None, (found.reason, f"/Permissions says that it {verb} be read"))
    return replace(found, reason="; ".join(reasons))


def _facts(entity: Entity) -> dict[str, Any]:
    return {
        "description": entity.description,
        "path": f"/{entity.path}",
        "key": list(entity.key),
        "cursor": entity.cursor if entity.read == "incremental" else None,
        "children": [array.lower() for array in entity.arrays],
        "custom_fields": entity.custom_fields,
        "can": [ABILITIES[letter] for letter in entity.can],
        "presets": [preset for preset, names in PRESETS.items() if entity.name in names],
        "loadable": entity.read != "embedded",
        "plan": entity.plan or None,
    }
