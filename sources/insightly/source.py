"""The dlt source: one resource an entity, chosen by name. Building it sends nothing and needs no key."""

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
def insightly(context: Any = None, order: Any = None, **overrides: Any) -> Iterator[DltResource]:
    """Insightly CRM as a dlt source; `insightly().resources` has an entity's name for each key.

    Custom objects are found out at run time: `custom_object_records` loads a table for each of them.

    Args:
        context: what a runner shares between the rounds of one run. Alone, the source makes its own and reads every
            walk to its end.
        order: names of the entities to read, in that order; None: those of the setting `entities`, in table order.
        overrides: settings by name (`api_key`, `entities`, `start_date`, ...) that go before dlt's configuration.

    Raises:
        ConfigurationError: a setting has a value that cannot be used, an unknown name in `entities` included.
    """
    if context is None:
        context = SyncContext(resolve_settings(**overrides))
        if context.settings.history:
            logger.warning(
                "sources.insightly.history is kept by the command insightly and pipelines.commands.sync, not here"
            )
    chosen = order if order is not None else choose(context.settings)
    for name in chosen:
        if name in context.objects or (name in ENTITIES and name != RECORDS):
            yield resource_of(context.entity(name), context)
        elif name == RECORDS or RECORDS not in chosen:
            yield resource_of_objects(context, name)
