"""How arguments are parsed: errors of one line that say what comes close, help, and the values of options."""

import argparse
import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from . import logs

if TYPE_CHECKING:
    from pipelines.engine.report import Report

UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, with what comes close, and also JSON if `--json` is given."""

    arguments: Sequence[str] = ()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs, allow_abbrev=False)

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        self.arguments = args[0] if args and args[0] is not None else sys.argv[1:]
        namespace, unknown = super().parse_known_args(*args, **kwargs)
        if unknown:
            word = unknown[0].partition("=")[0]
            kind = "option" if word.startswith("-") else "argument"
            similar = _closest(word, self._option_string_actions) if kind == "option" else None
            self.error(f"unknown {kind} {word}" + (f"; did you mean {similar}?" if similar else ""))
        return namespace, unknown

    def error(self, message: str) -> NoReturn:
        if "--json" in self.arguments:
            from pipelines.engine.report import failure_report

            command = self.prog.partition(" ")[2] or self.arguments[0]
            is_written(print_json, failure_report(command, message, 2))
        end = "" if message.endswith("?") else "."
        self.exit(2, f"{self.prog}: {message}{end} See {self.prog} --help\n")

    def print_help(self, file: Any = None) -> None:
        if not is_written((file or sys.stdout).write, self.format_help()):
            self.exit(1)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = tuple(map(str, action.choices))
        similar = _closest(str(value), choices)
        hint = f"did you mean {similar}?" if similar else f"choose from {', '.join(choices)}"
        self.error(f"{next(iter(action.option_strings), action.metavar)} is {value!r}: {hint}")


class PrintVersion(argparse.Action):
    """Prints the versions of this program and of what it runs on."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        versions = f"dlt {version('dlt')}, DuckDB {version('duckdb')}, Python {sys.version.split()[0]}"
        text = f"insightly-sync {version('insightly-sync')} ({versions})\n"
        parser.exit(int(not is_written(sys.stdout.write, text)))


class PrintCompletion(argparse.Action):
    """Prints a script with which a shell completes commands, options, entities and files."""

    def __call__(self, parser: argparse.ArgumentParser, _: argparse.Namespace, shell: Any, *__: Any) -> None:
        from .completion import script

        parser.exit(int(not is_written(sys.stdout.write, script(parser, str(shell)))))


class HelpFormatter(argparse.HelpFormatter):
    """Wraps a description, and keeps the line breaks of examples and exit codes."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


def is_written(write: Callable[..., object], *values: object) -> bool:
    """Has something written to stdout. What was done stays done if that fails, for instance on a full disk."""
    try:
        write(*values)
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # the reader, such as `head`, has read enough
            logs.write_failure(f"the output cannot be written to stdout: {error}")
        sys.stdout = io.StringIO()  # else Python tries again at its end, and ends with 120
        return False
    return True


def print_json(report: "Report") -> None:
    """Prints a report as the one object of `--json`."""
    from sources.insightly.errors import hide_secrets

    sys.stdout.write(hide_secrets(json.dumps(report.to_dict(), default=_to_json)) + "\n")


def _to_json(value: Any) -> str:
    """Dates and times in ISO 8601, anything else as text."""
    return value.isoformat() if isinstance(value, date) else str(value)


def _closest(word: str, known: Iterable[str]) -> str | None:
    from sources.insightly.errors import closest

    return closest(word, known)


def duration(text: str) -> timedelta:
    """Parses `90m`, `2h`, `1d` or `1h30m`.

    Raises:
        argparse.ArgumentTypeError: the text is not a duration.
    """
    if not re.fullmatch(r"([0-9]+(\.[0-9]+)?[dhms])+", text):
        raise argparse.ArgumentTypeError(f"must be a duration such as 90m, 2h, 1d or 1h30m, not {text!r}")
    parts = re.findall(r"([\d.]+)([dhms])", text)
    return timedelta(seconds=sum(float(number) * UNITS[unit] for number, unit in parts))


def port(text: str) -> int:
    """Parses the number of a port.

    Raises:
        argparse.ArgumentTypeError: there is no port of that number.
    """
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 65535, not {text!r}")
    return int(text)


def whole_number(text: str) -> int:
    """Parses a whole number as one writes it; `int` takes `1_0` and the digits of other scripts as well.

    Raises:
        argparse.ArgumentTypeError: the text is none.
    """
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}")
    return int(text)
