"""Memory: Arrow's allocator, and Python's garbage collector, which a run needs rarely: it creates almost no cycles."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

# Arrow's own allocator keeps what each thread has used: 30 MB of a sync. The system's does not.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Runs the garbage collector less often, and not over what exists already.

    Imports and parsing create millions of objects that stay. To look at them again and again takes a quarter of the
    time of the imports, and half of that of parsing.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
