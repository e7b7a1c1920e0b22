"""The command in a process that is killed, as by `kill -9`, or interrupted."""

import importlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.sandbox import Fault
from tests.support.process import Ran, end_of, new_process, reach

if TYPE_CHECKING:
    from tests.support.crm import Crm


@dataclass(frozen=True)
class Call:
    """The `nth` call of a method, MODULE:CLASS.METHOD; the process gets a signal `before` or `after` it."""

    method: str
    when: str
    nth: int
    signal: int = signal.SIGKILL

    def __str__(self) -> str:
        return f"{self.when} {self.method.rpartition(':')[2]} {self.nth}"

    def __call__(self) -> None:
        """Makes this process send itself the signal at the call."""
        module, _, path = self.method.partition(":")
        owner, _, name = path.partition(".")
        class_ = getattr(importlib.import_module(module), owner)
        real, calls = getattr(class_, name), count(1)

        def last(*args: Any, **options: Any) -> Any:
            due = next(calls) == self.nth
            if due and self.when == "before":
                os.kill(os.getpid(), self.signal)
            result = real(*args, **options)
            if due and self.when == "after":
                os.kill(os.getpid(), self.signal)
            return result

        setattr(class_, name, last)


@dataclass(frozen=True)
class Sent:
    """The `nth` matching request: the account executes it, and the process dies before it has the response."""

    nth: int
    match: str = "*"
    method: str | None = None

    def __str__(self) -> str:
        return f"{self.method or 'request'} {self.nth}"


def run_and_die(
    crm: "Crm", arguments: list[str], point: Call | Sent, environment: Mapping[str, str] | None = None
) -> None:
    """Runs `insightly` for an account in a new process, which must die at `point`."""
    environment = {**reach(crm.sandbox), **(environment or {})}
    prepare = point if isinstance(point, Call) else None
    process = new_process([*arguments, *crm.arguments()], crm.folder, environment, prepare=prepare)
    if isinstance(point, Sent):
        crm.sandbox.faults.add(Fault("call", point.match, point.method, point.nth, action=lambda _: process.kill()))
    process.start()
    assert end_of(process) == -signal.SIGKILL
    crm.sandbox.faults.clear()


def run_interrupted(crm: "Crm", arguments: list[str], point: Call, environment: Mapping[str, str]) -> Ran:
    """Runs `insightly --json` for an account in a new process, which gets a signal at `point`."""
    files = [crm.folder / name for name in ("out", "err")]
    environment = {**reach(crm.sandbox), **environment}
    process = new_process([*arguments, "--json", *crm.arguments()], crm.folder, environment, files, point)
    process.start()
    return Ran(end_of(process), *map(Path.read_text, files))
