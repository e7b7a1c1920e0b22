"""What a run sets of the allocator."""

import subprocess
import sys

PROGRAM = """
import ctypes, threading
from pipelines.engine.memory import tuned_memory
with tuned_memory():
    blocks = []
    threads = [threading.Thread(target=lambda: blocks.append(bytes(10_000))) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    c = ctypes.CDLL(None)
    c.malloc_info(0, ctypes.c_void_p.in_dll(c, "stdout"))
    c.fflush(None)
"""


def test_threads_allocate_from_one_arena() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.count("<heap nr=") == 1
