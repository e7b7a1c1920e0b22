"""Further accounts: their settings under `[sources.insightly.instances.<name>]`, or in the environment."""

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
"""The account of `[sources.insightly]`, and the dataset of all accounts: no other account can have these names."""
VIEWS = "_marts"
"""The suffix of the dataset with an account's views."""
_PREFIX = "__".join(SECTION).upper() + "__"
_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")


def section_of(account: str | None) -> str:
    """The section of an account's settings; None is the account of `[sources.insightly]`."""
    return ".".join(SECTION[:2] if account is None else (*SECTION, account))


def where_to_set(setting: str, account: str | None = None, file: str = "secrets.toml") -> str:
    """Where to set a setting, as a clause for a message."""
    section = section_of(account)
    variable = "__".join((*section.split("."), setting)).upper()
    return f"set {variable} in the environment, or {setting} under [{section}] in .dlt/{file}"


def is_account_name(text: str) -> bool:
    """Whether an account can have this name: no other account's data, staging or views may be in its dataset."""
    return bool(_NAME.fullmatch(text)) and text not in (DEFAULT, ALL) and not f"_{text}".endswith(("_staging", VIEWS))


def configured_accounts() -> dict[str, set[str]]:
    """The configured accounts in the order of their names, each with the names of its settings.

    dlt resolves single values only, so this reads the section from its files and searches the environment.

    Raises:
        BadSetting: there is something other than one section per account.
    """
    found: dict[str, set[str]] = {}
    for variable in os.environ:
        if variable.startswith(_PREFIX):
            account, _, setting = variable.removeprefix(_PREFIX).lower().rpartition("__")
            if not account:
                raise BadSetting(variable, "***", f"name a setting after the account, as {_PREFIX}EMEA__POD")
            found.setdefault(account, set()).add(setting)
    for provider in _providers():
        sections, _ = provider.get_value(SECTION[-1], dict, None, *SECTION[:-1])
        for name, section in _section(sections, ".".join(SECTION)).items():
            found.setdefault(name, set()).update(_section(section, section_of(name)))
    return dict(sorted(found.items()))


def account_settings(account: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an account's own section, each from the first of dlt's providers that has it.

    Args:
        account: its name.
        known: the existing settings, and their types.

    Raises:
        BadSetting: the name is not valid, a setting is unknown, or a secret is in a file that is not for secrets.
    """
    section = section_of(account)
    if not is_account_name(account):
        fix = "a name has a-z, 0-9 and single _, starts with a letter, and is not all, default, staging or marts"
        raise BadSetting(".".join(SECTION), redact(account), fix)
    for setting in sorted(configured_accounts().get(account, set()) - known.keys()):
        # Never show the value: the setting may be a misspelt key.
        raise BadSetting(f"{section}.{setting}", "***", f"no such setting; known are {', '.join(known)}")
    values: dict[str, Any] = {}
    for setting, hint in known.items():
        for provider in _providers():
            value, _ = provider.get_value(setting, hint, None, *SECTION, account)
            if value is None:
                continue
            if is_secret_hint(hint) and not provider.supports_secrets:
                raise misplaced_secret(setting, account)
            values[setting] = value
            break
    return values


def misplaced_secret(setting: str, account: str | None = None) -> BadSetting:
    """The error for a secret in a file that is not for secrets."""
    fix = f"it is in config.toml, which is not for secrets; {where_to_set(setting, account)}"
    return BadSetting(f"{section_of(account)}.{setting}", "***", fix)


def _providers() -> list[ConfigProvider]:
    return [provider for provider in Container()[PluggableRunContext].providers.providers if not provider.is_empty]


def _section(found: Any, name: str) -> Mapping[str, Any]:
    if found is not None and not isinstance(found, Mapping):
        raise BadSetting(name, "***", "must be a section per account, as [sources.insightly.instances.emea]")
    return found or {}
