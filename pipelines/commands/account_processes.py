"""Runs accounts at the same time, each in a process of its own: Python runs one thread at a time."""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from pipelines.engine import forkserver, interrupts
from pipelines.engine.interpreter import tuned_interpreter
from pipelines.engine.report import INTERRUPTED, Report, error_report, failure_report

POLL_SECONDS = 0.2

Work = Callable[[str], Report]


def run_at_once(
    command: str, names: Sequence[str], jobs: int, work: Work, on_report: Callable[[str, Report], None]
) -> None:
    """Runs a command for accounts, at most `jobs` of them at a time.

    A signal is forwarded to all processes, and no other account starts. If this process is killed, they end too.

    Args:
        command: its name.
        names: the accounts.
        jobs: how many run at the same time.
        work: runs the command for one account and raises nothing. It is pickled.
        on_report: called with each account's report as soon as there is one. If a process dies, its account failed.
    """
    context = forkserver.context()
    waiting, running, signalled = deque(names), dict[Connection, BaseProcess](), False
    with interrupts.deferred():
        while waiting or running:
            while waiting and len(running) < jobs:
                reader, writer = context.Pipe(duplex=False)
                name = waiting.popleft()
                arguments = command, name, work, writer, len(running)
                process: BaseProcess = context.Process(target=_run, args=arguments, name=name)
                process.start()
                writer.close()  # so that the end of the process closes the pipe
                running[reader] = process
            for ready in wait(running, POLL_SECONDS):
                assert isinstance(ready, Connection)
                on_report(*_receive(command, ready, running.pop(ready)))
            if not signalled and (number := interrupts.received()):
                signalled = True
                waiting.clear()
                for process in running.values():
                    os.kill(process.pid or 0, number)


def _receive(command: str, reader: Connection, process: BaseProcess) -> tuple[str, Report]:
    """The account of a process, and its report."""
    with reader:
        try:
            report: Report = reader.recv()
        except EOFError:
            process.join()
            if -(process.exitcode or 0) in interrupts.SIGNALS:  # it came before the process was ready for signals
                return process.name, error_report(command, interrupts.Interrupted(-(process.exitcode or 0)))
            reason = f"its process ended with {process.exitcode} and no report; run the same command again"
            return process.name, failure_report(command, reason, 1)
    process.join()
    return process.name, report


def _run(command: str, name: str, work: Work, writer: Connection, others: int) -> None:
    if sys.platform != "win32":
        with suppress(OSError):  # a sandbox of the system's can forbid it
            os.nice(others)  # the first ends first: it loads while the others still wait for their limits of calls
        os.setpgid(0, 0)  # Ctrl-C reaches the first process only, which forwards it: a second signal ends this at once
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with interrupts.handled(lambda interrupt: writer.send(error_report(command, interrupt))), tuned_interpreter():
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # the forkserver blocks it
        report = work(name)
        writer.send(report)
        if report.exit_code in INTERRUPTED:
            interrupts.exit_now(report.exit_code)  # not waiting for threads that wait for a response


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        interrupts.exit_now(1)
