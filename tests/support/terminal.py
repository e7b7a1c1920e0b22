"""The command on a terminal of its own."""

import os
import pty
import re
import select
import sys
import time
from collections.abc import Sequence
from functools import partial
from types import TracebackType

from tests.support.crm import Crm
from tests.support.process import TIMEOUT, end_of, new_process, reach

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """`insightly` for an account on a pseudo-terminal of 80 columns, as a context manager."""

    def __init__(self, crm: Crm, arguments: Sequence[str]) -> None:
        self._parent, self._child = pty.openpty()
        attach = partial(_attach, os.ttyname(self._child))
        environment = {**reach(crm.sandbox), "TERM": "xterm", "COLUMNS": "80", "NO_COLOR": "1"}
        self._process = new_process([*arguments, *crm.arguments()], crm.folder, environment, prepare=attach)
        self._raw = b""

    def __enter__(self) -> "Terminal":
        self._process.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._process.kill()
        for each in (self._parent, self._child):
            os.close(each)

    def read_until(self, words: str) -> str:
        """What has been written, control sequences included, when the words have come."""
        deadline = time.monotonic() + TIMEOUT
        while words not in self.text:
            ended = not self._process.is_alive() or time.monotonic() > deadline
            self._read(1.0)
            assert not ended or words in self.text, self.text
        return self._raw.decode()

    def written_in(self, seconds: float) -> str:
        """What is written within some time from now."""
        before, deadline = len(self._raw), time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._read(left)
        return self._raw[before:].decode()

    def type(self, keys: str) -> None:
        os.write(self._parent, keys.encode())

    def end(self) -> int:
        """The exit code."""
        code = end_of(self._process)
        self._read(0.1)
        return code

    @property
    def text(self) -> str:
        """What has been written, without control sequences."""
        return _CONTROL.sub("", self._raw.decode())

    def _read(self, seconds: float) -> None:
        if select.select([self._parent], [], [], seconds)[0]:
            self._raw += os.read(self._parent, 65_536)


def _attach(path: str) -> None:
    """Makes a terminal the input and output of this process."""
    os.setsid()
    terminal = os.open(path, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(terminal, descriptor)
    # New streams: those of before would seek, if they were files.
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
