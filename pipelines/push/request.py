"""What is asked for: `insightly push ENTITY SOURCE --op ...`, its rows checked, and what can be pushed at all."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from dlt.common.normalizers.naming.snake_case import NamingConvention

from pipelines.destinations.dataset import Dataset
from sources.insightly.context import SyncContext
from sources.insightly.entities import ENTITIES, Entity
from sources.insightly.errors import BadSetting
from sources.insightly.resources.fetch import read_definitions
from sources.insightly.rows.custom_fields import definitions_of

from .input import Given
from .validate import OURS, Checker, Definitions, Row, check_tags

PUSHABLE = (
    *("contacts", "events", "leads", "notes", "opportunities", "organisations", "products", "projects", "tasks"),
    "tags",
)


@dataclass(frozen=True)
class Request:
    """One push, as it was asked for."""

    entity: str
    source: str
    op: str
    match: str | None = None
    skip_invalid: bool = False
    again: bool = False
    unchanged_since: datetime | None = None


def entity_of(request: Request) -> Entity:
    """The entity of a push.

    Raises:
        BadSetting: it cannot be pushed, or not so.
    """
    name, op, match = request.entity, request.op, request.match
    if name not in PUSHABLE:
        raise BadSetting("ENTITY", name, f"what can be pushed: {', '.join(PUSHABLE)}")
    if name == "tags" and op == "upsert":
        raise BadSetting("--op", op, "tags: create adds them, delete removes them, update sets them")
    if match is not None and (op == "create" or name == "tags"):
        raise BadSetting("--match", match, "is for update, upsert and delete of records, which it finds by a field")
    return ENTITIES[name]


def checked(
    request: Request, entity: Entity, given: Given, definitions: Definitions | None, dataset: Dataset | None
) -> tuple[list[Row], str | None]:
    """The rows, and the field that --match names."""
    if entity.name == "tags":
        return check_tags(given.rows, [name for name, each in ENTITIES.items() if each.tagged]), None
    checker = Checker(entity, request.op, request.match, definitions, _fold(dataset))
    return checker.rows(given.rows), checker.match


def _fold(dataset: Dataset | None) -> Callable[[str], str]:
    if dataset is not None and dataset.has_schema:
        return dataset.normalize
    return NamingConvention().normalize_path


def definitions_asked(context: SyncContext, entity: Entity, given: Given) -> Definitions | None:
    """The custom fields by the API itself, asked only where a column may be one."""
    normalize = NamingConvention().normalize_path
    known = {normalize(name) for name in (*entity.fields, *entity.arrays, "parent_type", "parent_id")}

    def plain(column: str) -> bool:
        return normalize(column) in known or column.startswith(OURS)

    if not entity.custom_fields or all(map(plain, (column for row in given.rows for column in row))):
        return ()
    told = read_definitions(context, entity)
    return None if told is None else definitions_of(entity, told)


def definitions_held(dataset: Dataset | None, entity: Entity) -> Definitions | None:
    """The custom fields by the destination, None where it holds none of any entity."""
    rows = [] if dataset is None else dataset.all_rows("custom_fields")
    if not rows:
        return None
    return definitions_of(entity, ({name.upper(): value for name, value in row.items()} for row in rows))
