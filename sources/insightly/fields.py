"""The fields of records, and what tables and columns are: the lines of `fields.toml`."""

import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

FieldType = Literal["integer", "string", "boolean", "number", "datetime", "date", "json", "any"]


@dataclass(frozen=True)
class Field:
    """One field of a record: a line of `fields.toml`.

    Attributes:
        name: as the API writes it.
        type: what its values are.
        max_length: of a text, in characters.
        flags: such as `set` and `read_only`.
        references: the entity whose key the values are; "" for most fields.
        description: what it is, in a sentence.
    """

    name: str
    type: FieldType
    max_length: int | None
    flags: frozenset[str]
    references: str = ""
    description: str = ""

    @classmethod
    def parse(cls, name: str, line: str) -> "Field":
        facts, _, description = line.partition(": ")
        facts, _, references = facts.partition(" -> ")
        kind, *flags = facts.split()
        max_length = int(flags.pop(0)) if flags and flags[0].isdigit() else None
        return cls(name, kind, max_length, frozenset(flags), references, description)  # type: ignore[arg-type]


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("fields.toml").read_text(encoding="utf-8"))


@cache
def fields_of(section: str, name: str, array: str = "") -> "MappingProxyType[str, Field]":
    """The fields of an entity or of an item of an array; a line without a description is described elsewhere."""
    described = {**_lines("shared"), **(child_fields(array) if array else {})}
    fields = {key: Field.parse(key, line) for key, line in _data()[section].get(name, {}).items()}
    for key, field in fields.items():
        if not field.description and key in described:
            usual = described[key]
            fields[key] = replace(field, references=usual.references, description=usual.description)
    return MappingProxyType(fields)


@cache
def _lines(section: str) -> "MappingProxyType[str, Field]":
    return MappingProxyType({key: Field.parse(key, line) for key, line in _data()[section].items()})


def child_fields(array: str) -> "MappingProxyType[str, Field]":
    """The fields of one item of an array such as `TAGS` or `LINKS`."""
    return fields_of("children", array)


def added_columns() -> "MappingProxyType[str, Field]":
    """The columns that this tool adds to the fields of a record."""
    return _lines("added")


def table_text(name: str) -> str:
    """What a table is; of an array or a `_history`, a format with the entity's `{table}`."""
    text: str = _data()["tables"].get(name, "")
    return text
