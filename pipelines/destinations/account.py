"""The account whose records a destination has: stored with the first package, checked by every later run."""

import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import dlt

from sources.insightly.context import SyncContext
from sources.insightly.errors import NotAvailable, WrongAccount

from .pipeline_state import source_state
from .target import Target

logger = logging.getLogger(__name__)

Account = dict[str, str]


def request_account(context: SyncContext) -> "Future[Account]":
    """The name and subdomain of the key's account, by one call to `/Instance` on another thread."""
    return context.pool.submit(_read_account, context.client.get_object, context.settings.url)


def check_account(
    pipeline: dlt.Pipeline, context: SyncContext, target: Target, requested: "Future[Account] | None" = None
) -> None:
    """Checks that the key belongs to the destination's account, and sets `context.account`, which dlt's state stores.

    Sends one call to `/Instance` if the destination, the host or the key is new.

    Args:
        pipeline, target: the destination.
        context: the run.
        requested: the key's account, if it is already requested.

    Raises:
        WrongAccount: the destination has another account's records.
    """
    stored: Account | None = source_state(pipeline).get("account")
    # The key cannot be recovered from its hash.
    key = hashlib.sha256(f"insightly-sync\n{context.settings.require_key()}".encode()).hexdigest()[:16]
    current = {"host": context.settings.url, "key": key}
    if stored is not None and current.items() <= stored.items():
        context.account = stored
        return
    account = {**(requested or request_account(context)).result(), **current}
    if stored is not None and any(stored[part] != account[part] for part in ("name", "subdomain")):
        raise WrongAccount(
            f"{context.settings.section}.api_key",
            f"a key of {_describe(account)}",
            f"{target} contains the account {_describe(stored)}; use its key, or another --database or --dataset",
        )
    context.account = account


def _read_account(get_object: Callable[..., Any], host: str) -> Account:
    """The account's name and subdomain; the host for both if this key may not read `/Instance`."""
    try:
        instance: dict[str, Any] = get_object("Instance", {}, label="account")[0]
    except NotAvailable as error:
        logger.warning("the account's name cannot be read, so the destination is tied to its host alone: %s", error)
        instance = {}
    return {
        "name": str(instance.get("INSTANCE_NAME") or host),
        "subdomain": str(instance.get("INSTANCE_SUBDOMAIN") or host),
    }


def _describe(account: Account) -> str:
    return f"{account['name']} ({account['subdomain']})"
