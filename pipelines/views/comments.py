"""What the views of marts and their columns are, by the descriptions in dlt's schema. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
        """The question that a mart answers under "", and what those of its columns are that it passes on unchanged."""
        found = {} if planned.query is None else origins(planned.query, self.types)
        texts = {name: self._text(*origin) for name, origin in found.items() if origin is not None}
        return {"": planned.mart.answers, **texts}

    def behind(self, planned: MartPlan) -> str:
        """All texts that the comments of a mart are made of."""
        columns = ((table, column) for table in planned.needs for column in self.types.get(table, ()))
        return "\n".join([planned.mart.answers, *(self._text(table, column) for table, column in columns)])

    def _text(self, table: str, column: str) -> str:
        columns = self.schema.get(table, {}).get("columns", {})
        return str(columns.get(column, {}).get("description") or "")
