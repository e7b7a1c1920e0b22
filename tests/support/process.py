"""The command `insightly` in a process of its own."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipelines.cli.__main__ import main
from pipelines.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
TIMEOUT = 120

_FORKS = get_context("forkserver")
_FORKS.set_forkserver_preload(["pipelines.commands.sync", "pipelines.cli.console", "tests.support.process"])
"""Each process is forked from one that has imported the program, which takes longer than most commands."""


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def command(*arguments: str, cwd: Path, **environment: str) -> Ran:
    """Runs `insightly` in a process of its own."""
    home = {"DLT_DATA_DIR": str(cwd / "dlt"), "COLUMNS": "200"}
    with TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("out", "err")]
        process = new_process(arguments, cwd, {**home, **environment}, files)
        process.start()
        code = end_of(process)
        return Ran(code, *(path.read_text(encoding="utf-8") for path in files))


def new_process(
    arguments: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str],
    files: Sequence[Path] = (),
    prepare: Callable[[], None] | None = None,
) -> ForkServerProcess:
    """A process that will run `insightly`, its output in two `files`; it calls `prepare` first."""
    return _FORKS.Process(target=_run, args=(arguments, cwd, {**os.environ, **environment}, files, prepare))


def end_of(process: ForkServerProcess) -> int:
    """The exit code of a process that has been started: the negative number of a signal that ended it."""
    process.join(TIMEOUT)
    code = process.exitcode
    process.kill()
    assert code is not None, f"still running after {TIMEOUT} seconds"
    return code


def _run(
    arguments: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str],
    files: Sequence[Path],
    prepare: Callable[[], None] | None,
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    for stream, path in zip((sys.stdout, sys.stderr), files, strict=bool(files)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    if prepare is not None:
        prepare()
    sys.exit(main(arguments))


def reach(sandbox: Sandbox) -> dict[str, str]:
    """The settings, as environment variables, that lead a process to the account."""
    return {
        "SOURCES__INSIGHTLY__BASE_URL": sandbox.url,
        "SOURCES__INSIGHTLY__API_KEY": sandbox.key,
        "SOURCES__INSIGHTLY__REQUESTS_PER_SECOND": "1000",
        "SOURCES__INSIGHTLY__ENTITIES": "core",
    }
