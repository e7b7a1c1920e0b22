"""Options of dlt that are set outside this program: none of them moves the rows."""

import json
from pathlib import Path
from typing import Annotated, Any

import dlt
import pytest
from dlt.common.configuration import resolve_configuration
from dlt.common.configuration.exceptions import ConfigValueCannotBeCoercedException
from dlt.common.data_writers import BufferedDataWriter, DataWriter
from dlt.common.schema import Schema
from dlt.common.schema.utils import new_table
from dlt.extract import DltResource
from dlt.load.configuration import LoaderConfiguration
from dlt.pipeline.configuration import PipelineConfiguration

from pipelines.cli.__main__ import main
from pipelines.destinations.dlt_options import FIXED, ignore_other_variables, wrong_option
from pipelines.destinations.pipeline_state import SCHEMA
from pipelines.destinations.target import Target
from sources.insightly.errors import BadSetting
from tests.support.crm import Crm

STRAY = {
    "DEV_MODE": "true",
    "FULL_REFRESH": "1",
    "REFRESH": "drop_data",
    "DATASET_NAME": "other",
    "DATASET_NAME_LAYOUT": "prefix_%s",
    "STAGING_DATASET_NAME_LAYOUT": "%s",
    "STAGING_NAME": "production",
    "STAGING_TYPE": "filesystem",
    "DESTINATION_NAME": "production",
    "PROGRESS": "none of dlt's",
    "LOAD_VOLUME_PATH": "elsewhere",
    "SCHEMA_VOLUME_PATH": "elsewhere",
    "IMPORT_SCHEMA_PATH": "elsewhere",
    "RAISE_ON_FAILED_JOBS": "false",
}


def test_stray_variables_do_not_move_the_rows(
    crm: Crm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable, value in STRAY.items():
        monkeypatch.setenv(variable, value)
    crm.sync_done("lead_sources", "notes")
    crm.sync_done("lead_sources", "notes")
    crm.assert_equal("lead_sources", "notes")
    schemas = crm.read("select distinct table_schema from information_schema.tables order by all")
    assert [row["table_schema"] for row in schemas] == ["insightly"]
    assert not Path("elsewhere").exists()
    assert not [warning for warning in recwarn if "full_refresh" in str(warning.message)]


def test_no_option_of_the_pipeline_is_read_from_a_stray_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    ignore_other_variables()
    options = {*PipelineConfiguration.get_resolvable_fields()} - {"pipeline_name", "runtime"}
    expected = resolve_configuration(PipelineConfiguration(pipeline_name="insightly"))
    for option in options:
        monkeypatch.setenv(option.upper(), "stray_%s")
    found = resolve_configuration(PipelineConfiguration(pipeline_name="insightly"))
    assert [option for option in options if found[option] != expected[option]] == []


def test_source_of_another_program_may_annotate_an_option_by_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    @dlt.source(name="other")
    def other(unit: Annotated[str, ["of its amounts"]] = dlt.config.value) -> DltResource:
        return dlt.resource([{"unit": unit}], name="units")

    monkeypatch.setenv("SOURCES__OTHER__UNIT", "cents")
    assert list(other()) == [{"unit": "cents"}]


@pytest.mark.parametrize("option", FIXED)
def test_option_that_moves_the_rows_is_refused_by_name(
    tmp_path: Path, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = {"refresh": "drop_data", "dataset_name_layout": "prefix_%s", "dev_mode": "true", "full_refresh": "true"}
    monkeypatch.setenv(f"PIPELINES__INSIGHTLY__{option.upper()}", value.get(option, "false"))
    target = Target(database=str(tmp_path / "crm.duckdb"))
    for command in (target.lock(), target.reading()):
        with pytest.raises(BadSetting, match=rf"pipelines\.{option} is .*PIPELINES__{option.upper()}"), command:
            pytest.fail("not refused")
    assert not target.exists()


@pytest.mark.parametrize("variable", ["LOAD__WORKERS", "SOURCES__INSIGHTLY__LOAD__WORKERS"])
def test_option_that_dlt_cannot_use_is_refused_by_its_full_name(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "x")
    with pytest.raises(ConfigValueCannotBeCoercedException) as raised:
        resolve_configuration(LoaderConfiguration(), sections=(*variable.lower().split("__")[:-1],))
    assert str(wrong_option(raised.value)) == f"{variable} is 'x': must be a whole number, or be removed"


def test_value_of_an_option_elsewhere_is_not_shown() -> None:
    assert wrong_option(ConfigValueCannotBeCoercedException("password", "secret", int)) is None


def test_unknown_naming_convention_is_a_configuration_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCHEMA__NAMING", "nope")
    assert main(["status", "--json"]) == 2
    reason = "SCHEMA__NAMING is 'nope': dlt has no such naming convention; remove it"
    assert json.loads(capsys.readouterr().out)["reason"] == reason


def test_files_for_postgres_are_not_compressed() -> None:
    spec = DataWriter.writer_spec_from_file_format("csv", "arrow")
    assert spec.supports_compression
    assert not BufferedDataWriter(spec, "%s").should_compress


@pytest.mark.parametrize(("name", "tables"), [("other", {"orders"}), (SCHEMA, set[str]())])
def test_tables_of_other_pipelines_alone_get_root_keys(name: str, tables: set[str]) -> None:
    schema = Schema(name)
    schema.update_table(new_table("orders"))
    schema.update_table(new_table("orders__lines", "orders", columns=[{"name": "_dlt_root_id", "root_key": True}]))
    json: Any = schema.to_dict()["normalizers"]["json"]
    assert json.get("config", {}).get("propagation", {}).get("tables", {}).keys() == tables
