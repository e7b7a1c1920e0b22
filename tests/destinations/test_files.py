"""Who can read the files of a run, and what happens where they cannot be written."""

import os
import stat
from errno import EROFS
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dlt
import pytest
from dlt.destinations.exceptions import DatabaseException

from pipelines.cli.__main__ import main
from pipelines.cli.metrics import write
from pipelines.commands.status import status
from pipelines.destinations.base import Unwritable
from pipelines.destinations.target import Unreachable
from pipelines.engine.report import Report
from sources.insightly.errors import BadSetting
from tests.support.crm import Crm
from tests.support.process import command


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def _umask() -> Any:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_files_with_personal_data_are_private(crm: Crm) -> None:
    crm.sync_done("notes")
    folder = crm.folder / "dlt/pipelines"
    assert {mode(crm.database), *(mode(path) for path in folder.rglob("*") if path.is_file())} == {0o600}
    assert {mode(path) for path in folder.iterdir() if path.is_dir()} == {0o700}
    assert main(["dashboard", "--export", str(crm.folder / "crm.html"), *crm.arguments()]) == 0
    assert mode(crm.folder / "crm.html") == 0o600


def test_permissions_set_by_the_user_are_kept(crm: Crm) -> None:
    crm.sync_done("notes")
    crm.database.chmod(0o640)
    crm.sync_done("notes")
    assert mode(crm.database) == 0o640


def test_metrics_are_readable_and_follow_no_link(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "run.prom"
    victim.write_text("kept")
    path.with_name(f".run.prom.{os.getpid()}").symlink_to(victim)
    write(Report("sync"), path)
    assert (victim.read_text(), mode(path)) == ("kept", 0o644)


@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "warned"), [(0o755, 0o644, 1), (0o755, 0o600, 0), (0o700, 0o644, 0)]
)
def test_readable_file_of_secrets_is_warned_about(folder_mode: int, file_mode: int, warned: int) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(folder_mode)
        file = folder / ".dlt/secrets.toml"
        file.parent.mkdir()
        file.write_text('[sources.insightly]\napi_key = "a"\n')
        file.chmod(file_mode)
        ran = command("status", cwd=folder)
        assert ran.err.count("can read .dlt/secrets.toml: run chmod 600 on it") == warned


def test_command_that_reads_needs_no_lock_file(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(EROFS, "Read-only file system")

    crm.sync_done("notes")
    before = sorted(crm.folder.rglob("*"))
    assert status(crm.settings(), crm.target, ["notes"]).entities["notes"].state == "ok"
    assert sorted(crm.folder.rglob("*")) == before
    monkeypatch.setattr("pipelines.destinations.locks.FileLock.acquire", fail)
    assert status(crm.settings(), crm.target, ["notes"]).entities["notes"].state == "ok"
    with pytest.raises(BadSetting, match=r"DLT_DATA_DIR is .* cannot be written \(Read-only file system\)"):
        crm.sync("notes")


def test_command_that_reads_cannot_write(crm: Crm) -> None:
    crm.sync_done("notes")
    with (
        pytest.raises((Unreachable, DatabaseException), match="read-only"),
        crm.target.reading() as pipeline,
        pipeline.sql_client() as client,
    ):
        client.execute_sql("create table insightly.t (i int)")


def test_full_working_folder_is_not_called_damaged(
    crm: Crm, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dlt.Pipeline, "__init__", fail)
    with pytest.raises(Unwritable, match=r"working folder .* cannot be written: .*No space left"):
        crm.sync("notes")
    assert "damaged" not in caplog.text
