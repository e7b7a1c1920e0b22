"""Records as the API sends them -> the tables they become: the entity's own and one for each array. Pure logic."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import pyarrow as pa

from ..entities import Entity, FieldType, child_fields
from ..errors import DataError, MalformedResponse
from .arrow import infer, to_column, to_table
from .custom_fields import declared_types, pivot
from .json_text import as_text
from .masking import Mask
from .naming import IS_EMPTY, LIST_IDX, VARIANT, check_collisions, child_table, collision, column_of, rename_variants

Record = dict[str, Any]
Types = dict[str, FieldType]


@dataclass(frozen=True, slots=True)
class ShapedTable:
    """Rows of one table: `key` names a row, `merge_key` (None: the row itself) what is replaced together.

    `swept` tells that a sweep marks its rows.
    """

    table: str
    rows: pa.Table
    key: tuple[str, ...]
    merge_key: tuple[str, ...] | None
    swept: bool = False


@dataclass
class RowShaper:
    """Shapes pages of one entity, remembering the types of columns that only the data declare.

    Args:
        entity: what is shaped.
        normalize: an API field name -> the column's name at the destination (dlt's own function).
        held: what the destination holds already: table -> column -> type, by folded names.
        group: the fields whose rows come together, and so replace each other together; none: each row comes alone.
        mask: what is hashed or left out; None: nothing.
    """

    entity: Entity
    normalize: Callable[[str], str]
    held: Mapping[str, Mapping[str, FieldType]]
    group: tuple[str, ...] = ()
    mask: Mask | None = None
    changes: list[str] = field(default_factory=list)
    variants: dict[str, int] = field(default_factory=dict)
    defined: bool = False
    _found: dict[str, Types] = field(default_factory=dict)
    _custom: dict[str, FieldType | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for table, column in () if self.mask is None else self.mask.hashed_columns():
            if self.held.get(table, {}).get(column, "string") != "string":
                raise DataError(
                    f"{table}.{column} is held as {self.held[table][column]}, and a hash is text: sync into another "
                    "--dataset or --database, or take it out of sources.insightly.hash"
                )

    def define(self, definitions: Sequence[Mapping[str, Any]] | None) -> None:
        """Takes over the definitions of the entity's custom fields; None where they may not be read.

        Raises:
            ColumnCollision: two names would become one column.
            BadSetting: a custom field is to be hashed or left out, and there is none of that name.
        """
        self.defined, declared = True, declared_types(definitions or ())
        self._custom = self._typed(self.entity.name, declared)
        check_collisions(self.entity.name, [*self.entity.fields, *declared], self.normalize)
        if self.mask is not None and definitions is not None:
            self.mask.assert_known(declared, self.held.get(self.entity.name, ()))

    def shape(self, records: Sequence[Record]) -> list[ShapedTable]:
        """The tables of some records; an array whose key a record lacks leaves its old child rows alone.

        Raises:
            ColumnCollision, MalformedResponse, DataError: the records cannot be told truthfully.
        """
        try:
            records = self.masked(records)
            own = self._own(records)
            return [own, *(self._children(array, records, own.rows) for array in self.entity.arrays)]
        except RecursionError:
            raise DataError(f"a value in {self.entity.name} is nested too deeply to be written down") from None

    def masked(self, records: Sequence[Record]) -> Sequence[Record]:
        """Records as they may be written down."""
        return records if self.mask is None else self.mask.mask(records)

    def shape_groups(self, groups: Iterable[tuple[Mapping[str, Any], Sequence[Record]]]) -> list[ShapedTable]:
        """The tables of all records of some groups; of an empty group, what removes its old rows.

        Args:
            groups: the values of `group`, each with its records; where a record tells others, they are kept beside.
        """
        rows: list[Record] = []
        for values, records in groups:
            _assert_unmarked(self.entity.name, records)
            placeholders = {part: "-" for part in self._required if part not in values}
            nothing = {**placeholders, IS_EMPTY: True, **{array: [] for array in self.entity.arrays}}
            rows += [{**_disclaimed(record, values), **values} for record in records] or [{**nothing, **values}]
        return self.shape(rows)

    @property
    def _required(self) -> Sequence[str]:
        """What is never null: where a row is told by its parent, the API need not fill its own key."""
        return tuple(self.entity.parent_key) or self.entity.key

    def _own(self, records: Sequence[Record]) -> ShapedTable:
        name, facts = self.entity.name, self.entity.fields
        types = self._typed(name, {key: kind.type for key, kind in facts.items()} | self.entity.parent_key)
        if self.group:
            types[IS_EMPTY] = "boolean"
        known = {*types, *self.entity.arrays, "CUSTOMFIELDS"}
        found = self._discover(name, known, records)
        types |= found
        custom = pivot(records, self._custom) if self.entity.custom_fields else {}
        if custom.keys() - self._custom.keys() or found or self.group:
            claims = [part + VARIANT for part in self.group]
            check_collisions(name, [*types, *custom], self.normalize, {IS_EMPTY, *claims} if self.group else ())
        table, variants = to_table(records, types, self._required)
        self._tell(name, variants)
        for key, values in custom.items():
            table = self._append_custom(table, key, values)
        self._assert_keys_held(table, records)
        return ShapedTable(
            name, rename_variants(table, self.normalize), self.entity.key, self.group or None, self.entity.swept
        )

    def _append_custom(self, table: pa.Table, key: str, values: list[Any]) -> pa.Table:
        held = self.held.get(self.entity.name, {}).get(self.normalize(key))
        kind = held or self._custom.get(key) or infer(values)
        if kind is None:
            return table
        self._custom[key] = kind
        if held is None:
            self._announce(self.entity.name, key, kind)
        column, rest = to_column(values, kind)
        table = table.append_column(pa.field(key, column.type), column)
        if rest is not None:
            self._tell(self.entity.name, {key: len(rest) - rest.null_count})
            table = table.append_column(pa.field(key + VARIANT, rest.type), rest)
        return table

    def _children(self, array: str, records: Sequence[Record], parents: pa.Table) -> ShapedTable:
        name, key = child_table(self.entity, array), self.entity.key
        held = [(index, _items(self.entity, array, record)) for index, record in enumerate(records) if array in record]
        owners = [index for index, items in held for _ in items]
        places = [place for _, items in held for place in range(len(items))]
        rows = [item for _, items in held for item in items]
        _assert_unmarked(name, rows)
        if not {*key, LIST_IDX}.isdisjoint(chain.from_iterable(rows)):
            told = zip(rows, owners, places, strict=True)
            rows = [_disclaimed(item, {**_part(records[at], key), LIST_IDX: place}) for item, at, place in told]
        if self.group or name in self.held:
            # Deletes the rows of this parent at the destination, and is not stored itself.
            childless = [index for index, items in held if not items]
            owners, places = owners + childless, places + [0] * len(childless)
            rows += [{IS_EMPTY: True}] * len(childless)
        facts = {field: facts.type for field, facts in child_fields(array).items() if field not in key}
        types = self._typed(name, facts)
        types[IS_EMPTY] = "boolean"
        types |= self._discover(name, {*key, LIST_IDX, *types}, rows)
        check_collisions(
            name, [*key, LIST_IDX, *types], self.normalize, {IS_EMPTY, *(part + VARIANT for part in (*key, LIST_IDX))}
        )
        table, variants = to_table(rows, types)
        self._tell(name, variants)
        owned = parents.select(key).take(pa.array(owners, pa.int64()))
        for at, part in enumerate(key):
            table = table.add_column(at, owned.schema.field(part), owned[part])
        table = table.add_column(len(key), pa.field(LIST_IDX, pa.int64(), nullable=False), pa.array(places, pa.int64()))
        return ShapedTable(name, rename_variants(table, self.normalize), (*key, LIST_IDX), self.group or key)

    def _typed(self, table: str, types: Mapping[str, Any]) -> dict[str, Any]:
        return dict(types) if self.mask is None else self.mask.types(table, types)

    def _discover(self, table: str, known: Iterable[str], rows: Sequence[Record]) -> Types:
        """The types of keys that the entity table does not know: as held already, or as the values tell."""
        found = self._found.setdefault(table, {})
        # Most rows have the same keys in the same order: comparing whole rows of keys is twice as fast.
        keys = set(chain.from_iterable(set(map(tuple, rows))))
        for key in sorted(keys - set(known) - found.keys()):
            held = self.held.get(table, {}).get(column_of(table, key, self.normalize))
            kind = held or infer([row.get(key) for row in rows])
            if kind is not None:
                found[key] = kind
                if held is None:
                    self._announce(table, key, kind, fresh=True)
        return found

    def _announce(self, table: str, key: str, kind: FieldType, fresh: bool = False) -> None:
        if fresh or table in self.held:
            note = f"new column {table}.{self.normalize(key)} ({kind})"
            if note not in self.changes:
                self.changes.append(note)

    def _tell(self, table: str, variants: Mapping[str, int]) -> None:
        for key, count in variants.items():
            column = f"{table}.{self.normalize(key)}"
            self.variants[column] = self.variants.get(column, 0) + count

    def _assert_keys_held(self, table: pa.Table, records: Sequence[Record]) -> None:
        texts = [part for part in self._required if part in self.entity.key and table[part].type == pa.string()]
        for part in texts:
            if len(set(table[part].to_pylist())) < len({record[part] for record in records}):
                raise DataError(f"two values of the key {part} of {self.entity.name} differ in NULs alone")


def _assert_unmarked(table: str, rows: Iterable[Record]) -> None:
    if any(row.get(IS_EMPTY) is not None for row in rows):
        raise collision(table, IS_EMPTY, f"field {IS_EMPTY!r}", "become the tool's own")


def _items(entity: Entity, array: str, record: Record) -> list[Record]:
    items = record[array]
    if items is None or items == "":
        return []
    if type(items) is not list or not all(type(item) is dict for item in items):
        raise MalformedResponse(f"{array} of {entity.name} {_part(record, entity.key)} is not a list of objects")
    return items


def _part(record: Record, key: Sequence[str]) -> Record:
    return {part: record[part] for part in key}


def _disclaimed(item: Record, place: Mapping[str, Any]) -> Record:
    """An item without what it tells of its place: where that differs, it is kept beside it."""
    claims = {
        key + VARIANT: as_text(item[key])
        for key in place.keys() & item.keys()
        if item[key] is not None and as_text(item[key]) != as_text(place[key])
    }
    return {key: value for key, value in item.items() if key not in place} | claims
