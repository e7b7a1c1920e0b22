"""The output of a run for programs: figures as OpenMetrics, and log lines as JSON."""

import json
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from pipelines.cli.metrics import exposition, write
from pipelines.engine.report import FAILED, EntityReport, Report
from sources.insightly.errors import BadSetting
from tests.support.crm import Crm
from tests.support.process import command, reach

Sample = tuple[str, tuple[tuple[str, str], ...]]


def samples(text: str) -> dict[Sample, float]:
    families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    return {(each.name, tuple(sorted(each.labels.items()))): each.value for of in families for each in of.samples}


def named(name: str, **labels: str) -> Sample:
    return f"insightly_{name}", tuple(sorted(labels.items()))


def lines(err: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in err.splitlines()]


def test_sync_writes_its_figures(crm: Crm, tmp_path: Path) -> None:
    ran = command("sync", "notes", "pipelines", "--json", "--metrics", "run.prom", cwd=tmp_path, **reach(crm.sandbox))
    assert ran.code == 0, ran.err
    figures = samples((tmp_path / "run.prom").read_text())
    notes = ran.json["entities"]["notes"]
    assert figures[named("run_exit_code", command="sync")] == 0
    assert figures[named("run_status", command="sync", status="done")] == 1
    assert figures[named("run_status", command="sync", status="failed")] == 0
    assert figures[named("run_calls", command="sync")] == ran.json["calls"]
    assert figures[named("calls_left_today", command="sync")] == ran.json["calls_left_today"]
    assert figures[named("entity_rows", command="sync", entity="notes")] == notes["rows"] > 0
    assert figures[named("entity_state", command="sync", entity="notes", state="ok")] == 1
    assert named("entity_watermark_timestamp_seconds", command="sync", entity="notes") in figures
    assert named("entity_watermark_timestamp_seconds", command="sync", entity="pipelines") not in figures
    assert [path.name for path in tmp_path.glob("*run.prom*")] == ["run.prom"]


@pytest.mark.parametrize(
    ("arguments", "settings", "code"),
    [(["sync", "notes", "--max-calls", "0"], {}, 3), (["sync"], {"SOURCES__INSIGHTLY__PAGE_SIZE": "501"}, 2)],
)
def test_unsuccessful_run_writes_its_figures(
    crm: Crm, tmp_path: Path, arguments: list[str], settings: dict[str, str], code: int
) -> None:
    ran = command(*arguments, "--metrics", "run.prom", cwd=tmp_path, **{**reach(crm.sandbox), **settings})
    assert ran.code == code
    assert samples((tmp_path / "run.prom").read_text())[named("run_exit_code", command="sync")] == code


def test_entity_names_and_states_are_escaped_labels() -> None:
    report = Report("verify", FAILED, 'a "reason"', {'odd"\\\nname': EntityReport("failed", deleted=3)}, exit_code=4)
    figures = samples(exposition(report, 1_790_000_000.0).decode())
    assert figures[named("entity_deleted", command="verify", entity='odd"\\\nname')] == 3
    assert figures[named("run_finished_timestamp_seconds", command="verify")] == 1_790_000_000


def test_unwritable_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"--metrics.*run\.prom"):
        write(Report("sync"), tmp_path / "nowhere" / "run.prom")
    (tmp_path / "run.prom").mkdir()
    with pytest.raises(BadSetting, match="--metrics"):
        write(Report("sync"), tmp_path / "run.prom")
    assert [path.name for path in tmp_path.iterdir()] == ["run.prom"]


def test_unwritable_metrics_are_one_line_beside_the_report(crm: Crm, tmp_path: Path) -> None:
    ran = command("sync", "notes", "--json", "--metrics", "nowhere/run.prom", cwd=tmp_path, **reach(crm.sandbox))
    assert (ran.code, json.loads(ran.out)["status"], ran.err.count("--metrics")) == (2, "done", 1)


def test_json_lines_have_entities_and_the_run(crm: Crm, tmp_path: Path) -> None:
    ran = command("sync", "notes", "--json", "--log-format", "json", cwd=tmp_path, **reach(crm.sandbox))
    assert ran.code == 0
    (entity, run) = [line for line in lines(ran.err) if line.get("event") in ("entity", "run")]
    assert {name: entity[name] for name in ran.json["entities"]["notes"]} == ran.json["entities"]["notes"]
    assert (entity["entity"], entity["level"], run["command"], run["exit_code"]) == ("notes", "INFO", "sync", 0)
    assert (run["calls"], run["status"]) == (ran.json["calls"], "done")
    assert crm.sandbox.key not in ran.err


def test_json_lines_have_warnings_and_failures(crm: Crm, tmp_path: Path) -> None:
    wrong = {**reach(crm.sandbox), "SOURCES__INSIGHTLY__API_KEY": "99999999-9999-9999-9999-999999999999"}
    figures = lines(command("sync", "notes", "--log-format", "json", cwd=tmp_path, **wrong).err)
    assert (figures[-1]["event"], figures[-1]["level"], figures[-1]["exit_code"]) == ("run", "ERROR", 1)
    assert "401" in figures[-1]["reason"]
    assert {"time", "level", "logger", "message"} <= set(figures[0])
