"""What dlt does again and again in a run: done once, or left out where it finds nothing. dlt has no options for it.

Each docstring says what share of a run it took.
"""

import sys
from contextlib import suppress
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import dlt
from dlt.common import validation
from dlt.common.configuration import inject, resolve
from dlt.common.configuration.container import Container
from dlt.common.configuration.providers import environ
from dlt.common.configuration.specs import base_configuration
from dlt.common.configuration.specs.base_configuration import CredentialsWithDefault
from dlt.common.configuration.specs.config_section_context import ConfigSectionContext
from dlt.common.destination import Destination, DestinationCapabilitiesContext
from dlt.common.normalizers.json import relational
from dlt.common.normalizers.naming import NamingConvention
from dlt.common.schema import Schema
from dlt.common.schema import utils as schema_utils
from dlt.common.storages import LiveSchemaStorage

from .pipeline_state import PIPELINE, SCHEMA

OPTIONS = frozenset(
    f"{name}Configuration"
    for name in ("BufferedDataWriter", "LoadStorage", "NormalizeStorage", "ParquetFormat", "Schema", "SchemaStorage")
)
"""Options of files, folders and schemas: dlt's own, none of them a secret."""
_options = dict[tuple[Any, ...], Any]()


def cache_configuration(destination: "Destination[Any, Any]") -> "Destination[Any, Any]":
    """Makes the destination read its configuration once for a dataset, and compute its capabilities once.

    dlt does both some fifty times a run: a third of the time of a small run. Credentials that a cloud gives the
    machine expire, and are read each time. A run calls this first, and reads the options in OPTIONS again.
    """
    _options.clear()
    resolve, resolved = destination.configuration, dict[Any, Any]()
    compute, computed = destination.capabilities, dict[Any, tuple[Any, DestinationCapabilitiesContext]]()

    def configuration(initial_config: Any, accept_partial: bool = False) -> Any:
        names = "dataset_name", "default_schema_name"
        key = accept_partial, *(getattr(initial_config, name, None) for name in names)
        if key in resolved:
            return resolved[key]
        found = resolve(initial_config, accept_partial)
        credentials = getattr(found, "credentials", None)
        if not (isinstance(credentials, CredentialsWithDefault) and credentials.has_default_credentials()):
            resolved[key] = found
        return found

    def capabilities(config: Any = None, naming: NamingConvention | None = None) -> DestinationCapabilitiesContext:
        if config is not None and all(config is not each for each in resolved.values()):
            return compute(config, naming)
        key = type(naming), getattr(naming, "max_length", None), id(config)
        if key not in computed:
            computed[key] = config, compute(config, naming)
        return deepcopy(computed[key][1])

    destination.configuration = configuration  # type: ignore[method-assign]
    destination.capabilities = capabilities  # type: ignore[method-assign]
    return destination


class _CachedSchemas(LiveSchemaStorage):
    """A pipeline's schemas, each read from its file again only after the file changed."""

    versions: dict[str, tuple[int, int, int] | None]

    def __getitem__(self, name: str) -> Schema:
        # dlt compares the hashes of both schemas first, over every column of every table.
        if name in self.live_schemas and self.versions.get(name) == self._version(name):
            return self.live_schemas[name]
        return super().__getitem__(name)

    def load_schema(self, name: str) -> Schema:
        version = self._version(name)
        schema = super().load_schema(name)
        self.versions[name] = version
        return schema

    def _version(self, name: str) -> tuple[int, int, int] | None:
        with suppress(FileNotFoundError):
            stat = Path(self.storage.make_full_path(f"{name}.schema.json")).stat()
            return stat.st_ino, stat.st_mtime_ns, stat.st_size
        return None


def cache_schemas(pipeline: dlt.Pipeline) -> None:
    """Makes the pipeline read its schema file only when it has changed.

    dlt reads, hashes and validates it some thirty times a run: a fifth of the time of a small run.
    """
    storage: Any = pipeline.schemas
    storage.__class__, storage.versions = _CachedSchemas, {}


def _cache_options(inject: Any) -> None:
    """Has dlt look up the options in OPTIONS once a run, and not for each file, folder and table: a tenth of a run."""
    look_up = inject.resolve_configuration

    def resolve_configuration(config: Any, *, explicit_value: Any, accept_partial: bool) -> Any:
        context = Container()[ConfigSectionContext]
        if context.pipeline_name != PIPELINE or type(config).__name__ not in OPTIONS:
            return look_up(config, explicit_value=explicit_value, accept_partial=accept_partial)
        explicit = [(name, explicit_value.get(name)) for name in config.get_resolvable_fields()]
        key = type(config), context.sections, accept_partial, *explicit, *config.items()
        if key not in _options:
            _options[key] = look_up(config, explicit_value=explicit_value, accept_partial=accept_partial)
        return _options[key].copy()

    inject.resolve_configuration = resolve_configuration


def _cache_type_hints(validation: Any) -> None:
    """Has dlt take the types of its typed dicts apart once, and not for each table: a tenth of a small run."""
    compute = validation.get_type_hints
    hints = cache(lambda spec: compute(spec, vars(sys.modules[spec.__module__])))
    validation.get_type_hints = lambda spec, **_: hints(spec)


def _cache_secret_hints(*modules: Any) -> None:
    """Has dlt look once whether an option is a secret, and not at each place where it may be set: a tenth of a run."""
    look = base_configuration.is_secret_hint
    looked_up = cache(look)

    def is_secret_hint(hint: Any) -> bool:
        try:
            return looked_up(hint)
        except TypeError:  # a hint of another source in this process may have no hash
            return look(hint)

    for module in modules:
        module.is_secret_hint = is_secret_hint


def _trust_stored_schema(schema_utils: Any) -> None:
    """Stops dlt from validating our schema, which it stored in the database itself: a twentieth of a run."""
    validate = schema_utils.validate_stored_schema
    schema_utils.validate_stored_schema = lambda stored: None if stored["name"] == SCHEMA else validate(stored)


def _skip_root_keys(relational: Any) -> None:
    """Stops dlt from looking for nested tables that need a key of their root table: our schema has none.

    For it, dlt resolves the merge strategy of each table each time that it reads a schema: a sixth of a run.
    """
    requires = relational.requires_root_key
    relational.requires_root_key = lambda schema, *rest: schema.name != SCHEMA and requires(schema, *rest)


_cache_options(inject)
_cache_type_hints(validation)
_cache_secret_hints(environ, resolve)
_trust_stored_schema(schema_utils)
_skip_root_keys(relational)
