"""Further accounts: what is given for each under `[sources.insightly.instances.<name>]`, or by the environment."""

import os
import re
from collections.abc import Mapping
from typing import Any

from dlt.common.configuration.container import Container
from dlt.common.configuration.providers import ConfigProvider
from dlt.common.configuration.specs.base_configuration import is_secret_hint
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

from ..errors import BadSetting, redact

SECTION = ("sources", "insightly", "instances")
DEFAULT, ALL = "default", "all"
"""The account of `[sources.insightly]` itself, and the dataset that shows all accounts: no instance's name."""
VIEWS = "_marts"
"""What the dataset of an account's views has behind the name of its own."""
_PREFIX = "__".join(SECTION).upper() + "__"
_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")


def section_of(instance: str | None) -> str:
    """Where the settings of an account are given, as messages name it; None is the account of `[sources.insightly]`."""
    return ".".join(SECTION[:2] if instance is None else (*SECTION, instance))


def where_to_set(setting: str, instance: str | None = None, file: str = "secrets.toml") -> str:
    """Where a setting can be put, as a clause."""
    section = section_of(instance)
    variable = "__".join((*section.split("."), setting)).upper()
    return f"set {variable} in the environment, or {setting} under [{section}] in .dlt/{file}"


def is_account_name(text: str) -> bool:
    """Whether an instance can be called so: its dataset must be no other's, nor that of another's staging or views."""
    return bool(_NAME.fullmatch(text)) and text not in (DEFAULT, ALL) and not f"_{text}".endswith(("_staging", VIEWS))


def configured_accounts() -> dict[str, set[str]]:
    """The instances, in the order of their names, and which settings are given for each.

    dlt asks for single values only, so that its files are asked for the whole section, and the environment is searched.

    Raises:
        BadSetting: what is there is not a section an account.
    """
    found: dict[str, set[str]] = {}
    for variable in os.environ:
        if variable.startswith(_PREFIX):
            instance, _, setting = variable.removeprefix(_PREFIX).lower().rpartition("__")
            if not instance:
                raise BadSetting(variable, "***", f"name a setting behind the account, as {_PREFIX}EMEA__POD")
            found.setdefault(instance, set()).add(setting)
    for provider in _providers():
        sections, _ = provider.get_value(SECTION[-1], dict, None, *SECTION[:-1])
        for name, section in _section(sections, ".".join(SECTION)).items():
            found.setdefault(name, set()).update(_section(section, section_of(name)))
    return dict(sorted(found.items()))


def given(instance: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that an instance gives itself, each from the first of dlt's providers that has it.

    Args:
        instance: its name.
        known: the settings there are, and their types.

    Raises:
        BadSetting: the name cannot be one, a setting is not known, or a secret is in a file that holds none.
    """
    section = section_of(instance)
    if not is_account_name(instance):
        fix = "its name is of a-z, 0-9 and single _, begins with a letter, and is not all, default, staging or marts"
        raise BadSetting(".".join(SECTION), redact(instance), fix)
    for setting in sorted(configured_accounts().get(instance, set()) - known.keys()):
        # What is told is never the value: the setting may be a key's, misspelt.
        raise BadSetting(f"{section}.{setting}", "***", f"there is no such setting; known are {', '.join(known)}")
    values: dict[str, Any] = {}
    for setting, hint in known.items():
        for provider in _providers():
            value, _ = provider.get_value(setting, hint, None, *SECTION, instance)
            if value is None:
                continue
            if is_secret_hint(hint) and not provider.supports_secrets:
                fix = f"move it: {where_to_set(setting, instance)}"
                raise BadSetting(f"{section}.{setting}", "in a file that holds no secrets", fix)
            values[setting] = value
            break
    return values


def _providers() -> list[ConfigProvider]:
    return [each for each in Container()[PluggableRunContext].providers.providers if not each.is_empty]


def _section(found: Any, name: str) -> Mapping[str, Any]:
    if found is not None and not isinstance(found, Mapping):
        raise BadSetting(name, "***", "must be a section, one an account: [sources.insightly.instances.emea]")
    return found or {}
