"""The DuckDB file: it is created completely or not at all, and nobody else's file is replaced."""

from pathlib import Path

import duckdb
import pytest

from pipelines.destinations.base import Unwritable
from pipelines.destinations.target import Target
from sources.insightly.errors import BadSetting
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
        Target(database=str(path)).pipeline()
    assert list(path.parent.iterdir()) == []


def test_missing_folder_is_named(path: Path) -> None:
    with pytest.raises(BadSetting, match=r"nowhere/crm\.duckdb': the file cannot be created: No such file"):
        Target(database=str(path.parent / "nowhere/crm.duckdb")).pipeline()
