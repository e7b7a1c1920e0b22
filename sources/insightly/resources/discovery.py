"""Which custom objects there are: asked once a run, then each is an entity of the context."""

import logging
from collections.abc import Sequence

from ..context import SyncContext, normalize
from ..entities import ENTITIES, RECORDS, is_custom_object
from ..errors import BadSetting, NotAvailable
from ..result import EntityResult
from ..rows.custom_objects import objects_of
from .fetch import read_objects

logger = logging.getLogger(__name__)

GONE = "no longer defined in Insightly: its table stays as it is"


def discover(context: SyncContext) -> list[str]:
    """Makes the custom objects that are defined known to the session; one that was and is not any more is skipped.

    Returns:
        A sentence for each that cannot be loaded.

    Raises:
        BadSetting: `hash` or `drop` names an object that there is not.
        NotAvailable, Stop and the other errors of the client.
    """
    held = {name: entity.object_name for name, entity in context.objects.items()}
    found, refused = objects_of(read_objects(context), held, normalize)
    for name in held.keys() - found.keys():
        result = context.result(name)
        if result.open or isinstance(result.error, NotAvailable):
            result.state, result.reason = "skipped", GONE
    context.objects.update(found)
    if unknown := _masked(context):
        table, ways = unknown[0], set(context.settings.privacy.rules[unknown[0]].values())
        raise BadSetting(f"sources.insightly.{min(ways)}", table, f"no such custom object; {_known(context)}")
    return refused


def find(context: SyncContext, names: Sequence[str], ask: bool = True) -> None:
    """Makes the custom objects among `names` known, where the destination does not know them.

    Args:
        context: the run, to which the objects of the destination are known.
        names: entities.
        ask: whether to ask the API.

    Raises:
        BadSetting: there is no such object.
    """
    wanted = [name for name in context.with_objects(names) if name not in ENTITIES]
    lacking = wanted if ask and _masked(context) else [name for name in wanted if name not in context.objects]
    refused: list[str] = []
    for name in lacking:
        with context.reading(name):
            refused = discover(context) if ask else []
    for name in lacking:
        if name not in context.objects and context.result(name).open:
            told = "; ".join([f"no such custom object; {_known(context)}", *refused])
            raise BadSetting("sources.insightly.entities", name, told)


def refresh_catalog(context: SyncContext) -> None:
    """Makes the custom objects that are defined known, as `discover` does; how that went is noted in the outcomes."""
    with context.reading(RECORDS) as result:
        tell(result, discover(context))


def tell(result: EntityResult, refused: Sequence[str]) -> None:
    """Notes how the entity that stands for all custom objects fared; those that can be loaded are."""
    result.state, result.reason = ("failed", "; ".join(refused)) if refused else ("ok", None)
    for sentence in refused:
        logger.error(sentence)


def _masked(context: SyncContext) -> list[str]:
    """Unknown tables of `hash` and `drop` in the form of custom objects': what is to be hidden would be loaded."""
    return [
        table for table in context.settings.privacy.rules if is_custom_object(table) and table not in context.objects
    ]


def _known(context: SyncContext) -> str:
    names = sorted(entity.object_name for entity in context.objects.values())
    return f"known are {', '.join(names)}" if names else "none is known"
