"""Log lines on stderr: text for people, or one JSON object a line for programs."""

import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.engine.report import Report

logger = logging.getLogger("insightly")


def configure(form: str) -> None:
    """Sends log lines of the whole process to stderr.

    Args:
        form: `text`, or `json`: then progress and what a run did are told as well.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_json() if form == "json" else logging.Formatter("%(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    if form == "json":
        logger.setLevel(logging.INFO)


def tell(report: "Report") -> None:
    """A line an entity and one for the run, with the fields of `--json`."""
    run = report.to_dict()
    for name, facts in run.pop("entities").items():
        logger.info("%s %s", name, facts["state"], extra={"event": "entity", "entity": name, **facts})
    logger.log(
        logging.INFO if report.exit_code in (0, 3) else logging.ERROR,
        "%s %s",
        report.command,
        report.status,
        extra={"event": "run", "exit_code": report.exit_code, **run},
    )


def _json() -> logging.Formatter:
    from pythonjsonlogger.json import JsonFormatter

    names = {"levelname": "level", "name": "logger"}
    return JsonFormatter("%(levelname)s %(name)s %(message)s", rename_fields=names, timestamp="time", json_default=str)
