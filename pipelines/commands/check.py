"""Checks the key with three calls: the account, the user, the permissions. Nothing is written."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from pipelines.engine.report import Report
from sources.insightly.config.settings import InsightlySettings
from sources.insightly.context import SyncContext
from sources.insightly.errors import NotAvailable, NotFound

PATHS = {"account": "Instance", "user": "Users/Me", "permissions": "Permissions"}


def check(settings: InsightlySettings) -> Report:
    """Reads `/Instance`, `/Users/Me` and `/Permissions`: account, plan, user, permissions and the calls left today.

    Returns:
        The report; its exit code is 1 if all three are refused.

    Raises:
        InsightlyError: the key or the address does not work.
    """
    facts: dict[str, Any] = {"url": settings.url}
    refused: list[NotAvailable] = []
    with closing(SyncContext(settings)) as context:
        for name, path in PATHS.items():
            try:
                facts[name] = context.client.get_object(path, {}, label="check")[0]
            except NotAvailable as error:
                facts[name] = None
                refused.append(error)
    report = Report("check", facts=facts)
    report.add_costs(context)
    if refused and len(refused) == len(PATHS):
        report.fail(f"nothing can be read at {settings.url}: {refused[0]}. {_hint(settings, refused)}")
    return report


def _hint(settings: InsightlySettings, refused: Sequence[NotAvailable]) -> str:
    if settings.base_url and all(isinstance(error, NotFound) for error in refused):
        return "Check sources.insightly.base_url: the address of the API ends with /v3.1"
    return "Check that the user of the key may use the API, and that no firewall stands in between"
