"""Checks the key with three calls: the account, the user, the permissions. Nothing is written."""

import time
from typing import Any

from pipelines.engine.report import Report
from sources.insightly.config.settings import InsightlySettings
from sources.insightly.context import SyncContext
from sources.insightly.errors import NotAvailable

PATHS = {"account": "Instance", "user": "Users/Me", "permissions": "Permissions"}


def check(settings: InsightlySettings) -> Report:
    """Reads `/Instance`, `/Users/Me` and `/Permissions`: account, plan, user, permissions and the calls left today.

    Raises:
        InsightlyError: the key or the address does not work.
    """
    started, context = time.monotonic(), SyncContext(settings)
    facts: dict[str, Any] = {"url": settings.url}
    try:
        for name, path in PATHS.items():
            try:
                facts[name] = context.client.get_object(path, {}, label="check")[0]
            except NotAvailable:
                facts[name] = None
    finally:
        context.close()
    report = Report("check", calls=context.budget.calls, calls_left_today=context.budget.remaining, facts=facts)
    report.seconds = time.monotonic() - started
    return report
