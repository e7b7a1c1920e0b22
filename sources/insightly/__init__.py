"""Insightly CRM as a dlt source: every listable entity, incrementally, losing no row."""

from typing import TYPE_CHECKING, Any

from .entities import ENTITIES, Entity
from .errors import InsightlyError

if TYPE_CHECKING:
    from .source import insightly

__all__ = ["ENTITIES", "Entity", "InsightlyError", "insightly"]


def __getattr__(name: str) -> Any:
    """Imports the source when it is used: dlt takes longer to import than the sandbox takes to start."""
    if name == "insightly":
        from .source import insightly

        return insightly
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
