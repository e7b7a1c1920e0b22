"""What can be loaded and how, and what of it this key and plan may read: by /Permissions, and one call each."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.engine.report import EntityReport, Report
from sources.insightly.config.settings import InsightlySettings
from sources.insightly.context import SyncContext
from sources.insightly.entities import ENTITIES, PRESETS, RECORD_TYPES, RECORDS, Entity, how_to_read
from sources.insightly.errors import BadCredentials, InsightlyError, MissingKey, NotAvailable, NotFound, Stop
from sources.insightly.resources.reference import read_groups
from sources.insightly.result import EntityResult

ABILITIES = {"S": "search", "G": "get", "C": "create", "U": "update", "D": "delete"}
STATES = {True: "ok", False: "skipped", None: "ok"}
Rows = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Verdict:
    """Whether an entity may be read (None: not known), why, what kept us from knowing, and a record of it."""

    readable: bool | None
    reason: str | None = None
    error: InsightlyError | None = None
    record: Mapping[str, Any] | None = None


def entities(settings: InsightlySettings) -> Report:
    """The entity table, and whether each entity may be read.

    Args:
        settings: validated settings; without a key nothing is asked, and whether an entity may be read is not known.

    Returns:
        A report whose entities carry `readable`.

    Raises:
        BadCredentials: the key is refused.
    """
    begun, context = time.monotonic(), SyncContext(settings)
    try:
        verdicts = _ask_all(context)
    except MissingKey as error:
        verdicts = {name: Verdict(None, f"not asked without a key: {error}") for name in ENTITIES}
    finally:
        context.close()
    report = Report("entities", calls=context.budget.calls, calls_left_today=context.budget.remaining)
    for name, verdict in verdicts.items():
        state = STATES[verdict.readable]
        if verdict.error is not None and verdict.readable is None:
            state = "partial" if isinstance(verdict.error, Stop) else "failed"
        calls = context.budget.by_label[name]
        report.entities[name] = EntityReport(state, verdict.reason, calls=calls, facts={"readable": verdict.readable})
    stops = [verdict.error for verdict in verdicts.values() if isinstance(verdict.error, Stop)]
    report.conclude(None, stops, set())
    report.facts = {"table": {name: _facts(entity) for name, entity in ENTITIES.items()}}
    report.seconds = time.monotonic() - begun
    return report


def _ask_all(context: SyncContext) -> dict[str, Verdict]:
    """The first call goes alone: it may say that the key is refused, or that no call is left."""
    context.settings.require_key()
    first, rows = _ask_permissions(context)
    lists = [entity for entity in ENTITIES.values() if entity.read not in ("embedded", "per_parent")]
    others = [entity for entity in lists if entity.name not in ("permissions", RECORDS)]
    told = dict(
        zip((entity.name for entity in others), context.pool.map(lambda e: _ask(e, context), others), strict=True)
    )
    under = [entity for entity in ENTITIES.values() if entity.read == "per_parent"]
    asked = context.pool.map(lambda entity: _ask_under(entity, told, context), under)
    told |= dict(zip((entity.name for entity in under), asked, strict=True))
    told["permissions"] = first
    verdicts = {}
    for name, entity in ENTITIES.items():
        verdict = told.get(name) or Verdict(None, f"not asked by itself: {how_to_read(entity)}")
        verdicts[name] = _beside(verdict, [row for row in rows if entity.matches_name(row.get("OBJECT_TYPE"))])
    return verdicts


def _ask_permissions(context: SyncContext) -> tuple[Verdict, Rows]:
    try:
        return Verdict(True), [
            row for _, rows in read_groups(ENTITIES["permissions"], context, EntityResult()) for row in rows
        ]
    except BadCredentials:
        raise
    except InsightlyError as error:
        return _refused(error), ()


def _ask(entity: Entity, context: SyncContext) -> Verdict:
    path = entity.path.format(objectName=ENTITIES["contacts"].path)
    params: dict[str, Any] = {**dict(entity.params), **({"top": 1} if entity.paged else {})}
    if entity.name == "tags":
        params["record_type"] = RECORD_TYPES[0]
    get = context.client.get_object if entity.read == "object" else context.client.get_list
    try:
        rows = get(path, params, label=entity.name)[0]
    except BadCredentials:
        raise
    except InsightlyError as error:
        return _refused(error)
    return Verdict(True, record=rows[0] if isinstance(rows, list) and rows else None)


def _ask_under(entity: Entity, lists: Mapping[str, Verdict], context: SyncContext) -> Verdict:
    """By one record of a list above it: a 404 may be that record's alone."""
    above = {name: lists[name] for name in entity.read_parents}
    name, record = next(((name, told.record) for name, told in above.items() if told.record), ("", None))
    if record is None:
        refused = all(told.readable is False for told in above.values())
        why = "which may not be read" if refused else "of which there was no record to ask"
        return Verdict(False if refused else None, f"it lies under records of {', '.join(above)}, {why}")
    path = f"{ENTITIES[name].path}/{record.get(ENTITIES[name].key[0])}/{entity.sub_path}"
    try:
        context.client.get_list(path, {"top": 1} if entity.paged else {}, label=entity.name)
    except BadCredentials:
        raise
    except NotFound as error:
        return Verdict(None, str(error))
    except InsightlyError as error:
        return _refused(error)
    return Verdict(True)


def _refused(error: InsightlyError) -> Verdict:
    return Verdict(False if isinstance(error, NotAvailable) else None, str(error), error)


def _beside(verdict: Verdict, rows: Rows) -> Verdict:
    """The verdict beside what /Permissions says: an answer of the list itself is the better evidence."""
    said = {bool(row["CAN_READ"]) for row in rows if row.get("CAN_READ") is not None}
    if len(said) != 1 or verdict.readable is None or said == {verdict.readable}:
        return verdict
    word = "may" if True in said else "may not"
    reason = "; ".join(filter(None, (verdict.reason, f"/Permissions says that it {word} be read")))
    return Verdict(verdict.readable, reason, verdict.error)


def _facts(entity: Entity) -> dict[str, Any]:
    return {
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
