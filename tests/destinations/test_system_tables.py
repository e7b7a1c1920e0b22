"""The tables that this tool writes for itself."""

from pathlib import Path

import dlt
import pytest

from pipelines.destinations import system_tables
from pipelines.destinations.system_tables import COLUMNS, HISTORIES, ensure_table


def test_table_of_an_earlier_version_gets_new_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = dlt.destinations.duckdb(str(tmp_path / "data.duckdb"))
    pipeline = dlt.pipeline("earlier", tmp_path / "dlt", destination=database, dataset_name="crm")
    earlier = {name: column for name, column in COLUMNS[HISTORIES].items() if name != "masked"}
    with monkeypatch.context() as patch:
        patch.setattr(system_tables, "COLUMNS", {**COLUMNS, HISTORIES: earlier})
        ensure_table(pipeline, HISTORIES)

    ensure_table(pipeline, HISTORIES)

    with pipeline.sql_client() as client:
        assert client.execute_sql(f"select {', '.join(COLUMNS[HISTORIES])} from {HISTORIES}") == []
