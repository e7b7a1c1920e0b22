"""Ctrl-C and SIGTERM: one line, exit code 130 or 143, and numbers of what is committed."""

import subprocess
import sys
from signal import SIGINT, SIGTERM

import pytest

from tests.support.crm import Crm
from tests.support.kill import Call, run_interrupted
from tests.support.push import ids, jsonl, people, pushed, results

SEND, RECORD = "sources.insightly.api.client:Client.send", "pipelines.push.ledger:Ledger.record_result"
PAGING = {"SOURCES__INSIGHTLY__PAGE_SIZE": "7", "SOURCES__INSIGHTLY__CHUNK_CALLS": "6"}


@pytest.mark.parametrize(
    ("point", "written"),
    [
        (Call("sources.insightly.api.client:Client.get_list", "before", 4, SIGINT), "none"),
        (Call("dlt.load.load:Load.load_single_package", "before", 2, SIGTERM), "some"),
        (Call("dlt.normalize.normalize:Normalize.run", "after", 1, SIGINT), "some"),
        (Call("dlt.pipeline.pipeline:Pipeline.extract", "before", 1, SIGINT), "none"),
        (Call("dlt.pipeline.pipeline:Pipeline.sync_destination", "after", 1, SIGTERM), "none"),
        (Call("pipelines.destinations.dataset:Dataset.append", "before", 1, SIGTERM), "all"),
    ],
    ids=str,
)
@pytest.mark.sample(3)
def test_interrupted_sync_reports_what_is_committed(crm: Crm, point: Call, written: str) -> None:
    ran = run_interrupted(crm, ["sync", "contacts", "notes"], point, PAGING)
    report = ran.json
    assert (ran.code, report["status"]) == (128 + point.signal, "failed")
    assert [line for line in ran.err.splitlines() if line != f"insightly: {report['reason']}"] == []
    assert report["reason"].startswith("interrupted; ")
    merged = {name: entity["inserted_or_updated"] for name, entity in report["entities"].items()}
    assert merged == {name: crm.count(name) if crm.made() and crm.columns(name) else 0 for name in merged}
    total, rows = sum(len(crm.sandbox.store.tables[name].keys) for name in ("contacts", "notes")), sum(merged.values())
    assert written == ("none" if rows == 0 else "all" if rows == total else "some")
    crm.sync_done("contacts", "notes")
    crm.assert_equal("contacts", "notes")


@pytest.mark.parametrize("point", [Call(SEND, "after", 3, SIGINT), Call(RECORD, "before", 3, SIGTERM)], ids=str)
@pytest.mark.sample(1)
def test_interrupted_push_continues_with_the_next_run(synced_crm: Crm, point: Call) -> None:
    crm, before = synced_crm, len(ids(synced_crm, "contacts"))
    source = jsonl(crm, people("Ann", "Bob", "Bob", "Cy"))
    crm.clock.advance()
    ran = run_interrupted(crm, ["push", "contacts", source, "--op", "create", "--yes"], point, {})
    assert ran.code == 128 + point.signal
    assert ran.json["entities"]["contacts"]["push"]["results"]["created"] == 2
    assert "2 of 4 rows are pushed" in ran.json["reason"]
    assert results(pushed(crm, "contacts", source, "create")) == {"created": 4}
    assert len(ids(crm, "contacts")) == before + 4


@pytest.mark.parametrize(
    ("block", "code", "out"),
    [
        ("os.kill(os.getpid(), signal.SIGINT)", 1, ""),
        ("with interrupts.deferred(): interrupt(); interrupt(); time.sleep(60)", 130, ""),
        (
            "interrupts.GRACE_SECONDS = 0.1\n with interrupts.deferred(): interrupt(); time.sleep(60)",
            130,
            "interrupted",
        ),
        ("with interrupts.deferred(): interrupt()\n interrupts.check()", 1, ""),
        (
            "with interrupts.unwrapped():\n  try: interrupt()\n  except BaseException: raise OSError from None",
            1,
            "",
        ),
    ],
    ids=["first raises", "second ends", "time-out ends", "deferred", "replaced by a library"],
)
def test_signal_ends_the_process(block: str, code: int, out: str) -> None:
    ran = _python(f"with interrupts.handled(lambda error: print(error, flush=True)):\n {block}")
    assert (ran.returncode, ran.stdout.strip()) == (code, out)
    if code == 1:
        assert "Interrupted: interrupted" in ran.stderr


def test_signal_that_the_process_ignores_stays_ignored() -> None:
    ran = _python("signal.signal(signal.SIGINT, signal.SIG_IGN)\nwith interrupts.handled(print): interrupt()")
    assert (ran.returncode, ran.stderr) == (0, "")


def test_interruption_wrapped_by_a_library_is_raised_again() -> None:
    from pipelines.engine import interrupts

    def wrap() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interrupt:
            raise RuntimeError from interrupt

    with pytest.raises(KeyboardInterrupt), interrupts.unwrapped():
        wrap()


def test_error_that_is_its_own_cause_is_raised_again() -> None:
    from pipelines.engine import interrupts

    def fail() -> None:
        cause = ValueError("bad")
        try:
            raise OSError from cause
        except OSError:
            raise cause from None

    with pytest.raises(ValueError, match="bad"), interrupts.unwrapped():
        fail()


def _python(script: str) -> subprocess.CompletedProcess[str]:
    start = "import os, signal, time\nfrom pipelines.engine import interrupts\n"
    start += "interrupt = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
    return subprocess.run([sys.executable, "-c", start + script], capture_output=True, text=True, timeout=30)
