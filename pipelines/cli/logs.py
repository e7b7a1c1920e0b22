"""Log lines on stderr: text for people, or one JSON object a line for programs."""

import logging
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from pipelines.engine.report import Report

logger = logging.getLogger("insightly")


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes lines without secrets and control characters, tracebacks included, to what is sys.stderr at that time.

    While a live line shows, that is rich's, which prints above the line.
    """

    def format(self, record: logging.LogRecord) -> str:
        from sources.insightly.errors import clean

        return clean(super().format(record))

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def configure(log_format: str, account: str | None = None) -> None:
    """Sends the log lines of the process to stderr.

    Args:
        log_format: `text`, or `json`, which also logs progress and reports.
        account: the account that all lines are about.
    """
    handler = StderrHandler()
    text = f"%(levelname)s {account}: %(message)s" if account else "%(levelname)s %(message)s"
    handler.setFormatter(_json_formatter(account) if log_format == "json" else logging.Formatter(text))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    if log_format == "json":
        logger.setLevel(logging.INFO)


def write_failure(reason: str | None) -> None:
    """Writes the one line of a command that an exception ended; on a terminal, it ends between words."""
    from sources.insightly.errors import clean

    line = clean(f"insightly: {reason}")
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns
        line = "\n".join(textwrap.fill(part, width, break_on_hyphens=False) for part in line.splitlines())
    sys.stderr.write(f"{line}\n")


def log_report(report: "Report") -> None:
    """Logs one line an entity and one for the run, with the fields of `--json`."""
    run = report.to_dict()
    for name, fields in run.pop("entities").items():
        logger.info("%s %s", name, fields["state"], extra={"event": "entity", "entity": name, **fields})
    logger.log(
        logging.INFO if report.exit_code in (0, 3) else logging.ERROR,
        "%s %s",
        report.command,
        report.status,
        extra={"event": "run", "exit_code": report.exit_code, **run},
    )


def _json_formatter(account: str | None) -> logging.Formatter:
    from pythonjsonlogger.json import JsonFormatter

    names = {"levelname": "level", "name": "logger"}
    fields = {"instance": account} if account else {}
    fmt = "%(levelname)s %(name)s %(message)s"
    return JsonFormatter(fmt, rename_fields=names, static_fields=fields, timestamp="time", json_default=str)
