"""Where a run writes: a destination of dlt's, and what of it dlt does not say."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from functools import cached_property
from typing import Any

import dlt
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.destination import Destination, DestinationCapabilitiesContext
from dlt.common.destination.exceptions import InvalidDestinationReference, UnknownDestinationModule
from dlt.common.exceptions import MissingDependencyException
from dlt.common.normalizers.naming import NamingConvention

from sources.insightly.errors import BadSetting

# Entities finish one after another, so a small budget ends walks instead of touching all of them; a table is replaced
# within one transaction, so a kill never shows it empty; and nothing is told to dlt's makers unasked.
os.environ.setdefault("EXTRACT__NEXT_ITEM_MODE", "fifo")
os.environ.setdefault("DESTINATION__REPLACE_STRATEGY", "insert-from-staging")
os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
os.environ.setdefault("RUNTIME__LOG_LEVEL", "ERROR")

APART = ("catalog", "database", "project_id")
"""What keeps two places apart that share what dlt calls a location: that can be a whole account's."""


class DestinationAdapter:
    """A destination with nothing special about it; its settings and credentials are those of dlt.

    Args:
        name: a destination of dlt's, or one that dlt's configuration names.
    """

    sql = True
    """Whether rows there are changed by SQL."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return self.name

    def exists(self) -> bool:
        """False where it would have to be made first."""
        return True

    def factory(self) -> "Destination[Any, Any]":
        """The destination as dlt takes it.

        Raises:
            BadSetting: dlt knows none of that name.
        """
        return _known(self.name)

    @cached_property
    def location(self) -> str:
        """Tells the place from others of its kind, without a secret.

        Raises:
            BadSetting: it is not configured.
        """
        with self.configured():
            factory = self.factory()
            configuration = factory.configuration(factory.spec(), accept_partial=True)
            credentials = getattr(configuration, "credentials", None)
            apart = (getattr(configuration, "bucket_url", ""), *(getattr(credentials, name, "") for name in APART))
            return "\n".join(map(str, (configuration.data_location(), *apart)))

    @contextmanager
    def configured(self) -> Iterator[None]:
        """Tells what to do where dlt finds the destination badly configured, or its packages missing.

        Raises:
            BadSetting
        """
        try:
            yield
        except ConfigurationException as error:
            told = f"{str(error).splitlines()[0].rstrip('.')}; docs/operate/destinations.md has the settings"
        except MissingDependencyException as error:
            told = f"it needs packages that are missing: pip install {' '.join(map(repr, error.dependencies))}"
        except ImportError as error:
            told = f"{error}: pip install 'dlt[{destination_type(self.name)}]'"
        else:
            return
        raise BadSetting("--destination", self.name, told) from None

    def kept_open(self, _: dlt.Pipeline) -> AbstractContextManager[None]:
        """What a command holds open while it is at work."""
        return nullcontext()

    def loaded(self, _: dlt.Pipeline) -> None:
        """What follows each package that was loaded."""


def with_cached_capabilities(destination: "Destination[Any, Any]") -> "Destination[Any, Any]":
    """The destination, which now works out once what it is capable of.

    dlt has it do so from its whole configuration some fifty times a run, a quarter of the time that a small run takes.
    """
    work_out, known = destination.capabilities, dict[Any, DestinationCapabilitiesContext]()

    def capabilities(config: Any = None, naming: NamingConvention | None = None) -> DestinationCapabilitiesContext:
        if config is not None:
            return work_out(config, naming)
        key = type(naming), getattr(naming, "max_length", None)
        if key not in known:
            known[key] = work_out(None, naming)
        return deepcopy(known[key])

    destination.capabilities = capabilities  # type: ignore[method-assign]
    return destination


def destination_type(name: str) -> str:
    """The sort of destination that a name stands for, by dlt's name for the sort.

    Raises:
        BadSetting: dlt knows none of that name.
    """
    return _known(name).destination_type.rpartition(".")[2]


def _known(name: str) -> "Destination[Any, Any]":
    try:
        return dlt.destination(name)
    except (UnknownDestinationModule, InvalidDestinationReference):
        told = "dlt has no destination of that name, and its configuration names none"
        raise BadSetting("--destination", name, told) from None
