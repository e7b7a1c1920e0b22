"""Values of options: text -> what a command takes."""

import argparse
import re
from datetime import timedelta

UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


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
