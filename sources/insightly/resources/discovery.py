"""Which custom objects exist: read once a run, then each is an entity of the catalog."""

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


def discover_objects(context: SyncContext) -> list[str]:
    """Adds the defined custom objects to the catalog; one that is no longer defined is skipped.

    Returns:
        One sentence for each that cannot be loaded.

    Raises:
        BadSetting: `hash` or `drop` names an object that does not exist.
        NotAvailable, Stop and the other errors of the client.
    """
    known = context.catalog.object_names()
    found, refused = objects_of(read_objects(context), known, normalize)
    for name in known.keys() - found.keys():
        result = context.result(name)
        if result.open or isinstance(result.error, NotAvailable):
            result.state, result.reason = "skipped", GONE
    context.catalog.objects.update(found)
    if unknown := _masked(context):
        table, ways = unknown[0], set(context.settings.privacy.rules[unknown[0]].values())
        raise BadSetting(f"sources.insightly.{min(ways)}", table, f"no such custom object; {_known(context)}")
    return refused


def find_objects(context: SyncContext, names: Sequence[str], request: bool = True) -> None:
    """Adds the custom objects among `names` to the catalog, if the destination does not have them.

    Args:
        context: the run, with the objects of the destination.
        names: entities.
        request: whether to request the definitions.

    Raises:
        BadSetting: there is no such object.
    """
    objects = context.catalog.objects
    unknown = [name for name in context.catalog.with_objects(names) if name not in ENTITIES]
    if not (request and _masked(context)):
        unknown = [name for name in unknown if name not in objects]
    refused: list[str] = []
    for name in unknown:
        with context.reading(name):
            refused = discover_objects(context) if request else []
    for name in unknown:
        if name not in objects and context.result(name).open:
            reason = "; ".join([f"no such custom object; {_known(context)}", *refused])
            raise BadSetting("sources.insightly.entities", name, reason)


def refresh_catalog(context: SyncContext) -> None:
    """Does the same as `discover_objects`, and records the result of `custom_object_records`."""
    with context.reading(RECORDS) as result:
        record_refusals(result, discover_objects(context))


def record_refusals(result: EntityResult, refused: Sequence[str]) -> None:
    """Records which custom objects cannot be loaded; the others are."""
    result.state, result.reason = ("failed", "; ".join(refused)) if refused else ("ok", None)
    for sentence in refused:
        logger.error(sentence)


def _masked(context: SyncContext) -> list[str]:
    """Unknown tables of `hash` and `drop` that have the form of custom objects: their columns would not be masked."""
    tables, objects = context.settings.privacy.rules, context.catalog.objects
    return [table for table in tables if is_custom_object(table) and table not in objects]


def _known(context: SyncContext) -> str:
    names = sorted(context.catalog.object_names().values())
    return f"known are {', '.join(names)}" if names else "none is known"
