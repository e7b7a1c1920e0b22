"""The command `insightly`: arguments in, exit code out. Heavy imports wait until a command needs them."""

import argparse
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import logs
from .arguments import failure, parser, write

if TYPE_CHECKING:
    from sources.insightly.cursor import Wish
    from sources.insightly.settings import InsightlySettings

    from .report import Report
    from .target import Target

Handler = Callable[[argparse.Namespace], int]


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
        return HANDLERS[args.command](args)
    except KeyboardInterrupt:
        return _refuse(args, "interrupted; what was committed stays, run again to go on", 130)
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if code is None:
            logging.getLogger("insightly").exception("unexpected: please report it with what is above")
        return _refuse(args, str(error) or type(error).__name__, 1 if code is None else code)


def _sync(args: argparse.Namespace) -> int:
    from sources.insightly.cursor import Wish

    from .plan import plan
    from .run import sync

    settings = _settings(max_calls=args.max_calls)
    wish = Wish(full=args.full, since=_moment("--since", args.since))
    if args.ids is not None or args.where is not None:
        return _refresh(args, settings, wish)
    if args.plan:
        return _tell(args, plan(settings, _target(args), args.entities, wish))
    with _watching(args) as watch:
        return _tell(args, sync(settings, _target(args), args.entities, wish, watch))


def _refresh(args: argparse.Namespace, settings: "InsightlySettings", wish: "Wish") -> int:
    from .refresh import plan, refresh, request

    asked = request(settings, args.entities, args.ids, args.where, wish)
    if args.plan:
        return _tell(args, plan(settings, asked))
    with _watching(args) as watch:
        return _tell(args, refresh(settings, _target(args), asked, watch))


def _sweep(args: argparse.Namespace) -> int:
    from .plan import plan_sweep
    from .sweep import sweep

    settings = _settings(max_calls=args.max_calls)
    if args.plan:
        return _tell(args, plan_sweep(settings, _target(args), args.entities, args.tags))
    with _watching(args) as watch:
        return _tell(
            args,
            sweep(
                settings,
                _target(args),
                args.entities,
                thorough=args.thorough,
                tags=args.tags,
                force=args.force,
                watch=watch,
            ),
        )


def _verify(args: argparse.Namespace) -> int:
    from .verify import verify

    settings = _settings(max_calls=args.max_calls)
    with _watching(args) as watch:
        return _tell(
            args, verify(settings, _target(args), args.entities, full=args.full, quick=args.quick, watch=watch)
        )


def _push(args: argparse.Namespace) -> int:
    from sources.insightly.cursor import parse

    from .push.ask import confirmation
    from .push.request import Request
    from .push.run import dry_run, push

    since = _moment("--if-unchanged-since", args.if_unchanged_since)
    flags = {"match": args.match, "skip_invalid": args.skip_invalid, "again": args.again}
    request = Request(args.entity, args.source, args.op, **flags, unchanged_since=parse(since) if since else None)
    settings = _settings(max_calls=args.max_calls)
    if args.dry_run:
        return _tell(args, dry_run(settings, _target(args), request))
    confirm = confirmation(args.entity, args.op, yes=args.yes)
    with _watching(args) as watch:
        return _tell(args, push(settings, _target(args), request, confirm, watch))


def _status(args: argparse.Namespace) -> int:
    from .status import status

    return _tell(args, status(_settings(), _target(args), args.entities, args.max_age))


def _check(args: argparse.Namespace) -> int:
    from .check import check

    return _tell(args, check(_settings()))


def _entities(args: argparse.Namespace) -> int:
    from .check import entities

    return _tell(args, entities())


def _sandbox(args: argparse.Namespace) -> int:
    from .sandbox import serve

    return serve(args)


def _watching(args: argparse.Namespace) -> "AbstractContextManager[Any]":
    from .progress import watching

    return watching("off" if args.json and args.progress == "auto" else args.progress)


def _settings(**overrides: Any) -> "InsightlySettings":
    from sources.insightly.settings import resolve_settings

    return resolve_settings(**overrides)


def _target(args: argparse.Namespace) -> "Target":
    from .target import Target

    return Target(args.destination, args.dataset, args.database)


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


def _tell(args: argparse.Namespace, report: Any) -> int:
    if args.json:
        write(report)
    else:
        from .screen import show

        show(report)
    _pass_on(args, report)
    return int(report.exit_code)


def _refuse(args: argparse.Namespace, reason: str, code: int) -> int:
    report = failure(args.command, reason, code)
    if args.json:
        write(report)
    if args.log_format == "text":
        sys.stderr.write(f"insightly: {reason}\n")
    try:
        _pass_on(args, report)
    except Exception as error:
        sys.stderr.write(f"insightly: {error}\n")
    return code


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
    "sandbox": _sandbox,
}

if __name__ == "__main__":
    sys.exit(main())
