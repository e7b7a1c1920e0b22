"""Which account a destination holds: asked once for a new destination, host or key, and refused when it differs."""

import hashlib
import logging
from typing import Any

import dlt

from sources.insightly.config.settings import InsightlySettings
from sources.insightly.context import SyncContext
from sources.insightly.errors import NotAvailable, WrongAccount

from .pipeline_state import source_state
from .target import Target

logger = logging.getLogger(__name__)


def bind(pipeline: dlt.Pipeline, context: SyncContext, target: Target) -> None:
    """Puts the account into the session, to be stored with the first package; asks `/Instance` only when it must.

    Raises:
        WrongAccount: the destination holds another account's records.
    """
    held: dict[str, str] | None = source_state(pipeline).get("account")
    mine = fingerprint(context.settings)
    if held is not None and all(held.get(key) == value for key, value in mine.items()):
        context.account = held
        return
    account = {**identify(context), **mine}
    if held is not None and any(held[key] != account[key] for key in ("name", "subdomain")):
        raise WrongAccount(
            f"{context.settings.section}.api_key",
            f"a key of {describe(account)}",
            f"{target} holds the account {describe(held)}; use its key, or another --database or --dataset",
        )
    context.account = account


def fingerprint(settings: InsightlySettings) -> dict[str, str]:
    """What changes with host or key; the key itself cannot be told from it."""
    key = hashlib.sha256(f"insightly-sync\n{settings.require_key()}".encode()).hexdigest()[:16]
    return {"host": settings.url, "key": key}


def identify(context: SyncContext) -> dict[str, str]:
    """Name and subdomain of the account; both are the host where `/Instance` may not be read."""
    try:
        instance: dict[str, Any] = context.client.get_object("Instance", {}, label="account")[0]
    except NotAvailable as error:
        logger.warning("the account's name cannot be read, so the destination is bound to its host alone: %s", error)
        instance = {}
    host = context.settings.url
    return {
        "name": str(instance.get("INSTANCE_NAME") or host),
        "subdomain": str(instance.get("INSTANCE_SUBDOMAIN") or host),
    }


def describe(account: dict[str, str]) -> str:
    return f"{account['name']} ({account['subdomain']})"
