"""Records of the API -> the tables they become: one for the entity and one for each array. Pure logic."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from typing import Any

import pyarrow as pa

from ..entities import METADATA, Entity
from ..errors import DataError, MalformedResponse
from ..fields import FieldType, child_fields
from .arrow import columns_of, infer_type, rename_variants, to_column, to_table
from .custom_fields import declared_types, entries_of, pivot, unlisted_names
from .json_text import as_text
from .masking import Mask
from .naming import IS_EMPTY, LIST_IDX, VARIANT, Normalize, check_collisions, child_table, collision, column_of

Record = dict[str, Any]
Types = dict[str, FieldType]
Values = Mapping[str, Sequence[Any]]
Stored = Callable[[Sequence[str], Sequence[Any]], Mapping[Any, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class ShapedTable:
    """Rows of one table.

    `key` identifies a row. Rows with the same `merge_key` are replaced together (None: each row by itself). A sweep
    marks deleted rows of a table that is `swept`.
    """

    table: str
    rows: pa.Table
    key: tuple[str, ...]
    merge_key: tuple[str, ...] | None
    swept: bool = False


@dataclass
class RowShaper:
    """Shapes pages of one entity; remembers the types of columns that only the data declares.

    Args:
        entity: the entity of the records.
        normalize: a field's name -> its column at the destination (dlt's own function).
        existing: the tables of the destination: table -> column -> type, by normalized names.
        group: the fields whose rows are replaced together; none: each row is replaced by itself.
        mask: which columns are hashed or left out; None: none.

    Attributes:
        changes: a message for each new column.
        variants: how many values were invalid for their column and kept as text, by column.
        defined: whether `define` was called.
        unlisted: the custom fields that lists leave out.
    """

    entity: Entity
    normalize: Normalize
    existing: Mapping[str, Mapping[str, FieldType]]
    group: tuple[str, ...] = ()
    mask: Mask | None = None
    changes: list[str] = field(default_factory=list)
    variants: dict[str, int] = field(default_factory=dict)
    defined: bool = False
    unlisted: frozenset[str] = frozenset()
    _inferred: dict[str, Types] = field(default_factory=dict)
    _custom: dict[str, FieldType | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for table, column in () if self.mask is None else self.mask.hashed_columns():
            kind = self.existing.get(table, {}).get(column, "string")
            if kind != "string":
                raise DataError(
                    f"{table}.{column} exists as {kind}, and a hash is text: sync into another --dataset or "
                    "--database, or remove it from sources.insightly.hash"
                )

    def define(self, definitions: Sequence[Mapping[str, Any]] | None) -> None:
        """Sets the definitions of the entity's custom fields; None if they cannot be read.

        Raises:
            ColumnCollision: two fields would become one column.
            BadSetting: `hash` or `drop` names a custom field that does not exist.
        """
        self.defined, declared = True, declared_types(definitions or ())
        self.unlisted = unlisted_names(definitions or ())
        self._custom = self._masked_types(self.entity.name, declared)
        check_collisions(self.entity.name, [*self.entity.fields, *declared], self.normalize)
        if self.mask is not None and definitions is not None:
            self.mask.assert_known(declared, self.existing.get(self.entity.name, ()))

    def shape(self, records: Sequence[Record], stored: Stored | None = None) -> list[ShapedTable]:
        """The tables of records. If a record has no key for an array, its old child rows stay.

        Args:
            records: from the API.
            stored: reads columns of the records with some ids in the destination: id -> column -> value. With it, a
                record without an entry for one of the fields `unlisted` keeps its stored value.

        Raises:
            ColumnCollision, MalformedResponse, DataError: the records cannot be loaded unchanged.
        """
        try:
            records = self.masked(records)
            values = columns_of(records)
            tables = [self._entity_rows(records, values)]
            if stored is not None and self.unlisted:
                tables[0] = self._with_unlisted(tables[0], records, stored)
            for array in self.entity.arrays:
                tables.append(self._child_rows(array, records, values.get(array, ()), tables[0].rows))
            return tables
        except RecursionError:
            raise DataError(f"a value in {self.entity.name} is nested too deeply to be written") from None

    def _with_unlisted(self, table: ShapedTable, records: Sequence[Record], stored: Stored) -> ShapedTable:
        """The entity's table, with the stored values of the fields that lists leave out."""
        columns = {self.normalize(name): name for name in self.unlisted if name in table.rows.column_names}
        entries = [entries_of(record) for record in records]
        silent = [index for index, names in enumerate(entries) if not names.issuperset(columns.values())]
        if not silent:
            return table
        key, rows = self.entity.key[0], table.rows
        loaded = stored(tuple(columns), [records[index][key] for index in silent])
        for column, name in columns.items():
            at, values = rows.column_names.index(name), rows[name].to_pylist()
            for index in silent:
                if name not in entries[index]:
                    values[index] = loaded.get(records[index][key], {}).get(column)
            rows = rows.set_column(at, rows.field(at), pa.array(values, rows.field(at).type))
        return replace(table, rows=rows)

    def masked(self, records: Sequence[Record]) -> Sequence[Record]:
        """The records as they may be written."""
        return records if self.mask is None else self.mask.mask(records)

    def shape_groups(self, groups: Iterable[tuple[Mapping[str, Any], Sequence[Record]]]) -> list[ShapedTable]:
        """The tables of all records of groups; for an empty group, a row that removes its old rows.

        Args:
            groups: the values of `group`, each with its records. A record's own, different value becomes a variant.
        """
        rows: list[Record] = []
        for values, records in groups:
            _assert_no_marker(self.entity.name, columns_of(records))
            placeholders = {part: "-" for part in self._required if part not in values}
            empty = {**placeholders, IS_EMPTY: True, **{array: [] for array in self.entity.arrays}, **values}
            rows += [{**_without_values(record, values), **values} for record in records] or [empty]
        return self.shape(rows)

    @property
    def _required(self) -> Sequence[str]:
        """The columns that are never null; a row identified by its parent may lack a key of its own."""
        return tuple(self.entity.parent_key) or self.entity.key

    def _entity_rows(self, records: Sequence[Record], values: Values) -> ShapedTable:
        entity, name = self.entity, self.entity.name
        types = self._masked_types(name, {key: facts.type for key, facts in entity.fields.items()} | entity.parent_key)
        if self.group:
            types[IS_EMPTY] = "boolean"
        known = {*types, *entity.arrays, "CUSTOMFIELDS", *METADATA}
        inferred = self._infer(name, values.keys() - known, values)
        types |= inferred
        custom = pivot(records, self._custom) if entity.custom_fields else {}
        if custom.keys() - self._custom.keys() or inferred or self.group:
            own = {IS_EMPTY, *(part + VARIANT for part in self.group)} if self.group else ()
            check_collisions(name, [*types, *custom], self.normalize, own)
        table, variants = to_table(values, len(records), types, self._required)
        self._count_variants(name, variants)
        for key, column in custom.items():
            table = self._append_custom(table, key, column)
        for part in (part for part in self._required if part in entity.key and table[part].type == pa.string()):
            if len(set(table[part].to_pylist())) < len({record[part] for record in records}):
                raise DataError(f"two values of the key {part} of {name} differ only in NUL characters")
        return ShapedTable(name, rename_variants(table, self.normalize), entity.key, self.group or None, entity.swept)

    def _append_custom(self, table: pa.Table, key: str, values: list[Any]) -> pa.Table:
        name = self.entity.name
        existing = self.existing.get(name, {}).get(self.normalize(key))
        kind = existing or self._custom.get(key) or infer_type(values)
        if kind is None:
            return table
        self._custom[key] = kind
        if existing is None and name in self.existing:
            self._record_new_column(name, key, kind)
        column, variant = to_column(values, kind)
        table = table.append_column(pa.field(key, column.type), column)
        if variant is not None:
            self._count_variants(name, {key: len(variant) - variant.null_count})
            table = table.append_column(pa.field(key + VARIANT, variant.type), variant)
        return table

    def _child_rows(
        self, array: str, records: Sequence[Record], arrays: Sequence[Any], parents: pa.Table
    ) -> ShapedTable:
        name, key = child_table(self.entity, array), self.entity.key
        owned = _items(self.entity, array, records, arrays)
        lengths = list(map(len, owned.values()))
        rows = list(chain.from_iterable(owned.values()))
        parent_indexes = list(chain.from_iterable(map(repeat, owned, lengths)))
        positions = list(chain.from_iterable(map(range, lengths)))
        childless = [index for index, items in owned.items() if not items]
        values = columns_of(rows)
        _assert_no_marker(name, values)
        if not values.keys().isdisjoint((*key, LIST_IDX)):
            rows = [
                _without_values(item, {**_part(records[index], key), LIST_IDX: position})
                for item, index, position in zip(rows, parent_indexes, positions, strict=True)
            ]
            values = columns_of(rows)
        if childless and (self.group or name in self.existing):
            # Such a row deletes the rows of this parent at the destination, and is not stored itself.
            parent_indexes += childless
            positions += [0] * len(childless)
            nulls = [None] * len(childless)
            values = {column: [*present, *nulls] for column, present in values.items()}
            values[IS_EMPTY] = [None] * len(rows) + [True] * len(childless)
        fields = {field: facts.type for field, facts in child_fields(array).items() if field not in key}
        types = {**self._masked_types(name, fields), IS_EMPTY: "boolean"}
        types |= self._infer(name, values.keys() - {*key, LIST_IDX, *types}, values)
        own = {IS_EMPTY, *(part + VARIANT for part in (*key, LIST_IDX))}
        check_collisions(name, [*key, LIST_IDX, *types], self.normalize, own)
        table, variants = to_table(values, len(positions), types)
        self._count_variants(name, variants)
        of_parents = parents.select(key).take(pa.array(parent_indexes, pa.int64()))
        for at, part in enumerate(key):
            table = table.add_column(at, of_parents.schema.field(part), of_parents[part])
        list_idx = pa.field(LIST_IDX, pa.int64(), nullable=False)
        table = table.add_column(len(key), list_idx, pa.array(positions, pa.int64()))
        return ShapedTable(name, rename_variants(table, self.normalize), (*key, LIST_IDX), self.group or key)

    def _masked_types(self, table: str, types: Mapping[str, Any]) -> dict[str, Any]:
        return dict(types) if self.mask is None else self.mask.types(table, types)

    def _infer(self, table: str, unknown: Set[str], values: Values) -> Types:
        """The types of keys that the entity table does not have: those of existing columns, or of the values."""
        inferred = self._inferred.setdefault(table, {})
        for key in sorted(unknown - inferred.keys()):
            existing = self.existing.get(table, {}).get(column_of(table, key, self.normalize))
            kind = existing or infer_type(values[key])
            if kind is not None:
                inferred[key] = kind
                if existing is None:
                    self._record_new_column(table, key, kind)
        return inferred

    def _record_new_column(self, table: str, key: str, kind: FieldType) -> None:
        change = f"new column {table}.{self.normalize(key)} ({kind})"
        if change not in self.changes:
            self.changes.append(change)

    def _count_variants(self, table: str, variants: Mapping[str, int]) -> None:
        for key, count in variants.items():
            column = f"{table}.{self.normalize(key)}"
            self.variants[column] = self.variants.get(column, 0) + count


def _assert_no_marker(table: str, values: Values) -> None:
    if any(value is not None for value in values.get(IS_EMPTY, ())):
        raise collision(table, IS_EMPTY, f"field {IS_EMPTY!r}", "become this tool's")


def _items(entity: Entity, array: str, records: Sequence[Record], arrays: Sequence[Any]) -> dict[int, list[Record]]:
    """The items of an array, by the index of the record that has them."""
    items = dict(enumerate(arrays))
    if set(map(type, arrays)) <= {list} and set(map(type, chain.from_iterable(arrays))) <= {dict}:
        return items
    for index, own in enumerate(arrays):
        if array not in records[index]:
            del items[index]
        elif own is None or own == "":
            items[index] = []
        elif type(own) is not list or not {dict}.issuperset(map(type, own)):
            part = _part(records[index], entity.key)
            raise MalformedResponse(f"{array} of {entity.name} {part} is not a list of objects")
    return items


def _part(record: Record, key: Sequence[str]) -> Record:
    return {part: record[part] for part in key}


def _without_values(item: Record, values: Mapping[str, Any]) -> Record:
    """The item without the fields of `values`; where its own value differs, that becomes a variant."""
    variants = {
        key + VARIANT: as_text(item[key])
        for key in values.keys() & item.keys()
        if item[key] is not None and as_text(item[key]) != as_text(values[key])
    }
    return {key: value for key, value in item.items() if key not in values} | variants
