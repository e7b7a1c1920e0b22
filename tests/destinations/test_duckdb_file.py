"""The DuckDB file: it is created completely or not at all, and nobody else's file is replaced."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from random import Random

import duckdb
import pytest

from pipelines.commands.plan import plan_sweep
from pipelines.commands.status import status
from pipelines.commands.verify import verify
from pipelines.dashboard.build import build_page
from pipelines.destinations import duckdb as duckdb_adapter
from pipelines.destinations.base import Unwritable
from pipelines.destinations.duckdb import DuckDbAdapter
from pipelines.destinations.locks import Busy, describe_process
from pipelines.destinations.target import Target, Unreachable
from sources.insightly.errors import BadSetting
from tests.support.commands import verified
from tests.support.crm import Crm


def headers(size: int) -> bytes:
    path = Path("new.duckdb")
    duckdb.connect(path).close()
    return path.read_bytes()[:size]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "crm.duckdb"


@pytest.mark.parametrize("size", [0, 4096, 8192, -12288])
def test_half_created_file_is_created_again(path: Path, size: int, caplog: pytest.LogCaptureFixture) -> None:
    path.write_bytes(headers(size) if size >= 0 else bytes(-size))
    target = Target(database=str(path))
    assert not target.exists()
    target.adapter.create()
    assert "was never completely created" in caplog.text
    assert target.exists()
    with duckdb.connect(path) as connection:
        connection.execute("create table t (i int)")
    target.adapter.create()
    with duckdb.connect(path, read_only=True) as connection:
        assert connection.sql("select * from t").fetchall() == []


def test_half_created_file_is_filled_by_a_sync(crm: Crm) -> None:
    crm.database.touch()
    crm.sync_done("notes")
    crm.assert_equal("notes")


def test_chunk_of_long_texts_fits_into_the_memory_of_duckdb(crm: Crm) -> None:
    random = Random(1)
    for number in range(24):
        crm.sandbox.store.create("notes", {"TITLE": f"note {number}", "BODY": random.randbytes(1_250_000).hex()})
    crm.sync_done("notes")
    crm.assert_equal("notes")


@pytest.mark.sample(1)
@pytest.mark.parametrize("history", [(), ("contacts",)])
def test_verify_and_history_have_more_memory_than_a_load(
    crm: Crm, monkeypatch: pytest.MonkeyPatch, history: tuple[str, ...]
) -> None:
    monkeypatch.setattr(duckdb_adapter, "MEMORY", 10)
    random = Random(1)
    for number in range(60):
        crm.sandbox.store.create("contacts", {"FIRST_NAME": f"{number}", "BACKGROUND": random.randbytes(300_000).hex()})
    crm.sync_done("contacts", history=history)
    verified(crm, "contacts", history=history)
    crm.assert_equal("contacts")


def test_empty_database_with_a_log_is_kept(path: Path) -> None:
    path.write_bytes(headers(4096))
    path.with_name("crm.duckdb.wal").write_bytes(b"changes")
    Target(database=str(path)).adapter.create()
    assert path.stat().st_size == 4096


def test_file_that_is_no_database_is_kept(path: Path) -> None:
    path.write_text("notes of somebody")
    with pytest.raises(BadSetting, match="not a DuckDB database"):
        Target(database=str(path)).pipeline()
    assert path.read_text() == "notes of somebody"


def test_full_disk_leaves_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(new: Path) -> None:
        new.write_bytes(bytes(4096))
        raise duckdb.IOException("No space left on device")

    monkeypatch.setattr("pipelines.destinations.duckdb.duckdb.connect", fail)
    with pytest.raises(Unwritable, match=r"crm\.duckdb cannot be created: No space left"):
        Target(database=str(path)).adapter.create()
    assert list(path.parent.iterdir()) == []


def test_missing_folder_is_named(path: Path) -> None:
    with pytest.raises(BadSetting, match=r"nowhere/crm\.duckdb': the file cannot be created: No such file"):
        Target(database=str(path.parent / "nowhere/crm.duckdb")).adapter.create()


@contextmanager
def opened_by_another_process(path: Path, read_only: bool) -> Iterator[int]:
    """Another process has the file open; yields its number."""
    code = f"import duckdb; kept = duckdb.connect({str(path)!r}, read_only={read_only}); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.stdin.close()


@pytest.mark.parametrize("read_only", [True, False])
def test_run_waits_for_a_program_that_has_the_file_open(path: Path, read_only: bool) -> None:
    duckdb.connect(path).close()
    target = Target(database=str(path))
    with opened_by_another_process(path, read_only) as pid:
        with pytest.raises(Busy, match=rf"another program \(python.*, pid {pid}\) is still using .*crm\.duckdb"):
            target.lock(wait=0.01).__enter__()
        if not read_only:
            with pytest.raises(Busy, match=rf"pid {pid}"):
                target.reading(wait=0.01).__enter__()
    with target.lock(wait=0.01):
        pass


def test_commands_that_read_work_beside_a_reader(crm: Crm) -> None:
    crm.first_sync("notes")
    settings, target = crm.settings(), crm.target
    with opened_by_another_process(crm.database, read_only=True):
        assert status(settings, target).entities["notes"].state == "ok"
        assert build_page(target, timedelta(hours=1), wait=0.01).health is not None
        assert plan_sweep(settings, target, ["notes"], tags=False).exit_code == 0


def test_run_keeps_the_file_open(path: Path) -> None:
    duckdb.connect(path).close()
    code = f"import duckdb; duckdb.connect({str(path)!r}, read_only=True)"
    with Target(database=str(path)).lock():
        tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"(PID {os.getpid()})" in tried.stderr


def test_holder_that_the_system_does_not_name_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    duckdb.connect(path).close()

    def refuse(*_: object, **__: object) -> None:
        raise duckdb.IOException('IO Error: Could not set lock on file "crm.duckdb": Resource temporarily unavailable')

    monkeypatch.setattr("pipelines.destinations.duckdb.duckdb.connect", refuse)
    with pytest.raises(Busy, match=r"another program \(the system does not say which\) is still using"):
        Target(database=str(path)).lock(wait=0.01).__enter__()


def test_process_is_described_without_its_arguments() -> None:
    code = "import time; print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, "--key", "secret"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert describe_process(process.pid) == Path(sys.executable).name
        process.kill()
    assert describe_process(process.pid) is None


def test_verify_of_a_read_only_file_changes_nothing(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    crm.first_sync("notes")
    before = crm.database.read_bytes()
    monkeypatch.setattr(DuckDbAdapter, "is_writable", lambda _: False)
    report = verify(crm.settings(), crm.target, ["notes"], full=True)
    assert (report.exit_code, report.entities["notes"].facts["proved"]) == (0, True)
    assert crm.database.read_bytes() == before


def test_error_of_the_file_has_the_message_of_duckdb(path: Path) -> None:
    duckdb.connect(path).close()
    with path.open("r+b") as file:
        file.seek(12)
        file.write(b"\xff\xff")  # the version of the storage
    with pytest.raises(Unreachable, match="cannot be read: Corrupt database file") as refused:
        Target(database=str(path)).pipeline()
    assert "credentials" not in str(refused.value)
