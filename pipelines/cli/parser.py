"""Every command and option of `insightly`."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from . import handlers
from .arguments import HelpFormatter, Parser, PrintCompletion, PrintVersion, duration, port, whole_number

EXIT_CODES = """exit codes:
  0  done
  1  failed, or a named entity is not available; the destination is consistent,
     and the message says why
  2  usage or configuration: no key, a refused host, an unknown entity, a bad
     value, another account's destination
  3  stopped at a call budget or at the day's quota; everything read so far is
     loaded, and the next run continues
  4  verify found a difference
  130, 143  interrupted by Ctrl-C or SIGTERM; what is committed stays, and the
     next run continues
With several accounts the exit code is the worst one, in the order 2, 1, 4, 3."""


def parser() -> argparse.ArgumentParser:
    """Returns the parser of all commands.

    Parsed arguments have `command`, the command's name, and `handler`, which runs it: see `handlers`.
    """
    root = Parser(
        prog="insightly",
        description="Load the Insightly CRM into your own analytics database, incrementally, without losing a row.",
        epilog=f"To try it without an account, run: insightly sandbox\n\n{EXIT_CODES}",
        formatter_class=HelpFormatter,
    )
    root.add_argument("--version", action=PrintVersion, nargs=0, help="show the versions, and exit")
    root.add_argument(
        "--print-completion",
        action=PrintCompletion,
        choices=("bash", "zsh", "fish", "tcsh", "powershell"),
        metavar="SHELL",
        help="print the tab completion of bash, zsh, fish, tcsh or powershell, and exit",
    )
    commands = root.add_subparsers(title="commands", required=True, metavar="COMMAND")
    json_output = _common("--json", action="store_true", help="print one JSON object on stdout, and logs on stderr")
    log_format = _common(
        "--log-format", choices=("text", "json"), default="text", help="log as text, or one JSON object a line"
    )
    account = _common(
        "--instance",
        action="append",
        default=[],
        dest="instances",
        metavar="NAME",
        help="an account of [sources.insightly.instances], or default; may be repeated (default: every account)",
    )
    destination = _common("--destination", default="duckdb", metavar="NAME", help="dlt destination (default: duckdb)")
    dataset = _common(
        "--dataset",
        default="insightly",
        metavar="NAME",
        help="schema to write (default: insightly; for an account NAME: insightly_NAME)",
    )
    database = _common("--database", metavar="PATH", help="DuckDB file (default: crm.duckdb)")
    jobs = _common(
        "--jobs",
        type=whole_number,
        default=1,
        metavar="N",
        help="run N accounts at a time; not with a DuckDB file, which has one writer (default: 1)",
    )
    max_calls = _common("--max-calls", type=whole_number, metavar="N", help="stop cleanly after N calls (per account)")
    progress = _common(
        "--progress", choices=("auto", "log", "off"), default="auto", help="a live line, log lines, or nothing"
    )
    metrics = _common("--metrics", metavar="FILE", help="write the figures of the run to FILE, as OpenMetrics")
    one_account = _common(
        "--instance",
        action="append",
        default=[],
        dest="instances",
        metavar="NAME",
        help="the account to use; needed if there are several (docs/guide/accounts.md)",
    )
    names = Parser(add_help=False)
    names.add_argument(
        "entities", nargs="*", metavar="ENTITY", help="entities or presets: core, all (default: the setting entities)"
    )
    output, target = [json_output, log_format], [destination, dataset, database]
    reading = [names, *output, account, jobs, *target, max_calls, progress, metrics]

    def add(
        name: str,
        handler: handlers.Handler,
        parents: Sequence[Parser],
        summary: str,
        description: str | None = None,
        examples: Sequence[str] = (),
    ) -> Parser:
        epilog = "\n  ".join(["examples:", *examples]) if examples else None
        command = commands.add_parser(
            name,
            parents=[*parents],
            help=summary,
            description=description or f"{summary[0].upper()}{summary[1:]}.",
            epilog=epilog,
            formatter_class=HelpFormatter,
        )
        command.set_defaults(command=name, handler=handler)
        return command

    init = add(
        "init",
        handlers.init,
        [*output, *target],
        "set up this folder: ask for the key, find its pod, write .dlt/, plan a sync",
        "Take the API key, find the pod that accepts it, write .dlt/secrets.toml (which only you can read) and "
        ".dlt/config.toml, run check, and estimate the first sync. On a terminal it asks for what is missing. The "
        "key is never an option, because other users of the machine can see options: type it when asked, or use "
        "SOURCES__INSIGHTLY__API_KEY or --key-stdin.",
        ("insightly init", "insightly init --yes --key-stdin --pod eu1 --history opportunities < key.txt"),
    )
    _add_options(
        init,
        {
            "--pod POD": "na1, eu1, ..., as in the API URL (default: the one that accepts the key)",
            "--key-stdin": "read the key from the first line of stdin",
            "--history NAMES": "keep every version of the records of these entities, or none",
            "--hash COLUMNS": "store only a hash of these columns, such as contacts.email_address, or none",
            "--start-date DATE": "read only what changed since DATE, or all",
            "--force": "replace the key in .dlt/secrets.toml",
            "--yes": "ask no questions",
        },
    )
    add("check", handlers.check, [*output, account], "check the key, pod, account, plan and calls left; writes nothing")
    add(
        "entities",
        handlers.entities,
        [*output, account, max_calls],
        "list what can be loaded, how, and whether this key may read it",
        "List every entity. Each collection is tested with one call; without a key nothing is sent. The letters of "
        "`can` are search, get, create, update and delete.",
    )
    sync = add(
        "sync",
        handlers.sync,
        reading,
        "bring the destination up to date; the first run reads everything",
        "Read what changed since the last run, for the named entities or those of the setting `entities`.",
        (
            "insightly sync",
            "insightly sync contacts leads --max-calls 500",
            "insightly sync --plan",
            "insightly sync contacts --where EMAIL_ADDRESS=ada@example.com",
            "insightly sync contacts --id 1 2 3",
        ),
    )
    sync.add_argument("--full", action="store_true", help="read everything again, child tables too")
    sync.add_argument("--since", metavar="DATE", help="read again what changed since DATE (ISO, UTC)")
    sync.add_argument(
        "--where",
        action="append",
        metavar="FIELD=VALUE",
        help="read only the records of one entity that have this value, with the API's search; FIELD is a field or "
        "custom field, by its API name or column name; no watermark moves",
    )
    sync.add_argument(
        "--id",
        nargs="+",
        action="extend",
        dest="ids",
        metavar="ID",
        help="read only these records of one entity, one call each; a record that is gone is marked deleted; "
        "no watermark moves",
    )
    sync.add_argument("--plan", action="store_true", help="request only the totals; show pages, calls and time")
    sync.add_argument("--marts", action="store_true", help="refresh the mart views afterwards")

    sweep = add(
        "sweep",
        handlers.sweep,
        reading,
        "find deleted records",
        "Compare the loaded ids with the ids the API lists, reading only the pages with a change. Confirm what is "
        "gone, and mark it in _deleted_at (or remove it: see the setting `deletions`).",
        ("insightly sweep", "insightly sweep contacts --thorough", "insightly sweep --tags --plan"),
    )
    sweep.add_argument("--thorough", action="store_true", help="read every id (500 a call)")
    sweep.add_argument("--tags", action="store_true", help="also repair tags that changed without changing a date")
    sweep.add_argument("--plan", action="store_true", help="request only the totals; show pages, calls and time")
    sweep.add_argument("--force", action="store_true", help="mark records however many are gone (max_deleted_share)")

    verify = add(
        "verify",
        handlers.verify,
        reading,
        "prove that the destination matches the API",
        "Read every id (500 a call) and compare it with the destination, and compare a random sample of records field "
        "by field. Changes nothing; exits with 4 if something differs.",
        ("insightly verify", "insightly verify contacts --full", "insightly verify --quick"),
    )
    depth = verify.add_mutually_exclusive_group()
    depth.add_argument("--full", action="store_true", help="compare every record field by field")
    depth.add_argument("--quick", action="store_true", help="send few calls: read only the pages with a change")

    push = add(
        "push",
        handlers.push,
        [*output, one_account, *target, max_calls, progress],
        "create, update or delete records and tags from a file, table or query",
        "Check every row, show the plan, and push the rows in order, each exactly once: an interrupted push resumes "
        "where it stopped. Afterwards read the records again. See docs/guide/push.md.",
        (
            "insightly push contacts new.csv --op create --dry-run",
            "insightly push contacts new.csv --op upsert --match email_address",
            "insightly push tasks done.jsonl --op update --if-unchanged-since 2026-01-31T09:00:00Z",
            'insightly push leads "select lead_id from stale_leads" --op delete --yes',
        ),
    )
    push.add_argument("entity", metavar="ENTITY", help="contacts, events, leads, notes, ..., or tags")
    push.add_argument("source", metavar="FILE|TABLE", help="a .csv, .jsonl or .parquet file, a table, or a query")
    push.add_argument(
        "--op", required=True, choices=("create", "update", "upsert", "delete"), help="what to do with each row"
    )
    _add_options(
        push,
        {
            "--match FIELD": "find records by this field instead of their id",
            "--dry-run": "check the rows and show each change; send nothing",
            "--delimiter CHAR": "what separates the cells of a .csv file (default: , ; or tab, by the header)",
            "--encoding NAME": "the encoding of a text file, such as cp1252 (default: utf-8)",
            "--yes": "do not ask; required to delete without a terminal",
            "--skip-invalid": "push the valid rows even if others are invalid",
            "--again": "push rows again that were pushed before",
            "--if-unchanged-since T": "skip records edited after T (ISO, UTC)",
        },
    )

    status = add(
        "status",
        handlers.status,
        [names, *output, account, *target],
        "show the last runs, freshness, calls left and watermarks",
        "Show how fresh the destination is. Sends no call to the API.",
        ("insightly status", "insightly status --max-age 2h || mail -s 'CRM is stale' team@example.com"),
    )
    status.add_argument(
        "--max-age",
        type=duration,
        metavar="DURATION",
        help="exit with 1 if the last complete sync of an entity is older: 90m, 2h, 1d",
    )

    marts = add(
        "marts",
        handlers.marts,
        [*output, account, *target],
        "create views that answer questions: pipeline, conversion, tasks, ...",
        "Create views of the tables in the dataset <dataset>_marts, and drop the views of marts that no longer exist. "
        "Only reads the tables of the sync. See docs/guide/marts.md.",
        (
            "insightly marts",
            "insightly marts --folder our_marts",
            "insightly marts --print --destination snowflake",
            "insightly marts --dbt insightly_dbt",
        ),
    )
    marts.add_argument("--folder", metavar="DIR", help="add your own marts: .sql files, one SELECT each")
    instead = marts.add_mutually_exclusive_group()
    instead.add_argument("--print", action="store_true", help="print the SQL; connect to nothing")
    instead.add_argument("--dbt", metavar="DIR", help="write a dbt package instead: sources, staging, marts, tests")

    dashboard = add(
        "dashboard",
        handlers.dashboard,
        [*output, *target],
        "show pipeline, wins and deals to work on, in a browser or one HTML file",
        "Show the pipeline, wins, win rate, deals to work on and activity, and the health of the sync in one line, "
        "from the destination alone. Serves the page on loopback, and builds it again at each load.",
        ("insightly dashboard", "insightly dashboard --export crm.html"),
    )
    dashboard.add_argument("--instance", metavar="NAME", help="the account to show (docs/guide/accounts.md)")
    dashboard.add_argument("--export", metavar="FILE", help="write one HTML file, for a mail or a wiki, and exit")
    dashboard.add_argument(
        "--port", type=port, metavar="N", default=8050, help="port on loopback; 0 picks a free one (default: 8050)"
    )
    dashboard.add_argument("--no-browser", action="store_true", help="open no browser")
    dashboard.add_argument(
        "--max-age",
        type=duration,
        default="1d",
        metavar="DURATION",
        help="show an older sync as stale: 90m, 2h, 1d (default: 1d)",
    )

    sandbox = add(
        "sandbox",
        handlers.sandbox,
        [],
        "serve a small Insightly on loopback, to try everything without an account",
        "Serve a made-up CRM with the API of Insightly. Programs can change it while it runs, by requests below "
        "/_sandbox/: see docs/guide/sandbox.md.",
        (
            "insightly sandbox",
            "insightly sandbox --empty --fixtures records.json --log",
            "insightly sandbox --rate 2 --switch etag=off --switch forbidden=leads,tickets",
        ),
    )
    sandbox.add_argument(
        "--port", type=port, metavar="N", default=8765, help="port; 0 picks a free one (default: 8765)"
    )
    sandbox.add_argument(
        "--host",
        default="127.0.0.1",
        help="where to listen; 0.0.0.0 lets other machines in, without encryption (default: 127.0.0.1)",
    )
    sandbox.add_argument("--key", help="the API key to accept (default: a fixed key, which it prints)")
    sandbox.add_argument(
        "--seed", type=whole_number, default=1, help="the same seed and scale give the same data (default: 1)"
    )
    sandbox.add_argument("--scale", type=float, default=1.0, help="1 is a CRM of 1,000 contacts (default: 1)")
    sandbox.add_argument("--empty", action="store_true", help="start without records")
    sandbox.add_argument("--fixtures", metavar="FILE", help="JSON of records to add (docs/guide/sandbox.md)")
    sandbox.add_argument(
        "--rate", type=float, default=10.0, metavar="N", help="requests a second, 0 for no limit (default: 10)"
    )
    sandbox.add_argument(
        "--quota", type=whole_number, default=100_000, metavar="N", help="calls a day, 0 for no limit (default: 100000)"
    )
    sandbox.add_argument(
        "--latency", type=float, default=0.0, metavar="SECONDS", help="delay each response (default: 0)"
    )
    sandbox.add_argument(
        "--switch",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a behaviour that the real service does not document; may be repeated (docs/guide/sandbox.md)",
    )
    sandbox.add_argument("--faults", metavar="FILE", help="JSON script of faults (docs/guide/sandbox.md)")
    sandbox.add_argument("--log", action="store_true", help="write a line on stderr for each request")
    sandbox.set_defaults(json=False, log_format="text")
    return root


def _common(option: str, **kwargs: Any) -> Parser:
    """A parent parser with one option, which help lists after the options of the command itself."""
    parent = Parser(add_help=False)
    parent.add_argument_group("common options").add_argument(option, **kwargs)
    return parent


def _add_options(command: Parser, options: Mapping[str, str]) -> None:
    """Adds options: `--name VALUE`, or `--name` for a flag -> its help."""
    for option, text in options.items():
        name, _, metavar = option.partition(" ")
        if metavar:
            command.add_argument(name, metavar=metavar, help=text)
        else:
            command.add_argument(name, action="store_true", help=text)
