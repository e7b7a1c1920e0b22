"""The custom objects of a store: each has a row in `custom_objects`, and a table named by its OBJECT_NAME."""

from .shapes import Record
from .store import Store
from .table import Table


def define_object(store: Store, name: str) -> Record:
    """Adds a custom object without records, e.g. `Fruit__c`, and returns its definition."""
    with store.lock:
        store.tables[name] = Table()
        return store.create("custom_objects", {"OBJECT_NAME": name, "SINGULAR_LABEL": name.removesuffix("__c")})


def remove_object(store: Store, name: str) -> None:
    """Removes a custom object and its records. Raises KeyError where there is none."""
    with store.lock:
        store.delete("custom_objects", name)
        del store.tables[name]


def object_named(store: Store, name: str) -> str | None:
    """The OBJECT_NAME of the custom object with this name in any case, or None."""
    names = (each for each in store.tables["custom_objects"].keys if each in store.tables)
    return next((each for each in names if each.lower() == name.lower()), None)
