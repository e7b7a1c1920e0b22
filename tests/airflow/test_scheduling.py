"""The schedules in the documentation: command lines that the program accepts, and well-formed units."""

import configparser
import re
import shlex

import pytest

from pipelines.cli.parser import parser
from tests.support.process import ROOT

TEXT = (ROOT / "docs/operate/scheduling.md").read_text(encoding="utf-8")
UNITS = dict(re.findall(r"```ini\n# /etc/systemd/system/(\S+)\n(.*?)```", TEXT, re.S))
CRON = [line for block in re.findall(r"```cron\n(.*?)```", TEXT, re.S) for line in block.splitlines()]
FIELD = r"(?:\*|\d+)"


def commands(shell: str) -> list[list[str]]:
    """The arguments of each call of `insightly` in a shell command."""
    words = list(shlex.shlex(shell, posix=True, punctuation_chars=True))
    parts = [[]]
    for word in words:
        parts += [[]] if set(word) <= set("&|;<>") else []
        parts[-1].append(word)
    return [part[part.index(word) + 1 :] for part in parts for word in part if word.endswith("bin/insightly")]


def unit(name: str) -> configparser.ConfigParser:
    read = configparser.ConfigParser(interpolation=None, strict=True)
    read.optionxform = str  # type: ignore[assignment, method-assign]
    read.read_string(UNITS[name])
    return read


@pytest.mark.parametrize("line", CRON)
def test_cron_lines_run_existing_commands(line: str) -> None:
    when = re.match(rf"(?:{FIELD} +){{5}}", line)
    assert when
    assert "%" not in line  # cron reads it as a new line
    ((name, *rest),) = commands(line[when.end() :])
    assert parser().parse_args([name, *rest]).command == name


def test_cron_lines_cover_every_command() -> None:
    names = [commands(line)[0][0] for line in CRON]
    assert names == ["sync", "sweep", "verify", "status"]


def test_service_runs_each_command_and_accepts_a_stop() -> None:
    service = unit("insightly@.service")["Service"]
    assert (service["Type"], service["SuccessExitStatus"]) == ("oneshot", "3")
    for name in ("sync", "sweep", "verify"):
        ((command, *rest),) = commands(service["ExecStart"].replace("%i", name))
        assert parser().parse_args([command, *rest]).command == name


def test_timer_catches_up_missed_runs() -> None:
    read = unit("insightly@sync.timer")
    assert read["Timer"]["Persistent"] == "true"
    assert read["Install"]["WantedBy"] == "timers.target"
    timestamps = [read["Timer"]["OnCalendar"], *re.findall(r"`OnCalendar=([^`]+)`", TEXT)]
    assert len(timestamps) == 3
    for timestamp in timestamps:
        assert re.fullmatch(r"((Mon|Tue|Wed|Thu|Fri|Sat|Sun) )?\*-\*-\* (\*|\d\d):\d\d:\d\d", timestamp)
