"""Every command and option of `insightly`."""

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from pipelines.engine.report import Report

EXIT_CODES = """exit codes:
  0  done
  1  failed, or a named entity is not available; the destination is consistent and the message says why
  2  usage or configuration: no key, refused host, unknown entity, bad value, another account's destination
  3  stopped at a budget or the day's quota with everything read so far loaded; run again and it goes on
  4  verify found a difference
of several accounts, the first of 2, 1, 4, 3 that one of them ended with"""


class Parser(argparse.ArgumentParser):
    """Tells wrong usage to programs as well: one JSON object on stdout where `--json` was given."""

    def error(self, message: str) -> NoReturn:
        if "--json" in sys.argv[1:]:
            from pipelines.engine.report import failure_report

            write(failure_report(sys.argv[1], message, 2))
        super().error(message)


def write(report: "Report") -> None:
    """Prints a report as the one object of `--json`."""
    sys.stdout.write(json.dumps(report.to_dict(), default=str) + "\n")


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    root = Parser(
        prog="insightly",
        description="Insightly CRM into your own analytics database, incrementally, losing no row.",
        epilog=f"try it without an account: insightly sandbox\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = root.add_subparsers(title="commands", required=True, metavar="COMMAND")
    json_output = Parser(add_help=False)
    json_output.add_argument("--json", action="store_true", help="one JSON object on stdout, logs on stderr")
    json_output.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="log lines for people, or one JSON object a line"
    )
    account = Parser(add_help=False)
    account.add_argument(
        "--instance",
        action="append",
        default=[],
        dest="instances",
        metavar="NAME",
        help="one of [sources.insightly.instances], or default; may be repeated (default: every account)",
    )
    target = Parser(add_help=False)
    target.add_argument("--destination", default="duckdb", metavar="NAME", help="dlt destination (default: duckdb)")
    target.add_argument(
        "--dataset",
        default="insightly",
        metavar="NAME",
        help="schema to write (default: insightly; that of an instance is insightly_NAME)",
    )
    target.add_argument("--database", metavar="PATH", help="DuckDB file (default: crm.duckdb)")

    reading = Parser(add_help=False)
    reading.add_argument("entities", nargs="*", metavar="ENTITY", help="names or presets (core, all)")
    reading.add_argument("--max-calls", type=int, metavar="N", help="stop cleanly after N calls, of each account")
    reading.add_argument(
        "--progress", choices=("auto", "log", "off"), default="auto", help="a live line, log lines, or none"
    )
    reading.add_argument("--metrics", metavar="FILE", help="write the run's figures there, as OpenMetrics")

    check = commands.add_parser(
        "check", parents=[json_output, account], help="key, pod, account, plan, calls left; writes nothing"
    )
    check.set_defaults(command="check")
    entities = commands.add_parser(
        "entities",
        parents=[json_output, account],
        help="what can be loaded, how, and whether this key may read it",
        description="Asks each collection with one call; without a key it shows the table alone.",
    )
    entities.add_argument("--max-calls", type=int, metavar="N", help="stop cleanly after N calls, of each account")
    entities.set_defaults(command="entities")

    sync = commands.add_parser(
        "sync",
        parents=[json_output, account, target, reading],
        help="bring the destination up to date (the first run: everything)",
        description="Reads what changed since the last run, of the entities named or of the setting `entities`.",
        epilog="examples:\n  insightly sync\n  insightly sync contacts leads --max-calls 500\n  insightly sync --plan\n"
        "  insightly sync contacts --where EMAIL_ADDRESS=ada@example.com\n  insightly sync contacts --id 1 2 3",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sync.add_argument("--full", action="store_true", help="read everything again, child tables too")
    sync.add_argument("--since", metavar="DATE", help="read again what changed since DATE (ISO, UTC)")
    sync.add_argument(
        "--where",
        action="append",
        metavar="FIELD=VALUE",
        help="of one entity, only the records with this value, by the API's search: a field or custom field, "
        "as API name or column; no watermark moves",
    )
    sync.add_argument(
        "--id",
        nargs="+",
        action="extend",
        dest="ids",
        metavar="ID",
        help="of one entity, only these records, a call each; one that is gone is marked deleted; no watermark moves",
    )
    sync.add_argument("--plan", action="store_true", help="ask for the totals only: pages, calls and time of a run")
    sync.add_argument("--marts", action="store_true", help="make the views of insightly marts anew afterwards")
    sync.set_defaults(command="sync")

    sweep = commands.add_parser(
        "sweep",
        parents=[json_output, account, target, reading],
        help="find the records that were deleted",
        description="Compares the ids held with those the API lists, reading only the pages that tell of a change, "
        "confirms what is gone and marks it in _deleted_at (or removes it: the setting deletions).",
        epilog="examples:\n  insightly sweep\n  insightly sweep contacts --thorough\n  insightly sweep --tags --plan",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sweep.add_argument("--thorough", action="store_true", help="read every id: 500 a call")
    sweep.add_argument("--tags", action="store_true", help="also repair tags that changed without moving a date")
    sweep.add_argument("--plan", action="store_true", help="ask for the totals only: pages, calls and time at most")
    sweep.add_argument("--force", action="store_true", help="mark however many are gone (see max_deleted_share)")
    sweep.set_defaults(command="sweep")

    verify = commands.add_parser(
        "verify",
        parents=[json_output, account, target, reading],
        help="prove that the destination holds what the API holds",
        description="Reads every id (500 a call) and compares it with the destination, and a random sample of records "
        "field by field. Changes nothing; exit code 4 where something differs.",
        epilog="examples:\n  insightly verify\n  insightly verify contacts --full\n  insightly verify --quick",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    how = verify.add_mutually_exclusive_group()
    how.add_argument("--full", action="store_true", help="compare every record field by field")
    how.add_argument("--quick", action="store_true", help="few calls: only the pages that tell of a change")
    verify.set_defaults(command="verify")

    _add_push(commands, [json_output, account, target])

    add_arguments(commands, json_output, account, target)
    return root


def _add_push(commands: "argparse._SubParsersAction[Parser]", parents: list[Parser]) -> None:
    push = commands.add_parser(
        "push",
        parents=parents,
        help="create, update or delete records and tags from a file, table or query",
        description="Checks every row, shows the plan, and carries the rows out in order, each of them once: what is "
        "interrupted goes on where it stopped. Afterwards the records are read again. See docs/guide/push.md.",
        epilog="examples:\n  insightly push contacts new.csv --op create --dry-run\n"
        "  insightly push contacts new.csv --op upsert --match email_address\n"
        "  insightly push tasks done.jsonl --op update --if-unchanged-since 2026-01-31T09:00:00Z\n"
        '  insightly push leads "select lead_id from stale_leads" --op delete --yes',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    push.add_argument("entity", metavar="ENTITY", help="contacts, events, leads, notes, ..., or tags")
    push.add_argument("source", metavar="FILE|TABLE", help=".csv, .jsonl or .parquet, or a table or query")
    push.add_argument("--op", required=True, choices=("create", "update", "upsert", "delete"))
    push.add_argument("--match", metavar="FIELD", help="find records by this field instead of by their id")
    push.add_argument("--dry-run", action="store_true", help="check the rows and show the plan; nothing is sent")
    push.add_argument("--yes", action="store_true", help="do not ask; needed to delete where there is no terminal")
    push.add_argument("--skip-invalid", action="store_true", help="push the valid rows although others are not")
    push.add_argument("--again", action="store_true", help="push once more what was pushed before")
    push.add_argument(
        "--if-unchanged-since", metavar="T", help="leave records as they are that were edited after T (ISO, UTC)"
    )
    push.add_argument("--max-calls", type=int, metavar="N", help="stop cleanly after N calls")
    push.add_argument(
        "--progress", choices=("auto", "log", "off"), default="auto", help="a live line, log lines, or none"
    )
    push.set_defaults(command="push")


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
    sandbox.add_argument("--faults", metavar="FILE", help="JSON script of faults (see pipelines/sandbox/faults.py)")
    sandbox.set_defaults(command="sandbox", json=False, log_format="text")
