"""What a run shows while it works: facts, one line that fits, and log lines above it."""

import io
import logging
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipelines.cli.logs import StderrHandler
from pipelines.engine.progress import line, show_progress
from sources.insightly.config.settings import InsightlySettings
from sources.insightly.context import SyncContext

FACTS: dict[str, Any] = {
    "instance": None,
    "entity": "opportunity_line_items",
    "entities_done": 30,
    "entities_total": 49,
    "rows": 123456,
    "rows_per_second": 1431,
    "calls": 1257,
    "calls_left_today": 98743,
    "seconds_to_go": 745,
}


class TerminalOfTest(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def attach(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], TerminalOfTest]]:
    """A function that makes stderr a terminal; pytest sets its own before each test."""
    for name, value in {"TERM": "xterm", "COLUMNS": "80", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    logger, handler = logging.getLogger("insightly"), StderrHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger.addHandler(handler)
    level = logger.level
    yield lambda: _attached(monkeypatch)
    logger.removeHandler(handler)
    logger.setLevel(level)


def _attached(monkeypatch: pytest.MonkeyPatch) -> TerminalOfTest:
    monkeypatch.setattr(sys, "stderr", stream := TerminalOfTest())
    return stream


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (
            None,
            "opportunity_line_items (31 of 49): 123,456 rows, 1,431/s, 1,257 calls, 98,743 left today, "
            "about 12 min to go",
        ),
        (118, "opportunity_line_items (31 of 49): 123,456 rows, 1,431/s, 1,257 calls, 98,743 left today, about 12 min"),
        (78, "opportunity_line_items (31 of 49): 123,456 rows, 1,431/s, about 12 min to go"),
        (70, "opportunity_line_items (31 of 49): 123,456 rows, about 12 min to go"),
        (20, "opportunity_line_ite"),
    ],
)
def test_line_fits_the_terminal(width: int | None, shown: str) -> None:
    text = line(FACTS, width)
    assert text.startswith(shown)
    assert width is None or len(text) <= width


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        (
            {"rows": 1, "calls": 1, "rows_per_second": None, "calls_left_today": None, "seconds_to_go": None},
            "opportunity_line_items (31 of 49): 1 row, 1 call",
        ),
        ({"entity": None, "instance": "uk", "entities_total": 1}, "uk, reading: 123,456 rows, 1,431/s, 1,257 calls"),
        ({"entities_done": 49}, "opportunity_line_items (49 of 49)"),
    ],
)
def test_line_leaves_out_what_is_not_known(changes: dict[str, Any], shown: str) -> None:
    assert line(FACTS | changes).startswith(shown)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "about 5 s"), (7, "about 5 s"), (119, "about 120 s"), (150, "about 2 min"), (8000, "about 2 h 13 min")],
)
def test_time_to_go_is_rounded(seconds: int, words: str) -> None:
    assert line(FACTS | {"seconds_to_go": seconds}).endswith(f", {words} to go")


def test_log_line_is_printed_above_the_live_line(attach: Callable[[], TerminalOfTest]) -> None:
    terminal = attach()
    with show_progress("auto") as progress:
        assert progress.watch is not None
        progress.watch(SyncContext(InsightlySettings()))
        logging.getLogger("insightly.test").warning("waiting for the %s", "other run")
        progress.watch(SyncContext(InsightlySettings()))
    lines = re.split(r"\x1b\[\?25[lh]|\r\x1b\[2K|\n", terminal.getvalue())
    assert lines.count("WARNING waiting for the other run") == 1
    logging.getLogger("insightly.test").warning("afterwards")
    assert terminal.getvalue().endswith("WARNING afterwards\n")


def test_terminal_without_control_sequences_gets_log_lines(
    attach: Callable[[], TerminalOfTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = attach()
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("pipelines.engine.progress.LOG_EVERY_SECONDS", 0.0)
    with show_progress("auto") as progress:
        assert progress.watch is not None
        progress.watch(SyncContext(InsightlySettings()))
    assert terminal.getvalue() == "INFO reading: 0 rows, 0 calls\n"
