"""dlt's providers of settings: the environment, secrets.toml, config.toml; and what is invalid or mistyped in them."""

import codecs
import os
import re
import stat
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from dlt.common.configuration.container import Container
from dlt.common.configuration.providers import ConfigProvider
from dlt.common.configuration.providers.toml import SECRETS_TOML, SettingsTomlProvider, TomlProviderReadException
from dlt.common.configuration.specs.config_providers_context import ConfigProvidersContainer
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

from ..errors import BadSetting, UnknownSetting, UnreadableFile, closest, redact

SOURCE = ("sources", "insightly")
OF_DLT = ("data_writer", "extract", "max_table_nesting", "normalize", "root_key", "schema", "schema_contract")
"""What dlt itself reads in the section of a source."""
_VARIABLE = re.compile(r"(?:SOURCES_+INSIGHTLY_+|SOURCE__INSIGHTLY__)(.+)", re.IGNORECASE)
"""A variable that was meant for this program, in any case and with any number of `_`."""


def providers() -> ConfigProvidersContainer:
    """dlt's providers.

    Raises:
        UnreadableFile: config.toml or secrets.toml is not valid.
    """
    try:
        return Container()[PluggableRunContext].providers
    except TomlProviderReadException as error:
        raise _unreadable(error) from None


def settings_folder() -> Path:
    """The folder of config.toml and secrets.toml: `.dlt` in the working folder, unless dlt has another setting."""
    return Path(Container()[PluggableRunContext].context.settings_dir)


def section_values(*section: str) -> Iterator[tuple[ConfigProvider, Mapping[str, Any]]]:
    """The settings of a section, by provider; those of the environment only if they are in one variable.

    Raises:
        BadSetting: there is something other than a section.
    """
    for provider in providers().providers:
        if provider.is_empty:
            continue
        found, key = provider.get_value(section[-1], dict, None, *section[:-1])
        if isinstance(found, Mapping):
            yield provider, found
        elif found is not None and len(section) > 1:  # variables such as SOURCES or INSIGHTLY may be of other programs
            raise BadSetting(key, "***", "must be a section with settings, such as [sources.insightly]")


def refuse_unknown_settings(known: Collection[str], *section: str) -> None:
    """Checks that each setting in a section exists, in files and in the environment.

    Args:
        known: the names of the settings, and of the sections within.
        section: its names.

    Raises:
        UnknownSetting: one does not; says what comes close, and which file and line it is in. Never shows the value,
            because the setting may be a misspelt key.
        BadSetting: there is something other than a section.
    """
    known, prefix = (*known, *OF_DLT), variable_of(*section, "")
    for variable in sorted(os.environ):
        name = variable.removeprefix(prefix).lower().partition("__")[0]
        if variable.startswith(prefix) and name not in known:
            raise UnknownSetting(redact(variable), "", advice(name, known, *section))
    for provider, found in section_values(*section):
        for name in found:
            if name not in known:
                raise _unknown((*section, name), known, provider)


def refuse_misspelt_sections(known: Collection[str]) -> None:
    """Checks that no settings for this program are in a section of another name, where nothing reads them.

    Args:
        known: the names of the settings.

    Raises:
        UnknownSetting, BadSetting: as `refuse_unknown_settings`.
    """
    for variable, rest in ((match[0], match[1]) for match in map(_VARIABLE.fullmatch, os.environ) if match):
        if variable != (right := variable_of(*SOURCE, rest)):
            raise UnknownSetting(variable, "", f"did you mean {right}?")
    for top in ("source", "sources"):
        for provider, found in section_values(top):
            for name in found:
                if (top, name) != SOURCE and name.isalpha() and closest(name, SOURCE[1:]):
                    fix = f"did you mean [{'.'.join(SOURCE)}]?"
                    raise UnknownSetting(f"[{top}.{name}]", _location(provider, (top, name)), fix)
    # dlt also takes settings from [insightly], where its own options for a pipeline of that name may be too.
    for provider, found in section_values(SOURCE[1]):
        for name in found:
            if name not in known and closest(name, known):
                raise _unknown((SOURCE[1], name), known, provider)


def readable_secrets() -> list[Path]:
    """The files of secrets that other users of this machine can read."""
    found = []
    for provider in providers().providers:
        if provider.name == SECRETS_TOML and isinstance(provider, SettingsTomlProvider):
            for file in map(Path, provider.present_locations):
                reachable = all(folder.stat().st_mode & stat.S_IXOTH for folder in file.resolve().parents)
                if reachable and file.stat().st_mode & stat.S_IROTH:
                    found.append(file)
    return found


def variable_of(*path: str) -> str:
    """The environment variable of a setting, from its sections and its name."""
    return "__".join(path).upper()


def _unknown(path: tuple[str, ...], known: Collection[str], provider: ConfigProvider) -> UnknownSetting:
    return UnknownSetting(redact(".".join(path)), _location(provider, path), advice(path[-1], known))


def advice(name: str, known: Collection[str], *section: str) -> str:
    """What to write in place of a name that is not known: what comes close, or else all there are.

    `section` is that of the variable to name, if the name is that of a variable.
    """
    if similar := closest(name, known):
        return f"did you mean {variable_of(*section, similar) if section else similar}?"
    return f"known are {', '.join(name for name in known if name not in OF_DLT)}"


def _location(provider: ConfigProvider, path: tuple[str, ...]) -> str:
    """The file and the line of a setting, or the name of a provider without files."""
    for file in map(Path, provider.present_locations if isinstance(provider, SettingsTomlProvider) else ()):
        if line := _line_of(file.read_text(encoding="utf-8"), path):
            return f"{file}, line {line}"
    return provider.name


def _line_of(text: str, path: tuple[str, ...]) -> int | None:
    """The line on which the statement starts that makes the setting, None if there is none."""
    lines, start = text.splitlines(keepends=True), 1
    for count in range(1, len(lines) + 1):
        try:
            node: Any = tomllib.loads("".join(lines[:count]))
        except tomllib.TOMLDecodeError:  # a statement of several lines
            continue
        for name in path:
            node = node.get(name) if isinstance(node, Mapping) else None
        if node is not None:
            return start
        start = count + 1
    return None


def _unreadable(error: TomlProviderReadException) -> UnreadableFile:
    """Finds out which of the files dlt cannot read, and where it is wrong."""
    reason = re.sub(r" at line \d+ col \d+$", "", str(error).splitlines()[-1])
    for file in filter(Path.is_file, map(Path, error.full_paths)):
        try:
            content = file.read_bytes()
            if content.startswith(codecs.BOM_UTF8):
                return UnreadableFile(f"{file}, line 1", "", "save it as UTF-8 without a byte order mark (BOM)")
            tomllib.loads(content.decode())
        except UnicodeDecodeError as wrong:
            line = content.count(b"\n", 0, wrong.start) + 1
            return UnreadableFile(f"{file}, line {line}", "", "it is not UTF-8; save it as UTF-8")
        except tomllib.TOMLDecodeError as wrong:
            found = re.search(r"line \d+", str(wrong))
            quotes = '; a text needs quotes, such as pod = "na1"' if "Invalid value" in str(wrong) else ""
            place = found[0] if found else "last line"
            return UnreadableFile(f"{file}, {place}", "", f"{reason.rstrip('.')}{quotes}")
        except OSError as wrong:
            return UnreadableFile(str(file), "", str(wrong.strerror))
    return UnreadableFile(error.file_name, "", reason)
