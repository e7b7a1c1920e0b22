"""Names of datasets and files that cannot work are refused before anything is read or created."""

import sqlite3
from pathlib import Path

import duckdb
import pytest

from pipelines.cli.__main__ import main
from pipelines.commands.sync import sync
from pipelines.destinations.target import Target
from sources.insightly.errors import BadSetting
from tests.support.crm import Crm, read
from tests.support.process import reach

DATASETS = ["", "  ", "temp", "Temp", "system", "pg_catalog", "PG_Toast", "information_schema"]
SIBLINGS = ["insightly_staging", "insightly-Staging", "insightlyStaging", "crm_marts", "insightly_all", "InsightlyAll"]
FILES = ["", ".", "folder", ":memory:", "md:crm", "motherduck:crm", "s3://bucket/crm.duckdb", "https://a.example/crm"]


@pytest.mark.parametrize("destination", ["duckdb", "postgres"])
@pytest.mark.parametrize("dataset", [*DATASETS, *SIBLINGS])
def test_reserved_dataset_is_refused(dataset: str, destination: str) -> None:
    with pytest.raises(BadSetting, match="--dataset"):
        Target(destination, dataset)


@pytest.mark.parametrize("database", FILES)
def test_database_that_is_no_file_is_refused(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    with pytest.raises(BadSetting, match=r"--database .*must be the path of a file"):
        Target(database=database)


@pytest.mark.parametrize(
    ("file", "dataset"),
    [
        ("insightly.duckdb", "insightly"),
        ("insightly_staging.duckdb", "insightly"),
        ("Insightly_Marts.duckdb", "insightly"),
        ("insightly_all.duckdb", "insightly"),
        ("insightly.v2.duckdb", "insightly"),
        (".insightly", "insightly"),
        ("my_crm.duckdb", "my-crm"),
        ("my_crm_staging.db", "MyCrm"),
    ],
)
def test_file_named_like_a_schema_is_refused(file: str, dataset: str, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"--database .*; rename it, for example to crm\.duckdb"):
        Target(database=str(tmp_path / file), dataset=dataset)


def test_file_of_another_program_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "crm.db") as connection:
        connection.execute("create table contacts (contact_id)")
    connection.close()
    (tmp_path / "crm.csv").write_text("contact_id\n1\n2\n3\n")
    for name in ("crm.db", "crm.csv"):
        with pytest.raises(BadSetting, match="not a DuckDB database"):
            Target(database=str(tmp_path / name))
    duckdb.connect(str(tmp_path / "own.duckdb")).close()
    (tmp_path / "started.duckdb").write_bytes(bytes(4096))
    (tmp_path / "empty.duckdb").touch()
    for name in ("own.duckdb", "started.duckdb", "empty.duckdb", "new.duckdb"):
        assert Target(database=str(tmp_path / name)).path == tmp_path / name


@pytest.mark.parametrize("arguments", [("--dataset", "temp"), ("--database", "insightly_staging.duckdb")])
def test_refused_name_exits_with_2_before_a_call(
    crm: Crm, arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for setting, value in reach(crm.sandbox).items():
        monkeypatch.setenv(setting, value)
    for command in (["sync"], ["sync", "contacts", "--id", "1"], ["sweep"], ["verify"], ["status"], ["marts"]):
        assert main([*command, *arguments]) == 2
    assert (crm.sandbox.log, list(tmp_path.glob("*.duckdb"))) == ([], [])


def test_file_with_dots_and_a_dataset_with_capitals_work(crm: Crm, tmp_path: Path) -> None:
    target = Target(database=str(tmp_path / "crm.2026.duckdb"), dataset="Sales-CRM")
    assert sync(crm.settings(), target, ["lead_sources"]).exit_code == 0
    (found,) = read(target.path, "select count(*) as n from sales_crm.lead_sources")
    assert found["n"] == crm.sandbox.store.count("lead_sources")
