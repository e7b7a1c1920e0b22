"""The entities of an account: those of the table of facts, and its custom objects."""

from collections.abc import Iterable, Mapping
from typing import Any

from .entities import ENTITIES, RECORDS, Entity, custom_object
from .errors import NotAvailable


class Catalog:
    """Finds entities by name.

    Attributes:
        objects: the known custom objects, by table name.
        definitions: what the API says of custom objects, or why that is not readable; None before it was read.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Entity] = {}
        self.definitions: list[dict[str, Any]] | NotAvailable | None = None

    def add(self, objects: Mapping[str, str]) -> None:
        """Adds the custom objects that the destination has: table -> OBJECT_NAME."""
        self.objects.update({name: custom_object(object_name, name) for name, object_name in objects.items()})

    def object_names(self) -> dict[str, str]:
        """Table -> OBJECT_NAME of the known custom objects."""
        return {name: entity.object_name for name, entity in self.objects.items()}

    def entity(self, name: str) -> Entity:
        """The entity of a name; for a custom object, the defined one if it is known."""
        return self.objects.get(name) or ENTITIES.get(name) or custom_object(name, name)

    def with_objects(self, names: Iterable[str]) -> list[str]:
        """The names, and with `custom_object_records` those of all known custom objects."""
        names = list(names)
        return list(dict.fromkeys([*names, *(self.objects if RECORDS in names else ())]))
