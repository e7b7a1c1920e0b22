"""From parsed arguments to a command's function and its report."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import options as given

if TYPE_CHECKING:
    from pipelines.engine.report import Report
    from sources.insightly.config.settings import InsightlySettings
    from sources.insightly.state.request import ReadRequest

Handler = Callable[[argparse.Namespace], "Report | int"]


def _sync(args: argparse.Namespace) -> "Report":
    from pipelines.commands.plan import plan
    from pipelines.commands.sync import sync
    from sources.insightly.state.request import ReadRequest

    settings = given.settings(args, max_calls=args.max_calls)
    request = ReadRequest(full=args.full, since=given.moment("--since", args.since))
    if args.ids is not None or args.where is not None:
        return _refresh(args, settings, request)
    if args.plan:
        return plan(settings, given.target(args), args.entities, request)
    return _load(args, lambda watch: sync(settings, given.target(args), args.entities, request, watch))


def _refresh(args: argparse.Namespace, settings: "InsightlySettings", request: "ReadRequest") -> "Report":
    from pipelines.commands.sync_selected import plan, refresh, selection

    asked = selection(settings, args.entities, args.ids, args.where, request)
    if args.plan:
        return plan(settings, asked)
    return _load(args, lambda watch: refresh(settings, given.target(args), asked, watch))


def _load(args: argparse.Namespace, load: "Callable[[Any], Report]") -> "Report":
    """Has records loaded, and views made anew where that is asked for."""
    if args.marts:
        from pipelines.views.build import assert_possible, make_after

        assert_possible(given.target(args))
    with given.watching(args) as watch:
        report = load(watch)
    if args.marts:
        make_after(report, given.target(args))
    return report


def _sweep(args: argparse.Namespace) -> "Report":
    from pipelines.commands.plan import plan_sweep
    from pipelines.commands.sweep import sweep

    settings = given.settings(args, max_calls=args.max_calls)
    if args.plan:
        return plan_sweep(settings, given.target(args), args.entities, args.tags)
    with given.watching(args) as watch:
        flags = {"thorough": args.thorough, "tags": args.tags, "force": args.force}
        return sweep(settings, given.target(args), args.entities, **flags, watch=watch)


def _verify(args: argparse.Namespace) -> "Report":
    from pipelines.commands.verify import verify

    settings = given.settings(args, max_calls=args.max_calls)
    with given.watching(args) as watch:
        return verify(settings, given.target(args), args.entities, full=args.full, quick=args.quick, watch=watch)


def _push(args: argparse.Namespace) -> "Report":
    from pipelines.push.request import Request
    from pipelines.push.run import dry_run, push
    from sources.insightly.state.times import parse

    from .confirm import confirmation

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
    from pipelines.commands.check import check

    return check(given.settings(args))


def _entities(args: argparse.Namespace) -> "Report":
    from pipelines.commands.entities import entities

    return entities(given.settings(args, max_calls=args.max_calls))


def _status(args: argparse.Namespace) -> "Report":
    from pipelines.commands.status import status

    max_age = None if args.max_age is None else given.duration("--max-age", args.max_age)
    return status(given.settings(args), given.target(args), args.entities, max_age)


def _marts(args: argparse.Namespace) -> "Report":
    from pipelines.views.build import make, write

    return (write if args.print else make)(given.target(args), args.folder)


def _dashboard(args: argparse.Namespace) -> "Report | int":
    from pipelines.dashboard.build import export, look, report
    from pipelines.dashboard.serve import Dashboard, serve

    target, max_age = given.target(args), given.duration("--max-age", args.max_age)
    if args.json or args.export is not None:
        page, path = look(target, max_age), None if args.export is None else Path(args.export)
        if path is not None:
            export(page, path)
        return report(page, path)
    target.require_exists()
    serve(Dashboard(lambda: look(target, max_age, wait=1)), args.port, not args.no_browser)
    return 0


def _sandbox(args: argparse.Namespace) -> int:
    from pipelines.sandbox.serve import serve

    return serve(args)


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
