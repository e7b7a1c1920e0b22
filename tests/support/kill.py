"""The command in a process that is killed, as by `kill -9`."""

import importlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from pipelines.sandbox import Fault
from tests.support.process import end_of, new_process, reach

if TYPE_CHECKING:
    from tests.support.crm import Crm


@dataclass(frozen=True)
class Call:
    """The `nth` call of a method, MODULE:CLASS.METHOD; the process dies `before` or `after` it."""

    method: str
    when: str
    nth: int

    def __str__(self) -> str:
        return f"{self.when} {self.method.rpartition(':')[2]} {self.nth}"

    def __call__(self) -> None:
        """Makes this process die at the call."""
        module, _, path = self.method.partition(":")
        owner, _, name = path.partition(".")
        class_ = getattr(importlib.import_module(module), owner)
        real, calls = getattr(class_, name), count(1)

        def last(*args: Any, **options: Any) -> Any:
            due = next(calls) == self.nth
            if due and self.when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*args, **options)
            if due:
                os.kill(os.getpid(), signal.SIGKILL)
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
