"""Is the key good, whose is it, what may it read: asked of the API, nothing written."""

import time
from typing import Any

from pipelines.engine.report import Report
from sources.insightly.config.settings import InsightlySettings
from sources.insightly.context import SyncContext
from sources.insightly.errors import NotAvailable


def check(settings: InsightlySettings) -> Report:
    """Asks `/Instance`, `/Users/Me` and `/Permissions`: account, plan, user, permissions and the calls left today.

    Raises:
        InsightlyError: the key or the address does not work.
    """
    begun = time.monotonic()
    context = SyncContext(settings)
    try:
        answers = {name: _ask(context, path) for name, path in QUESTIONS.items()}
    finally:
        context.close()
    facts = {"url": settings.url, **answers}
    return Report(
        "check",
        calls=context.budget.calls,
        calls_left_today=context.budget.remaining,
        seconds=time.monotonic() - begun,
        facts=facts,
    )


QUESTIONS = {"account": "Instance", "user": "Users/Me", "permissions": "Permissions"}


def _ask(context: SyncContext, path: str) -> dict[str, Any] | None:
    try:
        return context.client.get_object(path, {}, label="check")[0]
    except NotAvailable:
        return None
