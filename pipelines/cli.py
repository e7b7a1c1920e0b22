"""The command `insightly`: arguments in, exit code out. Heavy imports wait until a command needs them."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from . import given, logs, offline
from .arguments import INTERRUPTED, failed, parser, write

if TYPE_CHECKING:
    from sources.insightly.config.settings import InsightlySettings
    from sources.insightly.state.request import Wish

    from .report import Report

Handler = Callable[[argparse.Namespace], "Report | int"]


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
        return _refuse(args, failed(args.command, error))


def _over_accounts(args: argparse.Namespace) -> "Report":
    """The report of a command over the accounts that it is for."""
    from . import instances

    def work(name: str | None) -> Any:
        return HANDLERS[args.command](argparse.Namespace(**vars(args), instance=name))

    def told(name: str, report: "Report") -> None:
        if not args.json:
            from .screen import show

            show(report, name)

    alone = args.command == "push" or getattr(args, "ids", None) is not None or getattr(args, "print", False)
    names = instances.chosen(args.instances, alone)
    if names is None:
        return cast("Report", work(None))
    one = len(names) == 1 and (alone or bool(args.instances))
    report = work(names[0]) if one else instances.each(args.command, names, work, told)
    if args.command == "sync" and not args.plan and report.exit_code != INTERRUPTED:
        instances.unite(report, given.target(args))
    return cast("Report", report)


def _sync(args: argparse.Namespace) -> "Report":
    from sources.insightly.state.request import Wish

    from .plan import plan
    from .run import sync

    settings = given.settings(args, max_calls=args.max_calls)
    wish = Wish(full=args.full, since=given.moment("--since", args.since))
    if args.ids is not None or args.where is not None:
        return _refresh(args, settings, wish)
    if args.plan:
        return plan(settings, given.target(args), args.entities, wish)
    return _load(args, lambda watch: sync(settings, given.target(args), args.entities, wish, watch))


def _refresh(args: argparse.Namespace, settings: "InsightlySettings", wish: "Wish") -> "Report":
    from .refresh import plan, refresh, request

    asked = request(settings, args.entities, args.ids, args.where, wish)
    if args.plan:
        return plan(settings, asked)
    return _load(args, lambda watch: refresh(settings, given.target(args), asked, watch))


def _load(args: argparse.Namespace, load: "Callable[[Any], Report]") -> "Report":
    """Has records loaded, and views made anew where that is asked for."""
    if args.marts:
        from .mart_run import assert_possible, make_after

        assert_possible(given.target(args))
    with given.watching(args) as watch:
        report = load(watch)
    if args.marts:
        make_after(report, given.target(args))
    return report


def _sweep(args: argparse.Namespace) -> "Report":
    from .plan import plan_sweep
    from .sweep import sweep

    settings = given.settings(args, max_calls=args.max_calls)
    if args.plan:
        return plan_sweep(settings, given.target(args), args.entities, args.tags)
    with given.watching(args) as watch:
        flags = {"thorough": args.thorough, "tags": args.tags, "force": args.force}
        return sweep(settings, given.target(args), args.entities, **flags, watch=watch)


def _verify(args: argparse.Namespace) -> "Report":
    from .verify import verify

    settings = given.settings(args, max_calls=args.max_calls)
    with given.watching(args) as watch:
        return verify(settings, given.target(args), args.entities, full=args.full, quick=args.quick, watch=watch)


def _push(args: argparse.Namespace) -> "Report":
    from pipelines.push.ask import confirmation
    from pipelines.push.request import Request
    from pipelines.push.run import dry_run, push
    from sources.insightly.state.times import parse

    since = given.moment("--if-unchanged-since", args.if_unchanged_since)
    flags = {"match": args.match, "skip_invalid": args.skip_invalid, "again": args.again}
    request = Request(args.entity, args.source, args.op, **flags, unchanged_since=parse(since) if since else None)
    settings = given.settings(args, max_calls=args.max_calls)
    if args.dry_run:
        return dry_run(settings, given.target(args), request)
    confirm = confirmation(args.entity, args.op, yes=args.yes)
    with given.watching(args) as watch:
        return push(settings, given.target(args), request, confirm, watch)


def _check(args: argparse.Namespace) -> "Report":
    from .check import check

    return check(given.settings(args))


def _entities(args: argparse.Namespace) -> "Report":
    from .readable import entities

    return entities(given.settings(args, max_calls=args.max_calls))


def _tell(args: argparse.Namespace, report: "Report") -> int:
    if args.json:
        write(report)
    else:
        from .screen import show

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


HANDLERS: Mapping[str, Handler] = {
    "check": _check,
    "entities": _entities,
    "sync": _sync,
    "sweep": _sweep,
    "verify": _verify,
    "push": _push,
    **offline.HANDLERS,
}

if __name__ == "__main__":
    sys.exit(main())
