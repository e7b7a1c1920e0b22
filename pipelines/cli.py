"""The command `insightly`: arguments in, exit code out. Heavy imports wait until a command needs them."""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from sources.insightly.settings import InsightlySettings

    from .target import Target

EXIT_CODES = """exit codes:
  0  done
  1  failed, or a named entity is not available; the destination is consistent and the message says why
  2  usage or configuration: no key, refused host, unknown entity, bad value, another account's destination
  3  stopped at a budget or the day's quota with everything read so far loaded; run again and it goes on
  4  verify found a difference"""

Handler = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the arguments, without the program's name; None for those of the process.

    Returns:
        The exit code, as `insightly --help` lists them.
    """
    args = parser().parse_args(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(message)s")
    handler: Handler = args.handler
    try:
        return handler(args)
    except KeyboardInterrupt:
        return _refuse(args, "interrupted; what was committed stays, run again to go on", 130)
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if code is None:
            logging.getLogger("insightly").exception("unexpected: please report it with what is above")
        return _refuse(args, str(error) or type(error).__name__, 1 if code is None else code)


class Parser(argparse.ArgumentParser):
    """Tells wrong usage to programs as well: one JSON object on stdout where `--json` was given."""

    def error(self, message: str) -> NoReturn:
        if "--json" in sys.argv[1:]:
            _write_failure(sys.argv[1], message, 2)
        super().error(message)


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
    target = Parser(add_help=False)
    target.add_argument("--destination", default="duckdb", metavar="NAME", help="dlt destination (default: duckdb)")
    target.add_argument("--dataset", default="insightly", metavar="NAME", help="schema to write (default: insightly)")
    target.add_argument("--database", metavar="PATH", help="DuckDB file (default: crm.duckdb)")

    check = commands.add_parser(
        "check", parents=[json_output], help="key, pod, account, plan, calls left; writes nothing"
    )
    check.set_defaults(handler=_check)
    entities = commands.add_parser("entities", parents=[json_output], help="what can be loaded, and how")
    entities.set_defaults(handler=_entities)

    sync = commands.add_parser(
        "sync",
        parents=[json_output, target],
        help="bring the destination up to date (the first run: everything)",
        description="Reads what changed since the last run, of the entities named or of the setting `entities`.",
        epilog="examples:\n  insightly sync\n  insightly sync contacts leads --max-calls 500\n  insightly sync --plan",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sync.add_argument("entities", nargs="*", metavar="ENTITY", help="names or presets (core, all)")
    sync.add_argument("--full", action="store_true", help="read everything again, child tables too")
    sync.add_argument("--since", metavar="DATE", help="read again what changed since DATE (ISO, UTC)")
    sync.add_argument("--plan", action="store_true", help="ask for the totals only: pages, calls and time of a run")
    sync.add_argument("--max-calls", type=int, metavar="N", help="stop cleanly after N calls")
    sync.add_argument(
        "--progress", choices=("auto", "log", "off"), default="auto", help="a live line, log lines, or none"
    )
    sync.set_defaults(handler=_sync)

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
    sandbox.set_defaults(handler=_sandbox, json=False)
    return root


def _sync(args: argparse.Namespace) -> int:
    from sources.insightly.cursor import Wish

    from .plan import plan
    from .progress import watching
    from .run import sync

    overrides: dict[str, Any] = {"max_calls": args.max_calls}
    settings = _settings(**overrides)
    wish = Wish(full=args.full, since=_since(args.since))
    if args.plan:
        report = plan(settings, _target(args), args.entities, wish)
    else:
        with watching("off" if args.json and args.progress == "auto" else args.progress) as watch:
            report = sync(settings, _target(args), args.entities, wish, watch)
    return _tell(args, report)


def _check(args: argparse.Namespace) -> int:
    from .check import check

    return _tell(args, check(_settings()))


def _entities(args: argparse.Namespace) -> int:
    from .check import entities

    return _tell(args, entities())


def _sandbox(args: argparse.Namespace) -> int:
    from .sandbox import serve

    return serve(args)


def _settings(**overrides: Any) -> "InsightlySettings":
    from sources.insightly.settings import resolve_settings

    return resolve_settings(**overrides)


def _target(args: argparse.Namespace) -> "Target":
    from .target import Target

    return Target(args.destination, args.dataset, args.database)


def _since(text: str | None) -> str | None:
    if text is None:
        return None
    from sources.insightly.cursor import iso, parse
    from sources.insightly.errors import BadSetting

    try:
        return iso(parse(text))
    except ValueError:
        raise BadSetting(
            "--since", text, "must be an ISO date or date-time, as 2025-01-31 or 2025-01-31T00:00:00Z"
        ) from None


def _tell(args: argparse.Namespace, report: Any) -> int:
    if args.json:
        sys.stdout.write(json.dumps(report.to_dict(), default=str) + "\n")
    else:
        from .screen import show

        show(report)
    return int(report.exit_code)


def _refuse(args: argparse.Namespace, reason: str, code: int) -> int:
    if getattr(args, "json", False):
        _write_failure(args.handler.__name__.strip("_"), reason, code)
    sys.stderr.write(f"insightly: {reason}\n")
    return code


def _write_failure(command: str, reason: str, code: int) -> None:
    from .report import FAILED, Report

    sys.stdout.write(json.dumps(Report(command, FAILED, reason, exit_code=code).to_dict()) + "\n")


if __name__ == "__main__":
    sys.exit(main())
