"""The adapter of a destination: dlt's destination, and the facts about it that dlt does not know."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Any

import dlt
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.configuration.specs import CredentialsConfiguration
from dlt.common.configuration.specs.base_configuration import is_secret_hint
from dlt.common.destination import Destination
from dlt.common.destination.exceptions import InvalidDestinationReference, UnknownDestinationModule
from dlt.common.exceptions import MissingDependencyException

from sources.insightly.errors import BadSetting, InsightlyError, register_secret


class Unreachable(InsightlyError):
    """The destination does not answer, or answers with an error; nothing was read or written."""

    transient = True


DATABASE_FIELDS = ("catalog", "database", "project_id")
"""Credentials that name a database. dlt's `data_location` can leave them out and name the server alone."""


class Unwritable(InsightlyError):
    """A file or folder cannot be written."""


class DestinationAdapter:
    """Any destination of dlt. Its settings and credentials come from dlt's configuration.

    Args:
        name: a destination of dlt, or one that dlt's configuration names.
    """

    sql = True
    """Whether SQL can change rows."""
    concurrent_reads = True
    """Whether a command can read what is committed while another one writes."""
    concurrent_writes = True
    """Whether commands can write different datasets at the same time."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return self.name

    def exists(self) -> bool:
        """False if the destination is a file that does not exist."""
        return True

    def create(self) -> bool:
        """Creates the destination if it is a file that does not exist; returns whether it was created."""
        return False

    def factory(self, read_only: bool = False) -> "Destination[Any, Any]":
        """The destination for a dlt pipeline.

        Args:
            read_only: open a file to read, which needs no permission to write it.

        Raises:
            BadSetting: dlt has no destination of this name.
        """
        del read_only
        return _resolve(self.name)

    def is_writable(self) -> bool:
        """False if the destination is a file that this user cannot write."""
        return True

    @cached_property
    def location(self) -> str:
        """A text that differs between two databases, folders or files. It contains no secret.

        Raises:
            BadSetting: the destination is not configured.
        """
        with self.configured():
            factory = self.factory()
            configuration = factory.configuration(factory.spec(), accept_partial=True)
            credentials = getattr(configuration, "credentials", None)
            _hide(credentials, self.name)
            self.check_credentials(credentials)
            names = (getattr(credentials, name, "") for name in DATABASE_FIELDS)
            return "\n".join(
                map(str, (configuration.data_location(), getattr(configuration, "bucket_url", ""), *names))
            )

    def check_credentials(self, credentials: Any) -> None:
        """Raises BadSetting for a URL that the driver would take apart in another way than its writer meant."""
        if "@" in str(getattr(credentials, "host", None) or ""):
            fix = "its password contains an @: write %40 for it"
            raise BadSetting(f"destination.{self.name}.credentials", "***", fix)

    @contextmanager
    def configured(self) -> Iterator[None]:
        """Turns dlt's errors about settings and missing packages into BadSetting, with what to do next.

        Raises:
            BadSetting
        """
        try:
            yield
        except ConfigurationException as error:
            reason = f"{str(error).splitlines()[0].rstrip('.')}; see docs/operate/destinations.md for the settings"
        except MissingDependencyException as error:
            reason = f"packages are missing: pip install {' '.join(map(repr, error.dependencies))}"
        except ImportError as error:
            reason = f"{error}: pip install 'dlt[{destination_type(self.name)}]'"
        else:
            return
        raise BadSetting("--destination", self.name, reason) from None

    def lock(self, _dataset: str, _wait: float, _writes: bool) -> AbstractContextManager[None]:
        """A lock on a dataset that runs with other working folders, and on other machines, see as well.

        Args:
            _dataset: its name in the destination.
            _wait: seconds to wait for another run.
            _writes: whether the command writes.

        Raises:
            Busy: another run still has the lock after `wait` seconds.
            Unreachable: the destination does not answer.
        """
        return nullcontext()

    def check_lock(self) -> None:
        """Raises Busy if another run has taken the lock. Called before rows are loaded."""

    def explain(self, _error: BaseException, _dataset: str) -> str | None:
        """What an error of the database means and what to do, in one line; None if its own words say it.

        Args:
            _error: of dlt, with that of the database as one of its causes.
            _dataset: the dataset's name in the destination.
        """
        return None

    def limit_memory(self, _: dlt.Pipeline, loading: bool = False) -> None:
        """Limits the memory of a database that runs in this process; for `loading`, to what the waiting package takes.

        Args:
            _: the pipeline.
            loading: whether the package is loaded next.
        """


def _hide(credentials: Any, name: str) -> None:
    """Keeps the secrets of resolved credentials out of all messages, but not what is public as well."""
    public = {name, *(str(getattr(credentials, part, "")) for part in (*DATABASE_FIELDS, "username", "host"))}
    fields = credentials.get_resolvable_fields() if isinstance(credentials, CredentialsConfiguration) else {}
    for field, hint in fields.items():
        value = getattr(credentials, field, None)
        if is_secret_hint(hint) and isinstance(value, str) and value not in public:
            register_secret(value)
    for parameter, value in (getattr(credentials, "query", None) or {}).items():
        if "password" in parameter.lower():
            register_secret(str(value))


def destination_type(name: str) -> str:
    """dlt's type of a destination, such as `postgres`.

    Raises:
        BadSetting: dlt has no destination of this name.
    """
    return _resolve(name).destination_type.rpartition(".")[2]


def _resolve(name: str) -> "Destination[Any, Any]":
    try:
        return dlt.destination(name)
    except (UnknownDestinationModule, InvalidDestinationReference):
        reason = "dlt has no destination of that name, and its configuration names none"
        raise BadSetting("--destination", name, reason) from None
