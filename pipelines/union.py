"""The columns of a table that several accounts have, each in its own way. Pure logic."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

DIGITS = 38
"""Digits that a decimal has at most, on DuckDB and by dlt's rule elsewhere."""
OF_A_BIGINT = 19


class Type(NamedTuple):
    """A type of dlt's; digits are told of decimals alone."""

    name: str
    precision: int | None = None
    scale: int | None = None


TEXT, DOUBLE = Type("text"), Type("double")
Columns = Mapping[str, Type]


def common(types: Collection[Type]) -> Type:
    """The type that holds the values of all: numbers stay numbers, whatever else differs is told as text.

    >>> common({Type("bigint"), Type("decimal", 20, 2)})
    Type(name='decimal', precision=21, scale=2)
    >>> common({Type("bigint"), Type("timestamp")})
    Type(name='text', precision=None, scale=None)
    """
    if len(set(types)) == 1:
        return next(iter(types))
    if not {each.name for each in types} <= {"bigint", "decimal", "double"}:
        return TEXT
    if DOUBLE in types:
        return DOUBLE
    scale = max(each.scale or 0 for each in types)
    whole = max(each.precision - (each.scale or 0) if each.precision else OF_A_BIGINT for each in types)
    return Type("decimal", scale + whole, scale) if scale + whole <= DIGITS else DOUBLE


def united(tables: Collection[Columns], order: Iterable[str] = ()) -> dict[str, Type]:
    """The columns of all tables, those of `order` first: a view that is replaced keeps its columns where they were."""
    names = dict.fromkeys(name for table in tables for name in table)
    ordered = [*(name for name in order if name in names), *names]
    return {name: common({table[name] for table in tables if name in table}) for name in ordered}
