"""Is the key good, whose is it, what may it read: asked of the API, nothing written."""

import time
from typing import Any

from sources.insightly.entities import ENTITIES, Entity
from sources.insightly.errors import NotAvailable
from sources.insightly.session import Session
from sources.insightly.settings import InsightlySettings

from .report import EntityReport, Report


def check(settings: InsightlySettings) -> Report:
    """Asks `/Instance`, `/Users/Me` and `/Permissions`: account, plan, user, permissions and the calls left today.

    Raises:
        InsightlyError: the key or the address does not work.
    """
    begun = time.monotonic()
    session = Session(settings)
    try:
        answers = {name: _ask(session, path) for name, path in QUESTIONS.items()}
    finally:
        session.close()
    facts = {"url": settings.url, **answers}
    return Report(
        "check",
        calls=session.budget.calls,
        calls_left_today=session.budget.remaining,
        seconds=time.monotonic() - begun,
        facts=facts,
    )


QUESTIONS = {"account": "Instance", "user": "Users/Me", "permissions": "Permissions"}


def _ask(session: Session, path: str) -> dict[str, Any] | None:
    try:
        return session.client.get_object(path, {}, label="check")[0]
    except NotAvailable:
        return None


def entities() -> Report:
    """The entity table: path, key, cursor, child tables, and what can be done with each."""
    rows = {name: EntityReport("ok" if e.loaded else "not loaded yet") for name, e in ENTITIES.items()}
    return Report("entities", entities=rows, facts={"table": {name: _facts(e) for name, e in ENTITIES.items()}})


ABILITIES = {"S": "search", "G": "get", "C": "create", "U": "update", "D": "delete"}


def _facts(entity: Entity) -> dict[str, Any]:
    return {
        "path": f"/{entity.path}",
        "key": list(entity.key),
        "cursor": entity.cursor if entity.incremental else None,
        "children": [array.lower() for array in entity.arrays],
        "custom_fields": entity.custom_fields,
        "can": [ABILITIES[letter] for letter in entity.can],
        "loaded": entity.loaded,
        "plan": entity.plan or None,
    }
