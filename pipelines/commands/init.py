"""Sets up a folder: finds the pod of a key, writes `.dlt/`, checks the key, and estimates the first sync."""

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit

from pipelines.destinations.target import Target
from pipelines.engine.report import FAILED, Report
from sources.insightly.config.providers import SOURCE, settings_folder
from sources.insightly.config.settings import InsightlySettings, resolve_settings
from sources.insightly.context import SyncContext
from sources.insightly.errors import BadCredentials, BadSetting, NotAvailable
from sources.insightly.state.request import ReadRequest

from .check import check
from .plan import plan

PODS = ("na1", "eu1", "au1")
"""The pods that a key is tried at, one call each (api.md 1 names others, but not whether they exist)."""
SECRETS, CONFIG = "secrets.toml", "config.toml"
ADDRESS = {"pod", "base_url"}


@dataclass
class Setup:
    """What to write: `secrets` (api_key, hash_key) and `config` (pod or base_url, history, ...).

    `calls` are those that finding the address took.
    """

    secrets: dict[str, Any]
    config: dict[str, Any] = field(default_factory=dict)
    calls: int = 0

    def settings(self) -> InsightlySettings:
        """The settings. Raises BadSetting, RefusedHost: one has a value that it does not take."""
        address = {"base_url": ""} if "pod" in self.config else {}
        return resolve_settings(**self.secrets, **self.config, **address)


def find_address(key: str, pod: str | None = None) -> Setup:
    """The key with the setting of its address: `base_url` if it is configured, else the pod that accepts the key.

    Args:
        key: the API key.
        pod: the only pod to try.

    Raises:
        BadSetting: no pod accepts the key.
        InsightlyError: the API does not respond.
    """
    configured = resolve_settings(api_key=key).base_url
    if configured and pod is None:
        addresses = [{"base_url": configured}]
    else:
        addresses = [{"pod": each} for each in (PODS if pod is None else (pod,))]
    for calls, address in enumerate(addresses, start=1):
        setup = Setup({"api_key": key}, dict(address), calls)
        with closing(SyncContext(setup.settings())) as context:
            try:
                context.client.get("Instance", label="init")
            except BadCredentials:
                continue
            except NotAvailable:
                pass  # the key is known there
        return setup
    tried = ", ".join(value for address in addresses for value in address.values())
    fix = f"{tried} refused it (401): copy it again, or name its pod with --pod; Insightly shows both in "
    raise BadSetting("sources.insightly.api_key", "***", f"{fix}User Settings > API")


def has_key() -> bool:
    """Whether the secrets file has a key already."""
    path = settings_folder() / SECRETS
    return path.exists() and bool(_section(_read(path)).get("api_key"))


def init(setup: Setup, target: Target) -> tuple[Report, Report]:
    """Writes the settings, checks the key, and estimates the first sync.

    Returns:
        The report of the check, and that of the command. If the check fails there is no estimate.

    Raises:
        BadSetting: a setting has a value that it does not take; nothing is written.
        InsightlyError: the API does not respond; the settings are written.
    """
    settings, folder = setup.settings(), settings_folder()
    files = [write(folder / SECRETS, setup.secrets), write(folder / CONFIG, setup.config)]
    checked = check(settings)
    if checked.status == FAILED:
        report = Report("init", FAILED, checked.reason, exit_code=checked.exit_code)
    else:
        report = plan(settings, target, (), ReadRequest())
        report.command = "init"
        report.seconds += checked.seconds
    report.calls += checked.calls + setup.calls
    report.facts |= {"check": checked.facts, "files": [str(path) for path in files]}
    return checked, report


def write(path: Path, values: Mapping[str, Any]) -> Path:
    """Sets values of `[sources.insightly]` in a TOML file that only its owner can read, and keeps the rest of it."""
    document = _read(path) if path.exists() else tomlkit.document()
    if not path.exists() and path.name == CONFIG:
        document["runtime"] = {"dlthub_telemetry": False}
    section = _section(document)
    if values.keys() & ADDRESS:
        for other in ADDRESS - values.keys() & set(section):
            del section[other]
    section.update(values)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    mode = 0o600 if path.name == SECRETS else 0o644
    with open(temporary, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(tomlkit.dumps(document))
    temporary.chmod(mode)
    temporary.replace(path)
    return path


def _read(path: Path) -> tomlkit.TOMLDocument:
    return tomlkit.parse(path.read_text(encoding="utf-8"))


def _section(document: Any) -> Any:
    node = document
    for name, is_last in zip(SOURCE, (False, True), strict=True):
        if name not in node:
            node[name] = tomlkit.table(is_super_table=not is_last)
        node = node[name]
    return node
