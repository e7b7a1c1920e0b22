"""The process that those of accounts are forked from. It has imported everything, so they need not."""

import multiprocessing
import signal
import sys
from multiprocessing.context import ForkServerContext, SpawnContext

PRELOADED = ["pipelines.cli.preloaded"]


def start() -> None:
    """Starts it where there is one, so that it imports while this process does.

    Ctrl-C reaches it as well and would print where its imports are, so SIGINT is blocked there. It is so in the
    processes forked from it, too, until they handle signals.
    """
    if sys.platform != "win32" and isinstance(context(), ForkServerContext):
        from multiprocessing import forkserver, resource_tracker

        resource_tracker.ensure_running()  # the forkserver needs it; its start unblocks signals
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        forkserver.ensure_running()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def context() -> SpawnContext | ForkServerContext:
    """What creates the processes; on Windows each of them imports everything."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context
