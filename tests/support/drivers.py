"""Fakes the client packages of Snowflake and BigQuery, so that dlt generates their SQL without a connection."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

ROOTS = ("snowflake", "google")
USERS = ("dlt.destinations.impl.snowflake", "dlt.destinations.impl.bigquery")


class FakeClass(type):
    """A class that has every attribute."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return FakeClass(name, (Exception,), {"__init__": lambda *_, **__: None})


class FakeDrivers(MetaPathFinder, Loader):
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if fullname.partition(".")[0] in ROOTS else None

    def exec_module(self, module: ModuleType) -> None:
        module.__getattr__ = lambda name: FakeClass.__getattr__(FakeClass, name)  # type: ignore[method-assign]


@contextmanager
def fake_drivers() -> Iterator[None]:
    """A context in which the packages seem to be installed."""
    before = dict(sys.modules)
    finder = FakeDrivers()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in set(sys.modules) - set(before):
            if name.partition(".")[0] in ROOTS or name.startswith(USERS):
                del sys.modules[name]
