"""What the views of marts and their columns are, by the descriptions in dlt's schema and in `columns.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipelines.destinations.system_tables import description_of

from .lineage import origins
from .marts import MartPlan, Tables


@dataclass(frozen=True)
class Descriptions:
    """The descriptions of tables.

    Args:
        schema: the tables of dlt's schema.
        types: the same tables with the types of their columns.
    """

    schema: Mapping[str, Any]
    types: Tables

    def comments(self, planned: MartPlan) -> dict[str, str]:
        """The question that a mart answers under "", and what its columns are; "" for one that is not known."""
        found = {} if planned.query is None else origins(planned.query, self.types)
        texts = {
            name: (self._text(*origin) if origin else "") or computed().get(name, "") for name, origin in found.items()
        }
        return {"": planned.mart.answers, **texts}

    def behind(self, planned: MartPlan) -> str:
        """All texts that the comments of a mart are made of."""
        columns = ((table, column) for table in planned.needs for column in self.types.get(table, ()))
        texts = (self._text(table, column) for table, column in columns)
        return "\n".join([planned.mart.answers, *texts, *computed().values()])

    def _text(self, table: str, column: str) -> str:
        columns = self.schema.get(table, {}).get("columns", {})
        return columns.get(column, {}).get("description") or description_of(table, column)


@cache
def computed() -> Mapping[str, str]:
    """What the columns of the bundled marts are that no table has."""
    return tomllib.loads(Path(__file__).with_name("columns.toml").read_text(encoding="utf-8"))
