"""The command `insightly`: arguments in, exit code out. Heavy imports wait until a command needs them."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from . import logs
from .arguments import INTERRUPTED, failed, parser, write

if TYPE_CHECKING:
    from sources.insightly.cursor import Wish
    from sources.insightly.settings import InsightlySettings

    from .report import Report
    from .target import Target

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
        instances.unite(report, _target(args))
    return cast("Report", report)


def _sync(args: argparse.Namespace) -> "Report":
    from sources.insightly.cursor import Wish

    from .plan import plan
    from .run import sync

    settings = _settings(args, max_calls=args.max_calls)
    wish = Wish(full=args.full, since=_moment("--since", args.since))
    if args.ids is not None or args.where is not None:
        return _refresh(args, settings, wish)
    if args.plan:
        return plan(settings, _target(args), args.entities, wish)
    return _load(args, lambda watch: sync(settings, _target(args), args.entities, wish, watch))


def _refresh(args: argparse.Namespace, settings: "InsightlySettings", wish: "Wish") -> "Report":
    from .refresh import plan, refresh, request

    asked = request(settings, args.entities, args.ids, args.where, wish)
    if args.plan:
        return plan(settings, asked)
    return _load(args, lambda watch: refresh(settings, _target(args), asked, watch))


def _load(args: argparse.Namespace, load: "Callable[[Any], Report]") -> "Report":
    """Has records loaded, and views made anew where that is asked for."""
    if args.marts:
        from .mart_run import assert_possible, make_after

        assert_possible(_target(args))
    with _watching(args) as watch:
        report = load(watch)
    if args.marts:
        make_after(report, _target(args))
    return report


def _sweep(args: argparse.Namespace) -> "Report":
    from .plan import plan_sweep
    from .sweep import sweep

    settings = _settings(args, max_calls=args.max_calls)
    if args.plan:
        return plan_sweep(settings, _target(args), args.entities, args.tags)
    with _watching(args) as watch:
        flags = {"thorough": args.thorough, "tags": args.tags, "force": args.force}
        return sweep(settings, _target(args), args.entities, **flags, watch=watch)


def _verify(args: argparse.Namespace) -> "Report":
    from .verify import verify

    settings = _settings(args, max_calls=args.max_calls)
    with _watching(args) as watch:
        return verify(settings, _target(args), args.entities, full=args.full, quick=args.quick, watch=watch)


def _push(args: argparse.Namespace) -> "Report":
    from sources.insightly.cursor import parse

    from .push.ask import confirmation
    from .push.request import Request
    from .push.run import dry_run, push

    since = _moment("--if-unchanged-since", args.if_unchanged_since)
    flags = {"match": args.match, "skip_invalid": args.skip_invalid, "again": args.again}
    request = Request(args.entity, args.source, args.op, **flags, unchanged_since=parse(since) if since else None)
    settings = _settings(args, max_calls=args.max_calls)
    if args.dry_run:
        return dry_run(settings, _target(args), request)
    confirm = confirmation(args.entity, args.op, yes=args.yes)
    with _watching(args) as watch:
        return push(settings, _target(args), request, confirm, watch)


def _status(args: argparse.Namespace) -> "Report":
    from .status import status

    return status(_settings(args), _target(args), args.entities, args.max_age)


def _marts(args: argparse.Namespace) -> "Report":
    from .mart_run import make, write

    return (write if args.print else make)(_target(args), args.folder)


def _check(args: argparse.Namespace) -> "Report":
    from .check import check

    return check(_settings(args))


def _entities(args: argparse.Namespace) -> "Report":
    from .readable import entities

    return entities(_settings(args, max_calls=args.max_calls))


def _dashboard(args: argparse.Namespace) -> int:
    from .dashboard.run import export, look, report
    from .dashboard.serve import Dashboard, serve

    target = _target(args)
    if args.json or args.export is not None:
        page, path = look(target, args.max_age), None if args.export is None else Path(args.export)
        if path is not None:
            export(page, path)
        return _tell(args, report(page, path))
    target.require()
    serve(Dashboard(lambda: look(target, args.max_age, wait=1)), args.port, not args.no_browser)
    return 0


def _sandbox(args: argparse.Namespace) -> int:
    from .sandbox import serve

    return serve(args)


def _watching(args: argparse.Namespace) -> "AbstractContextManager[Any]":
    from .progress import watching

    return watching("off" if args.json and args.progress == "auto" else args.progress)


def _settings(args: argparse.Namespace, **overrides: Any) -> "InsightlySettings":
    from sources.insightly.settings import resolve_settings

    return resolve_settings(getattr(args, "instance", None), **overrides)


def _target(args: argparse.Namespace) -> "Target":
    from .target import Target

    return Target(args.destination, args.dataset, args.database).of(getattr(args, "instance", None))


def _moment(option: str, text: str | None) -> str | None:
    if text is None:
        return None
    from sources.insightly.cursor import iso, parse
    from sources.insightly.errors import BadSetting

    try:
        return iso(parse(text))
    except ValueError:
        raise BadSetting(
            option, text, "must be an ISO date or date-time, as 2025-01-31 or 2025-01-31T00:00:00Z"
        ) from None


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
    "status": _status,
    "marts": _marts,
    "dashboard": _dashboard,
    "sandbox": _sandbox,
}

if __name__ == "__main__":
    sys.exit(main())
