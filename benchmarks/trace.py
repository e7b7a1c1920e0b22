"""Counts how much of this project's code a first `sync contacts` and a `push` of one row run.

python -m benchmarks.trace [--json | --tree]

Both run in this process, under `sys.setprofile` in every thread, against the sandbox in another process. The numbers:

files      modules of `sources/` and `pipelines/` whose functions are called.
functions  distinct pairs of file and name. All lambdas of a file count as one function; so do its generator
           expressions, its list comprehensions, and so on. Python 3.12 and later inline comprehensions and count fewer.
depth      the most frames of these files on the stack of one thread; those of libraries in between do not count.

The bodies of modules and classes are not counted. The command line is left out: `sync` and `push` are called directly,
after all imports. The contacts fill one page, and the pushed row updates one of them.
"""

import argparse
import inspect
import json
import os
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FrameType
from typing import Any

import duckdb

from pipelines.commands.sync import sync
from pipelines.destinations.target import Target
from pipelines.engine.report import Report
from pipelines.push.request import PushRequest
from pipelines.push.run import push
from pipelines.sandbox import DEMO_KEY
from sources.insightly.config.settings import resolve_settings

from .measure import ROOT, UNLIMITED, sandbox

TRACED = tuple(f"{ROOT / folder}{os.sep}" for folder in ("sources", "pipelines"))


class Trace:
    """Calls of each function of this project, and its deepest stack."""

    def __init__(self) -> None:
        self.calls: Counter[CodeType] = Counter()
        self.deepest: list[CodeType] = []

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """A profile function, as `sys.setprofile` takes it."""
        if event == "call" and _is_traced(frame.f_code):
            self.calls[frame.f_code] += 1
            stack = list(_traced_stack(frame))
            if len(stack) > len(self.deepest):
                self.deepest = stack[::-1]

    def numbers(self) -> dict[str, int]:
        functions = {(code.co_filename, code.co_name) for code in self.calls}
        return {
            "files": len({file for file, _ in functions}),
            "functions": len(functions),
            "depth": len(self.deepest),
        }

    def tree(self) -> Iterator[str]:
        """Lines: each file with its functions and how often each is called, then the deepest stack."""
        by_file: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for code, calls in self.calls.items():
            by_file[_path(code)][code.co_qualname] += calls
        for file, functions in sorted(by_file.items()):
            yield file
            for name, calls in sorted(functions.items()):
                yield f"  {calls:7,}  {name}"
        yield "deepest stack"
        for depth, code in enumerate(self.deepest, 1):
            yield f"  {depth:7}  {_path(code)}  {code.co_qualname}"


def _is_traced(code: CodeType) -> bool:
    return bool(code.co_flags & inspect.CO_OPTIMIZED) and code.co_filename.startswith(TRACED)


def _traced_stack(frame: FrameType | None) -> Iterator[CodeType]:
    while frame is not None:
        if _is_traced(frame.f_code):
            yield frame.f_code
        frame = frame.f_back


def _path(code: CodeType) -> str:
    return Path(code.co_filename).relative_to(ROOT).as_posix()


@contextmanager
def tracing() -> Iterator[Trace]:
    """Traces this thread and those it starts."""
    trace = Trace()
    threading.setprofile(trace)
    sys.setprofile(trace)
    try:
        yield trace
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


@contextmanager
def _account() -> Iterator[None]:
    """An account of the sandbox; the working directory is an empty one."""
    with sandbox("--rate", "0", "--scale", "0.1") as url, TemporaryDirectory() as folder, chdir(folder):
        os.environ |= {
            "SOURCES__INSIGHTLY__BASE_URL": url,
            "SOURCES__INSIGHTLY__API_KEY": DEMO_KEY,
            "SOURCES__INSIGHTLY__REQUESTS_PER_SECOND": UNLIMITED,
            "DLT_DATA_DIR": folder,
        }
        yield


def measure() -> dict[str, Trace]:
    """The traces of a first `sync contacts` and of a push of one row. Sets this process's environment variables.

    Raises:
        RuntimeError: the sync or the push failed.
    """
    with _account():
        target = Target(database="crm.duckdb")
        with tracing() as synced:
            report = sync(resolve_settings(), target, ["contacts"])
        _assert_succeeded(report)
        with duckdb.connect("crm.duckdb", read_only=True) as crm:
            ((id_,),) = crm.sql("select min(contact_id) from insightly.contacts").fetchall()
        Path("row.csv").write_text(f"contact_id,first_name\n{id_},Ada\n")
        request = PushRequest("contacts", "row.csv", "update")
        with tracing() as pushed:
            report = push(resolve_settings(), target, request)
        _assert_succeeded(report)
    return {"sync contacts": synced, "push of one row": pushed}


def _assert_succeeded(report: Report) -> None:
    if report.exit_code:
        raise RuntimeError(f"The {report.command} failed: {report.to_dict()}")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.trace", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the numbers as JSON")
    form.add_argument("--tree", action="store_true", help="also print each file and function, and the deepest stack")
    options = parser.parse_args()
    traces = measure()
    if options.json:
        print(json.dumps({name: found.numbers() for name, found in traces.items()}, indent=1))
        return
    for name, found in traces.items():
        print("{}: {files} files, {functions} functions, {depth} frames deep".format(name, **found.numbers()))
        if options.tree:
            print(*found.tree(), "", sep="\n")


if __name__ == "__main__":
    main()
