"""The command `insightly`: parses arguments, runs a command for each account, prints, and exits with a code."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pipelines.engine.report import INTERRUPTED, error_report

from . import logs
from . import options as given
from .handlers import HANDLERS
from .parser import parser, write

if TYPE_CHECKING:
    from pipelines.engine.report import Report


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the arguments, without the program's name; None for those of the process.

    Returns:
        The exit code, as `insightly --help` lists them.
    """
    args = parser().parse_args(argv)
    logs.configure(args.log_format)
    try:
        told = _over_accounts(args) if "instances" in args else HANDLERS[args.command](args)
        return told if isinstance(told, int) else _tell(args, told)
    except (KeyboardInterrupt, Exception) as error:
        return _refuse(args, error_report(args.command, error))


def _over_accounts(args: argparse.Namespace) -> "Report":
    """The report of a command over the accounts that it is for."""
    from pipelines.commands.each_account import run_for_each, select_accounts

    def work(name: str | None) -> Any:
        return HANDLERS[args.command](argparse.Namespace(**vars(args), instance=name))

    def told(name: str, report: "Report") -> None:
        if not args.json:
            from .console import show

            show(report, name)

    alone = args.command == "push" or getattr(args, "ids", None) is not None or getattr(args, "print", False)
    names = select_accounts(args.instances, alone)
    if names is None:
        return cast("Report", work(None))
    one = len(names) == 1 and (alone or bool(args.instances))
    report = work(names[0]) if one else run_for_each(args.command, names, work, told)
    if args.command == "sync" and not args.plan and report.exit_code != INTERRUPTED:
        from pipelines.views.all_accounts import refresh_after

        refresh_after(report, given.target(args))
    return cast("Report", report)


def _tell(args: argparse.Namespace, report: "Report") -> int:
    if args.json:
        write(report)
    else:
        from .console import show

        show(report)
    _pass_on(args, report)
    return report.exit_code


def _refuse(args: argparse.Namespace, report: "Report") -> int:
    if args.json:
        write(report)
    if args.log_format == "text":
        sys.stderr.write(f"insightly: {report.reason}\n")
    try:
        _pass_on(args, report)
    except Exception as error:
        sys.stderr.write(f"insightly: {error}\n")
    return report.exit_code


def _pass_on(args: argparse.Namespace, report: "Report") -> None:
    """Tells log and metrics of a run, whatever became of it."""
    if args.log_format == "json":
        logs.tell(report)
    if getattr(args, "metrics", None) is not None:
        from .metrics import write as write_metrics

        write_metrics(report, Path(args.metrics))


if __name__ == "__main__":
    sys.exit(main())
