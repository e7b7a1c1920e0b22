"""The dlt source: one resource per entity, named after it. Building it sends nothing and needs no key."""

import logging
from collections.abc import Iterator
from typing import Any

import dlt
from dlt.extract import DltResource

from .config.settings import resolve_settings
from .context import SyncContext, choose
from .entities import ENTITIES, RECORDS
from .resources.build import resource_of, resource_of_objects

logger = logging.getLogger(__name__)


@dlt.source(name="insightly", section="insightly", max_table_nesting=0)
def insightly(context: Any = None, requests: Any = None, **overrides: Any) -> Iterator[DltResource]:
    """Insightly CRM as a dlt source; the keys of `insightly().resources` are entity names.

    Custom objects are found at run time: `custom_object_records` loads a table for each of them.

    Args:
        context: what the rounds of one run share, from a runner. Without it the source makes its own and reads every
            walk to its end.
        requests: entity name -> ReadRequest, in the order to read them. Without it: the entities of the setting
            `entities`, in table order.
        overrides: settings by name (`api_key`, `entities`, `start_date`, ...); they take precedence over dlt's
            configuration.

    Raises:
        ConfigurationError: a setting has an invalid value, or `entities` an unknown name.
    """
    if context is None:
        context = SyncContext(resolve_settings(**overrides))
        if context.settings.history:
            logger.warning(
                "sources.insightly.history is kept by the command insightly and pipelines.commands.sync, not here"
            )
    if requests is None:
        requests = dict.fromkeys(choose(context.settings), context.request)
    if not context.tolerant:
        context.chosen = tuple(requests)
    for name, request in requests.items():
        if name in context.catalog.objects or (name in ENTITIES and name != RECORDS):
            yield resource_of(context.catalog.entity(name), request, context)
        elif name == RECORDS or RECORDS not in requests:
            yield resource_of_objects(name, request, context)
