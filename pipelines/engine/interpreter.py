"""What a run sets of the interpreter: allocator, garbage collector, which a run needs rarely, and turns of threads."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# Arrow's own allocator keeps what each thread has used: 30 MB of a sync. The system's does not.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
SWITCH_SECONDS = 0.001
"""A thread that sends a request waits so long for one at work, several times a request. Python's 5 ms make requests
leave 20 ms late, which the rate limiter does not make up for."""
M_ARENA_MAX = -8
"""The parameter of glibc's mallopt, from malloc.h."""


def share_freed_memory() -> None:
    """Has glibc give any thread what another has freed: 20 MB of a sync, whose pages are parsed in several threads.

    Only before the first thread starts, which would get an arena of its own.
    """
    import ctypes  # which `insightly --help` does not need

    if sys.platform == "linux":
        with suppress(AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


@contextmanager
def tuned_interpreter() -> Iterator[None]:
    """Shares freed memory between threads; runs the garbage collector less often, and not over what exists already; has
    threads take turns more often.

    Imports and parsing create millions of objects that stay. To look at them again and again takes a quarter of the
    time of the imports, and half of that of parsing.
    """
    share_freed_memory()
    thresholds, switch_seconds = gc.get_threshold(), sys.getswitchinterval()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(switch_seconds)
        gc.set_threshold(*thresholds)
        gc.unfreeze()
