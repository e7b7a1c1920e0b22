"""Further accounts: their settings under `[sources.insightly.instances.<name>]`, or in the environment."""

import os
import re
from collections.abc import Mapping
from typing import Any

from dlt.common.configuration.specs.base_configuration import is_secret_hint

from ..errors import BadSetting, redact
from .providers import SOURCE, providers, refuse_unknown_settings, section_values, variable_of

KEY_SHOWN = "Insightly shows the key in User Settings > API"
INSTANCES = "instances"
SECTION = (*SOURCE, INSTANCES)
DEFAULT, ALL = "default", "all"
"""The account of `[sources.insightly]`, and the dataset of all accounts: no other account can have these names."""
VIEWS, UNION = "_marts", f"_{ALL}"
"""The suffixes of the datasets with an account's views, and with the views over all accounts."""
_PREFIX = variable_of(*SECTION, "")
_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")


def section_of(account: str | None) -> str:
    """The section of an account's settings; None is the account of `[sources.insightly]`."""
    return ".".join(SECTION[:2] if account is None else (*SECTION, account))


def where_to_set(setting: str, account: str | None = None, file: str = "secrets.toml") -> str:
    """Where to set a setting, as a clause for a message."""
    section = section_of(account)
    variable = variable_of(*section.split("."), setting)
    return f"set {variable} in the environment, or {setting} under [{section}] in .dlt/{file}"


def is_account_name(text: str) -> bool:
    """Whether an account can have this name: no other account's data, staging or views may be in its dataset."""
    return bool(_NAME.fullmatch(text)) and text != DEFAULT and not f"_{text}".endswith(("_staging", VIEWS, UNION))


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
                raise BadSetting(variable, "***", f"name a setting after the account, such as {_PREFIX}EMEA__POD")
            found.setdefault(account, set()).add(setting)
    for _, sections in section_values(*SECTION):
        for name in sections:
            for _, settings in section_values(*SECTION, name):
                found.setdefault(name, set()).update(settings)
    return dict(sorted(found.items()))


def account_settings(account: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an account's own section, each from the first of dlt's providers that has it.

    Args:
        account: its name.
        known: the existing settings, and their types.

    Raises:
        BadSetting: the name is not valid, a setting is unknown, or a secret is in a file that is not for secrets.
    """
    if not is_account_name(account):
        fix = "a name has a-z, 0-9 and single _, starts with a letter, and is not all, default, staging or marts"
        raise BadSetting(".".join(SECTION), redact(account), fix)
    configured_accounts()  # raises BadSetting
    refuse_unknown_settings(known, *SECTION, account)
    values: dict[str, Any] = {}
    for setting, hint in known.items():
        for provider in providers().providers:
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
    fix += f"; {KEY_SHOWN}" if setting == "api_key" else ""
    return BadSetting(f"{section_of(account)}.{setting}", "***", fix)
