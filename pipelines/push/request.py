"""The request of a push: `insightly push ENTITY SOURCE --op ...`, and the definitions its columns are checked by."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from dlt.common.normalizers.naming.snake_case import NamingConvention

from pipelines.destinations.dataset import Dataset
from sources.insightly.context import SyncContext
from sources.insightly.entities import ENTITIES, Entity
from sources.insightly.errors import BadSetting
from sources.insightly.resources.fetch import read_definitions
from sources.insightly.rows.custom_fields import definitions_of
from sources.insightly.selection import closest_entity

from .input import PushInput
from .validate import PARENT, SYSTEM_COLUMNS, Definitions, Row, RowValidator, validate_tags

PUSHABLE = (
    *("contacts", "events", "leads", "notes", "opportunities", "organisations", "products", "projects", "tasks"),
    "tags",
)


@dataclass(frozen=True)
class PushRequest:
    """One push: what the command line says."""

    entity: str
    source: str
    op: str
    match: str | None = None
    skip_invalid: bool = False
    again: bool = False
    unchanged_since: datetime | None = None
    delimiter: str | None = None
    encoding: str | None = None

    def require_entity(self) -> Entity:
        """The entity to push.

        Raises:
            BadSetting: it cannot be pushed, or not with this operation.
        """
        if self.entity not in PUSHABLE:
            similar = closest_entity(self.entity, PUSHABLE)
            fix = f"did you mean {similar}?" if similar else f"what can be pushed: {', '.join(PUSHABLE)}"
            raise BadSetting("ENTITY", self.entity, fix)
        if self.entity == "tags" and self.op == "upsert":
            raise BadSetting("--op", self.op, "tags: create adds them, delete removes them, update sets them")
        if self.match is not None and (self.op == "create" or self.entity == "tags"):
            raise BadSetting(
                "--match", self.match, "is for update, upsert and delete of records, which it finds by a field"
            )
        return ENTITIES[self.entity]

    def validate(
        self,
        entity: Entity,
        push_input: PushInput,
        definitions: Definitions | None,
        dataset: Dataset | None,
        masked: Collection[str] = (),
    ) -> tuple[list[Row], str | None]:
        """The rows with their problems, and the API name of the field that --match names.

        Args:
            entity: what is pushed.
            push_input: the rows.
            definitions: the custom fields of the entity, None if they are not known.
            dataset: the destination, None if it does not exist yet.
            masked: columns in `hash` or `drop`, whose values no problem quotes.
        """
        if entity.name == "tags":
            tags = validate_tags(push_input.rows, [name for name, each in ENTITIES.items() if each.tagged])
            return with_lines(tags, push_input), None
        has_schema = dataset is not None and dataset.has_schema
        normalize = dataset.normalize if dataset is not None and has_schema else NamingConvention().normalize_path
        validator = RowValidator(entity, self.op, self.match, definitions, normalize, masked)
        return with_lines(validator.rows(push_input.rows, push_input.place_of), push_input), validator.match


def with_lines(rows: Iterable[Row], push_input: PushInput) -> list[Row]:
    lines = push_input.lines or [None] * len(push_input.rows)
    return [
        replace(row, line=line, place=push_input.place_of(row.number)) for row, line in zip(rows, lines, strict=True)
    ]


def fetch_definitions(context: SyncContext, entity: Entity, push_input: PushInput) -> Definitions | None:
    """The entity's custom fields from the API, None if the key may not read them.

    Sends a call only if a column can be a custom field.
    """
    normalize = NamingConvention().normalize_path
    standard = {normalize(name) for name in (*entity.fields, *entity.arrays, *PARENT)}
    columns = {column for row in push_input.rows for column in row if not column.startswith(SYSTEM_COLUMNS)}
    if not entity.custom_fields or {normalize(column) for column in columns} <= standard:
        return ()
    definitions = read_definitions(context, entity)
    return None if definitions is None else definitions_of(entity, definitions)


def stored_definitions(dataset: Dataset | None, entity: Entity) -> Definitions | None:
    """The entity's custom fields from the destination, None if it has no definition of any entity."""
    rows = [] if dataset is None else dataset.rows("custom_fields")
    if not rows:
        return None
    return definitions_of(entity, ({name.upper(): value for name, value in row.items()} for row in rows))
