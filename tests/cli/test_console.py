"""Reports on a terminal: one cause is said once, however many entities it concerns."""

import io
import re
import sys
from errno import ENOSPC

import pytest
from dlt.load.load import Load

from pipelines.cli.console import console_for, show, show_plan
from pipelines.engine.report import EntityReport, Report, listed
from pipelines.push.plan import Plan
from tests.support.crm import Crm
from tests.support.expected import CORE


@pytest.fixture(autouse=True)
def width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def shown(report: Report, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    show(report)
    return capsys.readouterr().out.splitlines()


def test_wrong_key_is_one_line(crm: Crm, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = shown(crm.sync(api_key="wrong"), capsys)
    assert re.match(rf"failed: all {len(CORE)}: GET /\w+: 401 Unauthorized", line)
    assert "check sources.insightly.api_key" in line


def test_full_disk_is_one_line(crm: Crm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object) -> None:
        raise OSError(ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Load, "load_single_package", fail)
        lines = shown(crm.sync(), capsys)
    assert "\n".join(lines).count("No space left") == 1
    assert lines[-1].startswith("failed: ")


def test_end_of_a_budget_is_said_once(crm: Crm, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(crm.sync(max_calls=4), capsys)
    assert "\n".join(lines).count("max_calls is 4") == 1
    assert len([line for line in lines if " partial " in line]) <= 1
    assert lines[-1].startswith("stopped: ")
    assert " more: sources.insightly.max_calls is 4" in lines[-1]


def test_reasons_of_several_entities_are_above_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("sync", entities={name: EntityReport("failed", f"{name} is broken", calls=1) for name in CORE[:2]})
    report.conclude(None, [], set())
    lines = shown(report, capsys)
    assert [" ".join(line.split()) for line in lines[-3:]] == [
        f"{CORE[0]} failed: {CORE[0]} is broken",
        f"{CORE[1]} failed: {CORE[1]} is broken",
        "failed: 2 reasons, see above — 0 calls, 0.0 s",
    ]
    assert report.reason == f"{CORE[0]}: {CORE[0]} is broken; {CORE[1]}: {CORE[1]} is broken"


def test_words_of_the_service_become_no_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("sync", entities={CORE[0]: EntityReport("failed", "[b]root:x:0[/b] is broken", calls=1)})
    report.conclude(None, [], set())
    lines = shown(report, capsys)
    assert "[b]root:x:0[/b] is broken" in lines[-1]
    assert all("root:x:0" in line for line in lines if "root" in line)


def test_many_names_are_counted() -> None:
    names = [f"entity_{number}" for number in range(49)]
    assert listed(names, 49) == "all 49"
    assert listed(names[:8], 49) == f"{', '.join(names[:6])} and 2 more"
    assert listed(names[:2], 2) == "entity_0, entity_1"


class TerminalOfTest(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_long_line_ends_between_words_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report("sync", "failed", "the key is wrong, and so it goes on for many words " * 4, calls=1)
    (whole,) = shown(report, capsys)
    assert whole.endswith(" — 1 call, 0.0 s")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout", terminal := TerminalOfTest())
    show(report)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 80
    assert " ".join(" ".join(lines).split()) == " ".join(whole.split())


def test_views_are_named_without_breaks_on_a_narrow_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    view = "insightly_marts.current_organisations_of_the_year"
    mart = {"state": "created", "rows": 3, "view": view, "reason": None, "without": []}
    report = Report("marts", facts={"marts": {view.partition(".")[2]: mart}})
    lines = shown(report, capsys)
    assert lines[1].split() == [view.partition(".")[2], "created", "3"]
    assert lines[2] == "views are in insightly_marts, named like their marts"


def test_question_mark_of_a_preview_is_explained_once(capsys: pytest.CaptureFixture[str]) -> None:
    change = {"action": "update", "place": "row 2", "record_id": 7, "name": "Ada", "note": ""}
    fields = [{"field": "EMAIL", "new": "a@example.com"}, {"field": "PHONE", "new": "1"}]
    plan = Plan("p", "update", 2, 0, 0, changes=[{**change, "fields": fields}, {**change, "fields": fields}])
    capsys.readouterr()
    show_plan(console_for(sys.stdout), "contacts", plan)
    out = capsys.readouterr().out
    assert out.count("? -> ") == 4
    assert out.count("(? is an old value that the tables do not have)") == 1
