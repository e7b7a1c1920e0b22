"""Calls that are made again: no warning, and one line in the report."""

import json
import logging

import pytest

from pipelines.cli.console import show
from pipelines.cli.metrics import exposition
from pipelines.commands.each_account import combine
from pipelines.engine.report import Report
from pipelines.sandbox.faults import Fault
from sources.insightly.api.client import Client
from sources.insightly.api.rate_limit import RateLimiter
from tests.support.crm import Crm


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Client.__init__.__kwdefaults__, "sleep", lambda _: None)
    monkeypatch.setattr(RateLimiter, "hold", lambda *_: None)


def test_retries_are_counted_once_in_the_report(
    crm: Crm, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    crm.sandbox.faults.add(Fault("burst", match="Notes*", times=4), Fault("503", match="Notes*", nth=5))
    with caplog.at_level(logging.WARNING):
        report = crm.sync_done("notes", requests_per_second=100)
    assert not caplog.records
    assert (report.retries, report.slowed_to) == ({"burst": 4, "server_error": 1}, 64.0)
    monkeypatch.setenv("COLUMNS", "200")
    show(report)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "retries" in line]
    assert line == (
        "4 retries after too many requests a second, 1 retry after a failed or missing response, slowed down to "
        "64 requests a second"
    )
    assert json.loads(json.dumps(report.to_dict()))["retries"] == {"burst": 4, "server_error": 1}
    assert 'insightly_run_retries{command="sync"} 5.0' in exposition(report, 0.0).decode()


def test_report_without_retries_says_nothing_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    show(report := Report("sync", calls=1))
    assert "retr" not in capsys.readouterr().out
    assert not {"retries", "slowed_to"} & report.to_dict().keys()


def test_retries_of_several_accounts_add_up() -> None:
    slow = Report("sync", retries={"burst": 3}, slowed_to=4.1)
    total = combine("sync", {"a": slow, "b": Report("sync", retries={"burst": 1, "malformed": 2}), "c": Report("sync")})
    assert (total.retries, total.slowed_to) == ({"burst": 4, "malformed": 2}, 4.1)
