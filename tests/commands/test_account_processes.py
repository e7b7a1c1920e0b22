"""Accounts in processes of their own: reports, deaths, signals."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from pipelines.commands.account_processes import run_at_once
from pipelines.commands.each_account import combine, run_for_each
from pipelines.engine import forkserver
from pipelines.engine.report import Report
from tests.support.crm import Crm
from tests.support.process import ROOT, reach

SCRIPT = """
import sys
from pipelines.commands.each_account import run_for_each
from pipelines.engine import forkserver, interrupts
from tests.commands.test_account_processes import wait_forever
forkserver.PRELOADED = []
forkserver.start()
with interrupts.handled(print):
    report = run_for_each("sync", sys.argv[2:], wait_forever, lambda *_: None, 2)
    print(report.exit_code, {name: each["reason"] for name, each in report.facts["instances"].items()})
"""


def work(name: str) -> Report:
    if name == "dies":
        os._exit(9)
    if name == "fails":
        raise OSError("no space left")
    return Report("sync", reason=f"{name} in {os.getpid()}", calls=2)


def meet(folder: Path, name: str) -> Report:
    """Ends when another process has come as well."""
    (folder / name).touch()
    ends = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2 and time.monotonic() < ends:
        time.sleep(0.01)
    return Report("sync", reason=f"met {len(list(folder.iterdir()))}")


def priority(_: str) -> Report:
    return Report("sync", calls=os.nice(0))


def wait_forever(name: str) -> Report:
    Path(os.environ["STARTED"], name).write_text(str(os.getpid()))
    time.sleep(600)
    return Report("sync")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forkserver, "PRELOADED", [])


def test_each_account_has_a_process_and_a_report(caplog: pytest.LogCaptureFixture) -> None:
    names, shown = ["a", "dies", "fails", "b"], list[str]()
    total = run_for_each("sync", names, work, lambda name, _: shown.append(name), 2)
    reports = total.facts["instances"]
    assert (total.exit_code, total.calls, list(reports), sorted(shown)) == (1, 4, names, sorted(names))
    assert [each["status"] for each in reports.values()] == ["done", "failed", "failed", "done"]
    assert reports["dies"]["reason"].startswith("its process ended with 9")
    assert reports["fails"]["reason"] == "no space left"
    assert len({reports[name]["reason"].split()[-1] for name in ("a", "b")} - {str(os.getpid())}) == 2
    assert "fails: no space left" in caplog.text


def test_accounts_run_at_the_same_time(tmp_path: Path) -> None:
    reports: dict[str, Report] = {}
    run_at_once("sync", ["a", "b"], 2, partial(meet, tmp_path), reports.__setitem__)
    assert combine("sync", reports).exit_code == 0
    assert {report.reason for report in reports.values()} == {"met 2"}


def test_first_account_has_the_processor_first() -> None:
    reports: dict[str, Report] = {}
    run_at_once("sync", ["a", "b", "c"], 3, priority, reports.__setitem__)
    before = os.nice(0)
    assert [reports[name].calls - before for name in "abc"] == [0, 1, 2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_signal_ends_running_accounts_and_starts_no_other(tmp_path: Path, number: signal.Signals) -> None:
    process, children = start(tmp_path)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    reason = "interrupted; run the same command again to continue"
    assert (out, err) == (f"{128 + number} { ({'a': reason, 'b': reason}) }\n", "")
    assert [alive(child) for child in children] == [False, False]


def test_killed_program_takes_its_accounts_along(tmp_path: Path) -> None:
    process, children = start(tmp_path)
    process.kill()
    process.communicate(timeout=60)
    ends = time.monotonic() + 30
    while any(map(alive, children)) and time.monotonic() < ends:
        time.sleep(0.05)
    assert [alive(child) for child in children] == [False, False]


def test_interrupted_forkserver_prints_nothing() -> None:
    code = """
import os, signal
from multiprocessing.forkserver import _forkserver
from pipelines.engine import forkserver
forkserver.start()
os.kill(_forkserver._forkserver_pid, signal.SIGINT)
process = forkserver.context().Process(target=print, args=("forked",))
process.start()
process.join()
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("forked\n", "")


def start(folder: Path) -> tuple["subprocess.Popen[str]", list[int]]:
    """A program with accounts a, b and c, two at a time, and the process numbers of a and b, which do not end."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), "a", "b", "c"],
        cwd=ROOT,
        env={**os.environ, "STARTED": str(folder)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    ends = time.monotonic() + 60
    while not all((folder / name).is_file() and (folder / name).read_text() for name in "ab"):
        assert time.monotonic() < ends, process.communicate(timeout=1)
        time.sleep(0.02)
    return process, [int((folder / name).read_text()) for name in "ab"]


def alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[:1]


IMPORTS = """
import importlib, sys
from pipelines.cli.__main__ import main
from pipelines.engine.forkserver import PRELOADED
for name in PRELOADED:
    importlib.import_module(name)
before = set(sys.modules)
code = main(["sync", "lead_sources", "--json"])
print(code, sorted(name for name in set(sys.modules) - before if name.startswith(("pipelines", "sources"))))
"""


def test_processes_of_accounts_need_not_import_this_program(crm: Crm) -> None:
    env = {**os.environ, **reach(crm.sandbox)}
    ran = subprocess.run([sys.executable, "-c", IMPORTS], cwd=crm.folder, env=env, capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == "0 []", ran.stderr


def test_missing_driver_does_not_end_the_imports_for_accounts() -> None:
    code = """
import gc, sys
sys.modules["psycopg2"] = None
import pipelines.cli.preloaded
print(gc.isenabled(), gc.get_freeze_count() > 0, "pyarrow.csv" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("True True True\n", "")
