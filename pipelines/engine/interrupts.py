"""Ctrl-C and SIGTERM: whatever a command is doing, it stops, and its report says what is committed.

Python calls a signal's handler between two instructions of the main thread. The exception that it raises is wrapped by
dlt, replaced by DuckDB, lost in a destructor, or late because a driver waits for a server. So the signal is also kept
here, where the command looks for it, and a thread ends the process if it does not end by itself.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .report import Report

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 8.0
"""Time to stop in, for instance to load what was read. It is less than the 10 seconds that Docker gives."""


class Interrupted(KeyboardInterrupt):
    """A signal ended the command.

    Args:
        number: of the signal.
        report: what the command has done; None if it has none.
    """

    def __init__(self, number: int = signal.SIGINT, report: "Report | None" = None) -> None:
        super().__init__("interrupted")
        self.number, self.report = number, report

    @property
    def exit_code(self) -> int:
        return 128 + self.number


@dataclass
class _Process:
    received: int | None = None
    raised: bool = False
    deferred: int = 0


_process = _Process()


@contextmanager
def handled(on_timeout: Callable[[Interrupted], object]) -> Iterator[None]:
    """In the block of a `with` statement, the first signal raises Interrupted, and the second ends the process.

    Outside of the main thread it does nothing. A signal that the process was started to ignore stays ignored, as a
    shell's background jobs ignore Ctrl-C.

    Args:
        on_timeout: called before the process is ended because the block still runs `GRACE_SECONDS` after a signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _process.received, _process.raised, _process.deferred = None, False, 0
    before = {number: handler for number in SIGNALS if (handler := signal.getsignal(number)) is not signal.SIG_IGN}
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    for number in before:
        signal.signal(number, _receive)
    threading.Thread(target=_watch, args=(reader, on_timeout), name="signals", daemon=True).start()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        writer.close()
        _process.received = None


@contextmanager
def deferred() -> Iterator[None]:
    """In the block of a `with` statement, a signal raises nothing; `check` raises it afterwards."""
    _process.deferred += 1
    try:
        yield
    finally:
        _process.deferred -= 1


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raises Interrupted in place of the errors that libraries make of an interruption."""
    try:
        yield
    except Exception as raised:
        check()
        from sources.insightly.errors import chain  # imports dlt, and signals are to be handled before that

        for error in chain(raised):
            if isinstance(error, KeyboardInterrupt):
                raise error from None
        raise


def received() -> int | None:
    """The number of the first signal that has come; None if there was none."""
    return _process.received


def check(report: "Report | None" = None) -> None:
    """Raises Interrupted, with the report, if a signal has come."""
    if _process.received is not None:
        _process.raised = True
        raise Interrupted(_process.received, report) from None


def exit_now(code: int) -> None:
    """Ends the process without waiting for the threads that still wait for a response."""
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\x1b[?25h")  # the live line hides the cursor
    os._exit(code)


def _receive(number: int, _: object) -> None:
    _process.received = number
    if not (_process.raised or _process.deferred):
        _process.raised = True
        raise Interrupted(number)


def _watch(reader: socket.socket, on_timeout: Callable[[Interrupted], object]) -> None:
    """Reads the numbers of signals, which arrive even while the main thread does not run Python."""
    with reader:
        first = _next(reader)
        if first is None:
            return
        _process.received = first
        reader.settimeout(GRACE_SECONDS)
        try:
            if _next(reader) is None:
                return
        except TimeoutError:
            on_timeout(Interrupted(first))
        exit_now(128 + first)


def _next(reader: socket.socket) -> int | None:
    """The number of the next signal; None when the command has ended."""
    while byte := reader.recv(1):
        if byte[0] in SIGNALS:
            return byte[0]
    return None
