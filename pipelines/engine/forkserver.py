"""The process that those of accounts are forked from. It has imported everything, so they need not."""

import multiprocessing
import sys
from multiprocessing.context import ForkServerContext, SpawnContext

PRELOADED = [
    "pipelines.cli.handlers",
    "pipelines.cli.console",
    "pipelines.commands.account_processes",
    "pipelines.commands.each_account",
    "pipelines.commands.sync",
    "pipelines.commands.sync_selected",
    "pipelines.commands.sweep",
    "pipelines.commands.verify",
    "pipelines.engine.progress",
    "psycopg2",
]


def start() -> None:
    """Starts it where there is one, so that it imports while this process does."""
    if isinstance(context(), ForkServerContext):
        from multiprocessing import forkserver

        forkserver.ensure_running()


def context() -> SpawnContext | ForkServerContext:
    """What creates the processes; on Windows each of them imports everything."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context
