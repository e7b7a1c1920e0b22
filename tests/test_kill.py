"""kill -9 while it reads: the next run completes the tables, with the working folder kept or lost."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Crm, command, reach

from sources.insightly.sandbox import Fault, Store


@pytest.mark.parametrize("kept", [True, False], ids=["folder kept", "folder lost"])
@pytest.mark.parametrize("call", [2, 6, 11])
def test_a_killed_run_is_completed_by_the_next(crm: Crm, tmp_path: Path, call: int, kept: bool) -> None:
    running: list[subprocess.Popen[bytes]] = []

    def kill(store: Store) -> None:
        running[0].send_signal(signal.SIGKILL)

    crm.sandbox.faults.add(Fault("call", match="*", nth=call, action=kill))
    settings = {
        **reach(crm.sandbox),
        "SOURCES__INSIGHTLY__PAGE_SIZE": "7",
        "SOURCES__INSIGHTLY__CHUNK_CALLS": "2",
        "SOURCES__INSIGHTLY__MAX_CONNECTIONS": "1",
    }
    sync = ("sync", "contacts", "notes", "--database", "a.duckdb")
    environment = {**os.environ, **settings, "DLT_DATA_DIR": str(tmp_path / "dlt"), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-m", "pipelines.cli", *sync], cwd=tmp_path, env=environment) as process:
        running.append(process)
        assert process.wait(timeout=120) == -signal.SIGKILL
    if not kept:
        shutil.rmtree(tmp_path / "dlt")
    ran = command(*sync, cwd=tmp_path, **settings)
    assert ran.code == 0, ran.err
    crm.assert_equal("contacts", "notes", database=tmp_path / "a.duckdb")
