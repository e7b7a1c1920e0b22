"""What a command was given: settings, where to write, moments, and how to show progress."""

import argparse
import re
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.destinations.target import Target
    from sources.insightly.config.settings import InsightlySettings

SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def settings(args: argparse.Namespace, **overrides: Any) -> "InsightlySettings":
    """The settings of the account that the command is for."""
    from sources.insightly.config.settings import resolve_settings

    return resolve_settings(getattr(args, "instance", None), **overrides)


def target(args: argparse.Namespace) -> "Target":
    """Where that account's tables are."""
    from pipelines.destinations.target import Target

    return Target(args.destination, args.dataset, args.database).for_account(getattr(args, "instance", None))


def moment(option: str, text: str | None) -> str | None:
    """A moment as state has it. Raises BadSetting where the text is none."""
    if text is None:
        return None
    from sources.insightly.errors import BadSetting
    from sources.insightly.state.times import iso, parse

    try:
        return iso(parse(text))
    except ValueError:
        raise BadSetting(
            option, text, "must be an ISO date or date-time, as 2025-01-31 or 2025-01-31T00:00:00Z"
        ) from None


def duration(option: str, text: str) -> timedelta:
    """The duration that `90m`, `2h`, `1d` or `1h30m` means. Raises BadSetting if the text is not a duration."""
    if not re.fullmatch(r"(\d+(\.\d+)?[dhms])+", text):
        from sources.insightly.errors import BadSetting

        raise BadSetting(option, text, "must be a duration, as 90m, 2h, 1d or 1h30m")
    parts = re.findall(r"([\d.]+)([dhms])", text)
    return timedelta(seconds=sum(float(number) * SECONDS[unit] for number, unit in parts))


def watching(args: argparse.Namespace) -> "AbstractContextManager[Any]":
    """What shows progress while the command is at work."""
    from pipelines.engine.progress import show_progress

    return show_progress("off" if args.json and args.progress == "auto" else args.progress)
