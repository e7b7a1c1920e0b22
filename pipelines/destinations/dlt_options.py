"""The options of dlt itself: what this program sets, and what nothing outside it may set."""

import logging
import os
from typing import Any

from dlt.common.configuration import resolve_configuration
from dlt.common.configuration.exceptions import ConfigValueCannotBeCoercedException
from dlt.common.configuration.providers import EnvironProvider
from dlt.common.configuration.resolve import inject_section
from dlt.common.configuration.specs import known_sections
from dlt.common.configuration.specs.config_section_context import ConfigSectionContext
from dlt.common.normalizers.naming.exceptions import UnknownNamingModule
from dlt.pipeline.configuration import PipelineConfiguration

from sources.insightly.config.providers import SOURCE, providers
from sources.insightly.errors import BadSetting, chain

from .pipeline_state import PIPELINE

# Entities finish one after another, so a small budget completes some instead of starting all. No resource has futures,
# for which dlt waits at the end of each source. A table is replaced in one transaction, so a killed run never
# leaves it empty. Tables are written as they come; dlt would collect 5,000 rows, which can be all rows of a chunk. The
# files of a load package are read once, from the same disk: to compress those for Postgres took a quarter of a run. No
# telemetry is sent. dlt would defer signals, and lose those that come while it loads.
os.environ.setdefault("EXTRACT__NEXT_ITEM_MODE", "fifo")
os.environ.setdefault("EXTRACT__FUTURES_POLL_INTERVAL", "0.001")
os.environ.setdefault("DESTINATION__REPLACE_STRATEGY", "insert-from-staging")
os.environ.setdefault("DATA_WRITER__BUFFER_MAX_ITEMS", "100")
os.environ.setdefault("DATA_WRITER__DISABLE_COMPRESSION", "true")
os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
os.environ.setdefault("RUNTIME__LOG_LEVEL", "ERROR")
os.environ.setdefault("RUNTIME__INTERCEPT_SIGNALS", "false")

FIXED = (
    *("dataset_name_layout", "dev_mode", "full_refresh", "refresh", "use_single_dataset"),
    *("staging_type", "staging_name", "import_schema_path", "restore_from_destination"),
)
"""Options of dlt's pipeline that decide which dataset has the rows, and whether they stay there."""

SECTIONS = ("data_writer", "extract", "load", "normalize", "runtime", "schema")
"""Sections of dlt's own options, which can also be in that of the source."""


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


def check_pipeline_options() -> None:
    """Checks that dlt's configuration does not send the rows elsewhere, or drop them.

    Raises:
        BadSetting: it sets one of `FIXED`.
    """
    sections = (known_sections.PIPELINES, PIPELINE)
    with inject_section(ConfigSectionContext(pipeline_name=PIPELINE, sections=sections)):
        found = resolve_configuration(PipelineConfiguration(pipeline_name=PIPELINE))
    for option in FIXED:
        if found[option] != getattr(PipelineConfiguration, option):
            fix = f"remove it from .dlt/config.toml, or PIPELINES__{option.upper()} from the environment"
            raise BadSetting(f"pipelines.{option}", found[option], f"insightly sets this option of dlt itself; {fix}")


def wrong_option(raised: BaseException) -> BadSetting | None:
    """The error to show where dlt has refused the value of one of its own options, since dlt names no section."""
    for error in chain(raised):
        if isinstance(error, ConfigValueCannotBeCoercedException):
            kind = {int: "a whole number", float: "a number", bool: "true or false"}.get(error.hint, "of another type")
            return _wrong(error.field_name, error.field_value, f"must be {kind}, or be removed")
        if isinstance(error, UnknownNamingModule):
            return _wrong("naming", error.naming_module, "dlt has no such naming convention; remove it")
    return None


def _wrong(option: str, value: object, fix: str) -> BadSetting | None:
    for provider in providers().providers:
        for section in SECTIONS:
            for sections in ((section,), (*SOURCE, section)):
                found, name = provider.get_value(option, str, None, *sections)
                if str(found) == str(value):
                    return BadSetting(name, value, fix)
    return None
