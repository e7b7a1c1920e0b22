"""The command `insightly`: parses arguments, runs a command for each account, prints its report, and exits."""

import argparse
import io
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.engine import interrupts
from pipelines.engine.interpreter import tuned_interpreter

from . import logs
from .arguments import is_written, print_json
from .handlers import run_account, run_in_process, target_of, warn_of_readable_secrets
from .parser import parser

if TYPE_CHECKING:
    from pipelines.engine.report import Report


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the arguments without the program's name; by default those of the process, which then ends at once.

    Returns:
        The exit code, as `insightly --help` lists them.
    """
    sys.stdout = sys.stdout or io.StringIO()  # None where the parent process has closed it
    sys.stderr = sys.stderr or io.StringIO()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a console may not have each character, such as a dash or a name
            stream.reconfigure(errors="replace")
    args = parser().parse_args((sys.argv[1:] if argv is None else argv) or ["--help"])
    logs.configure(args.log_format)

    def end(error: BaseException) -> "Report":
        from pipelines.engine.report import error_report

        report = error_report(args.command, error)
        if args.json:
            is_written(print_json, report)
        if args.log_format == "text":
            logs.write_failure(report.reason)
        _write_log_and_metrics(args, report)
        return report

    with interrupts.handled(end), tuned_interpreter():
        with interrupts.deferred():
            if getattr(args, "jobs", 1) > 1:
                from pipelines.engine import forkserver

                forkserver.start()
            from pipelines.engine.report import INTERRUPTED  # imports dlt, which takes as long as a small sync
        try:
            with interrupts.unwrapped():
                interrupts.check()
                if args.command != "sandbox":
                    warn_of_readable_secrets()
                report = _run_accounts(args) if "instances" in args else args.handler(args)
                if isinstance(report, int):
                    return report
                interrupts.check(report)
            with interrupts.deferred():
                if args.json:
                    written = is_written(print_json, report)
                else:
                    from .console import show

                    written = is_written(show, report)
                code = _write_log_and_metrics(args, report) or int(not written)
        except (KeyboardInterrupt, Exception) as error:
            with interrupts.deferred():
                report = end(error)
                code = report.exit_code
        if interrupts.received() and report.exit_code in INTERRUPTED:
            interrupts.exit_now(report.exit_code)
        if argv is None:  # Python would first take apart all that was imported, for a fifth of a second
            interrupts.exit_now(code)
        return code


def _run_accounts(args: argparse.Namespace) -> "Report":
    """Runs a command for each selected account, and returns one report."""
    from pipelines.commands.each_account import run_for_each, select_accounts
    from pipelines.engine.report import INTERRUPTED

    def show_account(name: str, report: "Report") -> None:
        if not args.json:
            from .console import show

            is_written(show, report, name)

    jobs = _jobs(args)
    options = (getattr(args, name, None) for name in ("ids", "print", "dbt"))
    needs_one = args.command == "push" or any(value not in (None, False) for value in options)
    names = select_accounts(args.instances, needs_one)
    if names is None:
        return run_account(args, None)
    from pipelines.views.all_accounts import refresh_after  # while the forkserver still imports

    if len(names) == 1 and (needs_one or args.instances):
        report = run_account(args, names[0])
    elif jobs > 1:
        report = run_for_each(args.command, names, partial(run_in_process, args), show_account, jobs)
    else:
        report = run_for_each(args.command, names, partial(run_account, args), show_account)
    if report.exit_code in INTERRUPTED:
        raise interrupts.Interrupted(report.exit_code - 128, report)
    if args.command == "sync" and not args.plan:
        refresh_after(report, target_of(args))
    return report


def _jobs(args: argparse.Namespace) -> int:
    """How many accounts run at the same time. Raises BadSetting."""
    jobs: int = getattr(args, "jobs", 1)
    if jobs == 1:
        return jobs
    from sources.insightly.errors import BadSetting

    if jobs < 1:
        raise BadSetting("--jobs", jobs, "must be at least 1")
    if not target_of(args).adapter.concurrent_writes:
        raise BadSetting("--jobs", jobs, "a DuckDB file has one writer: leave it out, or use a server (--destination)")
    return jobs


def _write_log_and_metrics(args: argparse.Namespace, report: "Report") -> int:
    """Returns the exit code of the command: that of the report, or of an error about the file of --metrics."""
    from sources.insightly.errors import InsightlyError

    if args.log_format == "json":
        logs.log_report(report)
    if getattr(args, "metrics", None) is not None:
        from .metrics import write

        try:
            write(report, Path(args.metrics))
        except InsightlyError as error:
            logs.write_failure(str(error))
            return report.exit_code or error.exit_code
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
