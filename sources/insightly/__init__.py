"""Insightly CRM as a dlt source: every listable entity, incrementally, losing no row."""

from .entities import ENTITIES, Entity
from .errors import InsightlyError
from .source import insightly

__all__ = ["ENTITIES", "Entity", "InsightlyError", "insightly"]
