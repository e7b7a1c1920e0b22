"""The options of dlt itself: what this program sets, and what nothing outside it may set."""

import logging
import os
import sys
from functools import cache
from typing import Any

from dlt.common import validation
from dlt.common.configuration import resolve, resolve_configuration
from dlt.common.configuration.providers import EnvironProvider, environ
from dlt.common.configuration.resolve import inject_section
from dlt.common.configuration.specs import base_configuration, known_sections
from dlt.common.configuration.specs.config_section_context import ConfigSectionContext
from dlt.common.normalizers.json import relational
from dlt.common.schema import utils as schema_utils
from dlt.pipeline.configuration import PipelineConfiguration

from sources.insightly.config.providers import providers
from sources.insightly.errors import BadSetting

from .pipeline_state import SCHEMA

# Entities finish one after another, so a small budget completes some instead of starting all. No resource has futures,
# for which dlt waits at the end of each source. A table is replaced in one transaction, so a killed run never
# leaves it empty. The files of a load package are read once, from the same disk: to compress those for Postgres took a
# quarter of a run. No telemetry is sent. dlt would defer signals, and lose those that come while it loads.
os.environ.setdefault("EXTRACT__NEXT_ITEM_MODE", "fifo")
os.environ.setdefault("EXTRACT__FUTURES_POLL_INTERVAL", "0.001")
os.environ.setdefault("DESTINATION__REPLACE_STRATEGY", "insert-from-staging")
os.environ.setdefault("DATA_WRITER__DISABLE_COMPRESSION", "true")
os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
os.environ.setdefault("RUNTIME__LOG_LEVEL", "ERROR")
os.environ.setdefault("RUNTIME__INTERCEPT_SIGNALS", "false")

FIXED = (
    *("dataset_name_layout", "dev_mode", "full_refresh", "refresh", "use_single_dataset"),
    *("staging_type", "staging_name", "import_schema_path", "restore_from_destination"),
)
"""Options of dlt's pipeline that decide which dataset has the rows, and whether they stay there."""


def cache_type_hints(validation: Any) -> None:
    """Has dlt take the types of its typed dicts apart once, and not for each table: a tenth of a small run."""
    compute = validation.get_type_hints
    hints = cache(lambda spec: compute(spec, vars(sys.modules[spec.__module__])))
    validation.get_type_hints = lambda spec, **_: hints(spec)


def cache_secret_hints(*modules: Any) -> None:
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


cache_type_hints(validation)
cache_secret_hints(environ, resolve)
# Each run gets its schema from the database, as dlt has stored it: to validate each hint of each column again takes a
# twentieth of a run without changes.
_validate = schema_utils.validate_stored_schema
schema_utils.validate_stored_schema = lambda stored_schema: (
    None if stored_schema["name"] == SCHEMA else _validate(stored_schema)
)
# No table of ours has nested tables that need a key of their root table. To find that out, dlt resolves the merge
# strategy of each table each time that it reads a schema: a sixth of a run without changes.
_requires_root_key = relational.requires_root_key  # type: ignore[attr-defined]
relational.requires_root_key = lambda schema, *rest: (  # type: ignore[attr-defined]
    schema.name != SCHEMA and _requires_root_key(schema, *rest)
)


class SectionEnvironProvider(EnvironProvider):
    """Environment variables, but only those whose name has a section, such as `LOAD__WORKERS`.

    dlt also reads each option from a variable without one: `DEV_MODE`, `REFRESH`, `WORKERS`, `PASSWORD`. Such a
    variable is meant for another program.
    """

    def get_value(self, key: str, hint: type[Any], pipeline_name: str | None, *sections: str) -> tuple[Any, str]:
        if not sections and not pipeline_name:
            return None, self.get_key_name(key)
        return super().get_value(key, hint, pipeline_name, *sections)  # type: ignore[arg-type]


def shorten(record: logging.LogRecord) -> bool:
    """A filter for dlt's log: one line for each error of a load job that is tried again, and none for the last.

    dlt logs their tracebacks. The command says at its end what the error means.
    """
    error, message = record.exc_info and record.exc_info[1], record.getMessage()
    if error is None:
        return "Traceback" not in message
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
    record.msg, record.args, record.exc_info = f"{message.partition(' in file ')[0]}: {first}", (), None
    return not message.startswith("Terminal")


logging.getLogger("dlt").addFilter(shorten)


def ignore_other_variables() -> None:
    """Has dlt read a variable only if its name has a section.

    Raises:
        UnreadableFile: a settings file is not valid.
    """
    provider = SectionEnvironProvider()
    providers()[provider.name] = provider


def check_pipeline_options(pipeline_name: str) -> None:
    """Checks that dlt's configuration does not send the rows elsewhere, or drop them.

    Raises:
        BadSetting: it sets one of `FIXED`.
    """
    sections = (known_sections.PIPELINES, pipeline_name)
    with inject_section(ConfigSectionContext(pipeline_name=pipeline_name, sections=sections)):
        found = resolve_configuration(PipelineConfiguration(pipeline_name=pipeline_name))
    for option in FIXED:
        if found[option] != getattr(PipelineConfiguration, option):
            fix = f"remove it from .dlt/config.toml, or PIPELINES__{option.upper()} from the environment"
            raise BadSetting(f"pipelines.{option}", found[option], f"insightly sets this option of dlt itself; {fix}")
