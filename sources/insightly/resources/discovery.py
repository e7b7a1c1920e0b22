"""Which custom objects there are: asked once a run, then each is an entity of the session."""

import logging
from collections.abc import Sequence

from ..context import Session, fold
from ..entities import ENTITIES, RECORDS, names_object
from ..errors import BadSetting, NotAvailable
from ..result import Outcome
from ..rows.custom_objects import objects_of
from .fetch import read_objects

logger = logging.getLogger(__name__)

GONE = "no longer defined in Insightly: its table stays as it is"


def discover(session: Session) -> list[str]:
    """Makes the custom objects that are defined known to the session; one that was and is not any more is skipped.

    Returns:
        A sentence for each that cannot be loaded.

    Raises:
        BadSetting: `hash` or `drop` names an object that there is not.
        NotAvailable, Stop and the other errors of the client.
    """
    held = {name: entity.object_name for name, entity in session.objects.items()}
    found, refused = objects_of(read_objects(session), held, fold)
    for name in held.keys() - found.keys():
        outcome = session.outcome(name)
        if outcome.open or isinstance(outcome.error, NotAvailable):
            outcome.state, outcome.reason = "skipped", GONE
    session.objects.update(found)
    if unknown := _concealed(session):
        table, ways = unknown[0], set(session.settings.privacy.rules[unknown[0]].values())
        raise BadSetting(f"sources.insightly.{min(ways)}", table, f"no such custom object; {_known(session)}")
    return refused


def find(session: Session, names: Sequence[str], ask: bool = True) -> None:
    """Makes the custom objects among `names` known, where the destination does not know them.

    Args:
        session: the run, to which the objects of the destination are known.
        names: entities.
        ask: whether to ask the API.

    Raises:
        BadSetting: there is no such object.
    """
    wanted = [name for name in session.with_objects(names) if name not in ENTITIES]
    lacking = wanted if ask and _concealed(session) else [name for name in wanted if name not in session.objects]
    refused: list[str] = []
    for name in lacking:
        with session.reading(name):
            refused = discover(session) if ask else []
    for name in lacking:
        if name not in session.objects and session.outcome(name).open:
            told = "; ".join([f"no such custom object; {_known(session)}", *refused])
            raise BadSetting("sources.insightly.entities", name, told)


def take_stock(session: Session) -> None:
    """Makes the custom objects that are defined known, as `discover` does; how that went is noted in the outcomes."""
    with session.reading(RECORDS) as outcome:
        tell(outcome, discover(session))


def tell(outcome: Outcome, refused: Sequence[str]) -> None:
    """Notes how the entity that stands for all custom objects fared; those that can be loaded are."""
    outcome.state, outcome.reason = ("failed", "; ".join(refused)) if refused else ("ok", None)
    for sentence in refused:
        logger.error(sentence)


def _concealed(session: Session) -> list[str]:
    """Unknown tables of `hash` and `drop` in the form of custom objects': what is to be hidden would be loaded."""
    return [table for table in session.settings.privacy.rules if names_object(table) and table not in session.objects]


def _known(session: Session) -> str:
    names = sorted(entity.object_name for entity in session.objects.values())
    return f"known are {', '.join(names)}" if names else "none is known"
