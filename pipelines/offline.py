"""Commands that send nothing to Insightly: what they take, and what they do."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import given

if TYPE_CHECKING:
    from .report import Report

Handler = Callable[[argparse.Namespace], "Report | int"]


def add_arguments(
    commands: Any,
    json_output: argparse.ArgumentParser,
    account: argparse.ArgumentParser,
    target: argparse.ArgumentParser,
) -> None:
    """Adds the commands to a parser's; the parents are what others take as well."""
    status = commands.add_parser(
        "status",
        parents=[json_output, account, target],
        help="last runs, freshness, calls left, watermarks",
        description="Tells how fresh the destination is, without a call to the API.",
        epilog="example, as an alert:\n  insightly status --max-age 2h || mail -s 'CRM is stale' team@example.com",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    status.add_argument("entities", nargs="*", metavar="ENTITY", help="names or presets (core, all)")
    status.add_argument("--max-age", metavar="DURATION", help="exit 1 where a sync is older: 90m, 2h, 1d")
    status.set_defaults(command="status")

    marts = commands.add_parser(
        "marts",
        parents=[json_output, account, target],
        help="views that answer questions: pipeline, conversion, activity, overdue tasks, ...",
        description="Makes views of the tables, beside their dataset in one called <dataset>_marts, and drops those "
        "whose marts have gone. Tables of the sync are only read. See docs/guide/marts.md.",
        epilog="examples:\n  insightly marts\n  insightly marts --folder our_marts\n"
        "  insightly marts --print --destination snowflake",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    marts.add_argument("--folder", metavar="DIR", help="more marts: .sql files, one SELECT each")
    marts.add_argument("--print", action="store_true", help="write the SQL for the destination, connecting to nothing")
    marts.set_defaults(command="marts")

    dashboard = commands.add_parser(
        "dashboard",
        parents=[json_output, target],
        help="the sync's health and the CRM's pictures, in a browser or one HTML file",
        description="Shows freshness, rows, calls, failures, deletions and schema changes, and the CRM's funnel, wins "
        "and activity, from the destination alone. The page is served on loopback and made anew at each load.",
        epilog="examples:\n  insightly dashboard\n  insightly dashboard --export crm.html",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    dashboard.add_argument("--instance", metavar="NAME", help="of several accounts, this one (docs/guide/accounts.md)")
    dashboard.add_argument("--export", metavar="FILE", help="write one HTML file, for a mail or a wiki, and end")
    dashboard.add_argument("--port", type=int, default=8050, help="on loopback, 0 for a free one (default: 8050)")
    dashboard.add_argument("--no-browser", action="store_true", help="only serve; open nothing")
    dashboard.add_argument(
        "--max-age", default="1d", metavar="DURATION", help="what is older is stale: 90m, 2h, 1d (default)"
    )
    dashboard.set_defaults(command="dashboard")

    sandbox = commands.add_parser("sandbox", help="a small Insightly on loopback, to try everything without an account")
    sandbox.add_argument("--port", type=int, default=8765)
    sandbox.add_argument("--seed", type=int, default=1, help="same seed and scale, same data (default: 1)")
    sandbox.add_argument("--scale", type=float, default=1.0, help="1 is a CRM of 1,000 contacts (default: 1)")
    sandbox.add_argument("--rate", type=float, default=10.0, metavar="N", help="requests a second, 0 for no limit")
    sandbox.add_argument("--quota", type=int, default=100_000, metavar="N", help="calls a day, 0 for no limit")
    sandbox.add_argument("--latency", type=float, default=0.0, metavar="SECONDS", help="added to each answer")
    sandbox.add_argument(
        "--faults", metavar="FILE", help="JSON script of faults (see sources/insightly/sandbox/faults.py)"
    )
    sandbox.set_defaults(command="sandbox", json=False, log_format="text")


def _status(args: argparse.Namespace) -> "Report":
    from .status import status

    return status(given.settings(args), given.target(args), args.entities, args.max_age)


def _marts(args: argparse.Namespace) -> "Report":
    from .mart_run import make, write

    return (write if args.print else make)(given.target(args), args.folder)


def _dashboard(args: argparse.Namespace) -> "Report | int":
    from .dashboard.run import export, look, report
    from .dashboard.serve import Dashboard, serve

    target = given.target(args)
    if args.json or args.export is not None:
        page, path = look(target, args.max_age), None if args.export is None else Path(args.export)
        if path is not None:
            export(page, path)
        return report(page, path)
    target.require()
    serve(Dashboard(lambda: look(target, args.max_age, wait=1)), args.port, not args.no_browser)
    return 0


def _sandbox(args: argparse.Namespace) -> int:
    from .sandbox import serve

    return serve(args)


HANDLERS: Mapping[str, Handler] = {
    "status": _status,
    "marts": _marts,
    "dashboard": _dashboard,
    "sandbox": _sandbox,
}
