"""One handler a command: parsed arguments -> the command's function -> its report.

Each imports what it needs when it is called, so that `insightly --help` starts fast.
"""

import argparse
import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from . import logs

if TYPE_CHECKING:
    from pipelines.destinations.target import Target
    from pipelines.engine.progress import Progress
    from pipelines.engine.report import Report
    from sources.insightly.config.settings import InsightlySettings

logger = logging.getLogger(__name__)

T = TypeVar("T")
Handler = Callable[[argparse.Namespace], "Report | int"]


def init(args: argparse.Namespace) -> "Report":
    from pipelines.commands.init import init

    from .console import show
    from .setup import setup

    checked, report = init(setup(args), target_of(args))
    if not args.json and "plan" in report.facts:
        show(checked)
    return report


def check(args: argparse.Namespace) -> "Report":
    from pipelines.commands.check import check

    return check(_settings(args))


def entities(args: argparse.Namespace) -> "Report":
    from pipelines.commands.entities import entities

    return entities(_settings(args))


def sync(args: argparse.Namespace) -> "Report":
    from pipelines.commands import sync_selected
    from pipelines.commands.plan import plan
    from pipelines.commands.sync import sync
    from sources.insightly.state.request import ReadRequest

    settings, target = _settings(args), target_of(args)
    request = ReadRequest(full=args.full, since=_timestamp("--since", args.since))
    selected = None
    if args.ids is not None or args.where is not None:
        selected = sync_selected.selection(settings, args.entities, args.ids, args.where, request)
    if args.plan:
        return sync_selected.plan(settings, selected) if selected else plan(settings, target, args.entities, request)
    if args.marts:
        from pipelines.views.build import assert_possible, refresh_after_sync

        assert_possible(target)
    with _progress(args) as progress:
        if selected:
            report = sync_selected.sync_selected(settings, target, selected, progress.watch)
        else:
            report = sync(settings, target, args.entities, request, progress.watch)
    if args.marts:
        refresh_after_sync(report, target)
    return report


def sweep(args: argparse.Namespace) -> "Report":
    from pipelines.commands.plan import plan_sweep
    from pipelines.commands.sweep import sweep

    settings, target = _settings(args), target_of(args)
    if args.plan:
        return plan_sweep(settings, target, args.entities, args.tags)
    flags = {"thorough": args.thorough, "tags": args.tags, "force": args.force}
    with _progress(args) as progress:
        return sweep(settings, target, args.entities, **flags, watch=progress.watch)


def verify(args: argparse.Namespace) -> "Report":
    from pipelines.commands.verify import verify

    settings, target = _settings(args), target_of(args)
    with _progress(args) as progress:
        return verify(settings, target, args.entities, full=args.full, quick=args.quick, watch=progress.watch)


def push(args: argparse.Namespace) -> "Report":
    from pipelines.push.request import PushRequest
    from pipelines.push.run import dry_run, push
    from sources.insightly.selection import canonical
    from sources.insightly.state.times import parse

    from .confirm import confirmation

    since = _timestamp("--if-unchanged-since", args.if_unchanged_since)
    flags = {"match": args.match, "skip_invalid": args.skip_invalid, "again": args.again}
    entity = canonical(args.entity)
    reading = {"delimiter": args.delimiter, "encoding": args.encoding}
    unchanged_since = parse(since) if since else None
    request = PushRequest(entity, args.source, args.op, **flags, **reading, unchanged_since=unchanged_since)
    settings, target = _settings(args), target_of(args)
    if args.dry_run:
        return dry_run(settings, target, request)
    with _progress(args) as progress:
        confirm = confirmation(entity, args.op, args.yes, progress.hidden, quiet=args.json or args.log_format == "json")
        return push(settings, target, request, confirm, progress.watch)


def status(args: argparse.Namespace) -> "Report":
    from pipelines.commands.status import status

    return status(_settings(args), target_of(args), args.entities, args.max_age)


def marts(args: argparse.Namespace) -> "Report":
    from pipelines.views.build import create_views, statements

    if args.dbt is not None:
        from pipelines.dashboard.queries import MARTS
        from pipelines.views.dbt.build import write_package

        return write_package(target_of(args), args.dbt, args.instance, args.folder, MARTS)
    return (statements if args.print else create_views)(target_of(args), args.folder)


def dashboard(args: argparse.Namespace) -> "Report | int":
    from pipelines.dashboard.build import build_page, export, report
    from pipelines.dashboard.serve import Dashboard, serve, server

    target = target_of(args)
    if args.json or args.export is not None:
        page, path = build_page(target, args.max_age), None if args.export is None else Path(args.export)
        if path is not None:
            export(page, path)
        return report(page, path)
    target.require_exists()
    dashboard = Dashboard(lambda: build_page(target, args.max_age, wait=1))
    with _bound(args.port, lambda: server(dashboard, args.port)) as running:
        serve(running, not args.no_browser)
    return 0


def sandbox(args: argparse.Namespace) -> int:
    from pipelines.sandbox import read_faults
    from pipelines.sandbox.serve import read_fixtures, sandbox, serve, switches_of

    switches = _option("--switch", " ".join(args.switch), lambda: switches_of(args))
    faults = _option("--faults", args.faults, lambda: read_faults(args.faults) if args.faults else [])
    fixtures = _option("--fixtures", args.fixtures, lambda: read_fixtures(args.fixtures) if args.fixtures else None)
    serve(_bound(args.port, lambda: sandbox(args, switches, faults, fixtures)))
    return 0


def _option(name: str, value: object, read: Callable[[], T]) -> T:
    """What `read` makes of an option. Raises BadSetting if it cannot be read."""
    from sources.insightly.errors import BadSetting

    try:
        return read()
    except (OSError, ValueError) as error:
        raise BadSetting(name, value, getattr(error, "strerror", None) or str(error)) from None


def _bound(port: int, bind: Callable[[], T]) -> T:
    """What `bind` makes, a server on a port. Raises BadSetting if the port is not free."""
    from sources.insightly.errors import BadSetting

    try:
        return bind()
    except OSError as error:
        fix = f"{error.strerror}; choose another port, or 0 for a free one"
        raise BadSetting("--port", port, fix) from None


def run_account(args: argparse.Namespace, name: str | None) -> "Report":
    """Runs a command for one account."""
    report: Report = args.handler(argparse.Namespace(**vars(args), instance=name))
    return report


def run_in_process(args: argparse.Namespace, name: str) -> "Report":
    """Runs a command for one account in its own process, next to those of other accounts, without a live line."""
    logs.configure(args.log_format, name)
    progress = "log" if args.progress == "auto" and not args.json else args.progress
    return run_account(argparse.Namespace(**vars(args) | {"progress": progress}), name)


def warn_of_readable_secrets() -> None:
    """Warns if other users of this machine can read a file with secrets."""
    from sources.insightly.config.providers import readable_secrets

    for file in readable_secrets() if os.name == "posix" else ():
        logger.warning("every user of this machine can read %s: run chmod 600 on it", file)


def target_of(args: argparse.Namespace) -> "Target":
    """The destination of the arguments; in the account's dataset if `args.instance` names an account."""
    from pipelines.destinations.target import Target

    return Target(args.destination, args.dataset, args.database).for_account(getattr(args, "instance", None))


def _settings(args: argparse.Namespace) -> "InsightlySettings":
    from sources.insightly.config.settings import resolve_settings

    overrides = {"max_calls": args.max_calls} if "max_calls" in args else {}
    return resolve_settings(getattr(args, "instance", None), **overrides)


def _timestamp(option: str, text: str | None) -> str | None:
    """An ISO date or time of the past, as the state keeps it. Raises BadSetting.

    Nothing changes after a time in the future: a sync would read nothing, and a push would guard no record.
    """
    if text is None:
        return None
    from datetime import UTC, datetime

    from pipelines.destinations.pipeline_state import CLOCK_TOLERANCE
    from sources.insightly.errors import BadSetting
    from sources.insightly.state.times import iso, parse

    try:
        time, now = parse(text), datetime.now(UTC)
    except ValueError:
        fix = "must be an ISO date or time such as 2025-01-31 or 2025-01-31T00:00:00Z"
        raise BadSetting(option, text, fix) from None
    if time > now + CLOCK_TOLERANCE:
        raise BadSetting(option, text, f"must not be in the future; in UTC it is {iso(now)} now")
    return iso(time)


def _progress(args: argparse.Namespace) -> "AbstractContextManager[Progress]":
    from pipelines.engine.progress import show_progress

    mode = args.progress
    if mode == "auto" and (args.json or args.log_format == "json"):
        mode = "off" if args.json else "log"
    return show_progress(mode)
