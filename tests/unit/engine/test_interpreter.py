"""What a run sets of the interpreter."""

import subprocess
import sys

import pytest

from pipelines.engine.interpreter import SWITCH_SECONDS, tuned_interpreter

PROGRAM = """
import ctypes, threading
from pipelines.engine.interpreter import tuned_interpreter
with tuned_interpreter():
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


def test_threads_take_turns_more_often_during_a_run() -> None:
    before = sys.getswitchinterval()
    with tuned_interpreter():
        assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
    assert sys.getswitchinterval() == before
