"""What the processes of accounts need: they are forked from one that has imported this, and need not do it again."""

import atexit
import gc
from contextlib import suppress
from importlib import import_module

MODULES = (
    "pipelines.cli.handlers",
    "pipelines.commands.account_processes",
    "pipelines.commands.each_account",
    "pipelines.commands.sync",
    "pipelines.commands.sync_selected",
    "pipelines.commands.sweep",
    "pipelines.commands.verify",
    "pipelines.engine.progress",
    "pipelines.destinations.postgres_client",
    "dlt.common.libs.pyarrow",
    "dlt.sources.helpers.requests",
    "pyarrow.csv",
)

gc.disable()  # as `tuned_interpreter` does for the imports of other processes
for module in MODULES:
    with suppress(ImportError):  # the driver of a destination may not be installed
        import_module(module)

with suppress(Exception):  # an invalid settings file: each process finds it again, and reports it
    from sources.insightly.config.providers import providers
    from sources.insightly.entities import ENTITIES

    providers()
    for entity in ENTITIES.values():
        entity.fields  # noqa: B018

gc.freeze()  # the collector would write to all these objects, and so copy them into each process
gc.enable()
atexit.register(gc.unfreeze)  # DuckDB reports what is frozen at the end as leaked
