"""The working folder is a cache: a run replaces a damaged one, and reads again what only that folder had."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.commands.status import status
from pipelines.destinations.target import Target
from tests.support.crm import Crm, isolated_crm
from tests.support.sync_kill import PAGING, Point, sync_and_die

NAMES = ("contacts", "notes")


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crm]:
    """An account whose sync was killed with a package ready to load."""
    with isolated_crm(tmp_path_factory.mktemp("killed")) as crm:
        sync_and_die(crm, Point(2, "load"), NAMES)
        shutil.copytree(crm.folder, crm.folder.with_name("kept"))
        yield crm


def overwrite(pattern: str, content: bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        paths = list(folder.glob(f"insightly/{pattern}"))
        assert paths
        for path in paths:
            path.write_bytes(content)

    return damage


def truncate_package(folder: Path) -> None:
    for path in folder.glob("insightly/load/normalized/*/new_jobs/*.parquet"):
        os.truncate(path, path.stat().st_size // 2)


def replace_by_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("something else")


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "damage",
    [
        overwrite("state.json", b""),
        overwrite("schemas/*.json", b"\x00\xff"),
        overwrite("load/normalized/*/load_package_state.json", b"[]"),
        truncate_package,
        replace_by_file,
    ],
    ids=["empty state", "garbage in schemas", "package without state", "half a package", "a file"],
)
def test_damaged_working_folder_is_replaced(
    killed: Crm, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    monkeypatch.setenv("DLT_DATA_DIR", str(killed.folder / "dlt"))
    shutil.rmtree(killed.folder)
    shutil.copytree(killed.folder.with_name("kept"), killed.folder)
    (folder,) = (path for path in killed.folder.glob("dlt/pipelines/*") if path.is_dir())
    damage(folder)
    killed.sync_done(*NAMES, **PAGING)
    assert f"The working folder {folder} is damaged" in caplog.text
    killed.assert_equal(*NAMES)
    caplog.clear()
    killed.sync_done(*NAMES, **PAGING)
    assert caplog.text == ""


def test_dlt_finds_the_working_folder_by_its_name(crm: Crm) -> None:
    crm.sync_done("notes")
    folder = Path(status(crm.settings(), crm.target).facts["working_folder"])
    assert folder.name == f"insightly-crm-insightly-{crm.target.digest}"
    dlt = Path(sys.executable).with_name("dlt")
    command = [dlt, "pipeline", "--pipelines-dir", folder, "insightly", "info"]
    environment = {**os.environ, "RUNTIME__DLTHUB_TELEMETRY": "false"}
    ran = subprocess.run(command, cwd=crm.folder, env=environment, capture_output=True, text=True, check=True)
    assert "Found pipeline insightly" in ran.stdout
    assert "dataset_name: insightly" in ran.stdout
    assert "destination_type: dlt.destinations.duckdb" in ran.stdout


def test_working_folder_of_an_earlier_version_is_renamed(crm: Crm) -> None:
    crm.sync_done("notes")
    folder = crm.target.working_folder
    folder.rename(folder.with_name(f"insightly-{crm.target.digest}"))
    marker = folder.with_name(f"insightly-{crm.target.digest}") / "marker"
    marker.touch()
    crm.sync_done("notes")
    assert (folder / "marker").exists()
    assert not marker.parent.exists()


def test_name_of_a_working_folder_is_a_plain_file_name(tmp_path: Path) -> None:
    name = Target(database=str(tmp_path / "Büro: all/of it" / "crm 2.duckdb"), dataset="My CRM").working_folder.name
    assert name.startswith("insightly-crm_2-my_crm-")
