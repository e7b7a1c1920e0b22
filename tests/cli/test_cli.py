"""The command as a process: exit codes, one JSON object on stdout, and no key anywhere."""

import argparse
import errno
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.cli.__main__ import main
from pipelines.cli.arguments import duration
from pipelines.cli.parser import parser
from pipelines.destinations.locks import Busy
from pipelines.destinations.target import Target
from sources.insightly import ENTITIES
from tests.support.crm import OPEN, Crm
from tests.support.expected import CORE
from tests.support.process import ROOT, command, reach

ENVELOPE = {"command", "status", "reason", "entities", "calls", "calls_left_today", "seconds"}
OF_AN_ENTITY = {
    *("state", "reason", "rows", "inserted_or_updated", "deleted"),
    *("calls", "seconds", "watermark", "schema_changes"),
}
TARGETS = {"--destination", "--dataset", "--database"}
OPTIONS = {
    "check": {"--json"},
    "entities": {"--json"},
    "sync": {"--json", *TARGETS, "--full", "--since", "--plan", "--max-calls", "--marts", "--progress"},
    "marts": {"--json", *TARGETS, "--folder", "--print"},
    "sandbox": {"--port", "--seed", "--scale", "--rate", "--quota", "--latency", "--faults"},
}


def commands() -> dict[str, argparse.ArgumentParser]:
    (choices,) = (action.choices for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(choices or {})


@pytest.mark.parametrize("name", OPTIONS)
def test_help_has_each_option(name: str) -> None:
    text = commands()[name].format_help()
    assert [option for option in OPTIONS[name] if option not in text] == []


def test_help_lists_commands_and_exit_codes() -> None:
    text = parser().format_help()
    for word in (*OPTIONS, "exit codes", "insightly sandbox"):
        assert word in text


def test_program_prints_all_and_ends_at_once(tmp_path: Path) -> None:
    code = "import atexit; atexit.register(print, 'late'); from pipelines.cli.__main__ import main; main(); print('on')"
    ran = subprocess.run(
        [sys.executable, "-c", code, "status", "--json", "--database", "none.duckdb"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, json.loads(ran.stdout)["command"]) == (1, "status"), ran.stderr


def test_sync_prints_one_object_and_never_the_key(crm: Crm, tmp_path: Path) -> None:
    ran = command(
        "sync", "notes", "lead_sources", "--json", "--database", "a.duckdb", cwd=tmp_path, **reach(crm.sandbox)
    )
    assert ran.code == 0, ran.err
    assert len(ran.out.splitlines()) == 1
    assert set(ran.json) >= ENVELOPE
    assert (ran.json["command"], ran.json["status"], ran.json["reason"]) == ("sync", "done", None)
    assert set(ran.json["entities"]) == {"notes", "lead_sources"}
    assert all(set(entity) == OF_AN_ENTITY for entity in ran.json["entities"].values())
    assert ran.json["calls"] == crm.sandbox.calls()
    crm.assert_equal("notes", "lead_sources", database=tmp_path / "a.duckdb")
    assert crm.sandbox.key not in ran.out + ran.err


def test_names_are_complete_on_narrow_and_without_terminals(crm: Crm, tmp_path: Path) -> None:
    names = ("opportunity_categories", "opportunity_state_reasons")
    narrow = command("sync", *names, cwd=tmp_path, COLUMNS="80", **reach(crm.sandbox)).out
    assert all(name in narrow for name in names)
    assert max(map(len, narrow.splitlines())) <= 80
    piped = command("entities", cwd=tmp_path, COLUMNS="").out
    assert re.search("knowledge_article_categories +/KnowledgeArticleCategory +CATEGORY_ID", piped), piped


def test_sync_without_options_writes_crm_duckdb(crm: Crm, tmp_path: Path) -> None:
    ran = command("sync", "notes", cwd=tmp_path, **reach(crm.sandbox))
    assert ran.code == 0, ran.out + ran.err
    assert "notes" in ran.out
    crm.assert_equal("notes", database=tmp_path / "crm.duckdb")


def test_sync_without_new_rows_does_not_import_pyarrow(crm: Crm, tmp_path: Path) -> None:
    crm.first_sync("notes", "lead_sources")
    code = "import sys; from pipelines.cli.__main__ import main; print(main(sys.argv[1:]), 'pyarrow' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code, "sync", "notes", "lead_sources", "--database", str(crm.database)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, **reach(crm.sandbox), "DLT_DATA_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
    )
    assert ran.stdout.splitlines()[-1] == "0 False", ran.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_console_without_a_character_gets_the_report(tmp_path: Path, encoding: str) -> None:
    code = "import sys; from pipelines.cli.__main__ import main; sys.exit(main(sys.argv[1:]))"
    ran = subprocess.run(
        [sys.executable, "-c", code, "entities"],
        cwd=tmp_path,
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding, "DLT_DATA_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"done ? 0 calls" in ran.stdout


def test_report_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(_FullDisk()))
    assert main(["entities", "--json"]) == 1
    assert capsys.readouterr().err == "insightly: the output cannot be written to stdout: [Errno 28] full\n"


@pytest.mark.parametrize(
    ("arguments", "code"), [(["sync", "--nope", "--json"], 2), (["--help"], 1), (["--version"], 1)]
)
def test_exit_code_is_that_of_the_command_on_a_full_disk(
    arguments: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(_FullDisk()))
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == code
    assert "insightly: the output cannot be written to stdout: [Errno 28] full" in capsys.readouterr().err
    sys.stdout.flush()  # Python does this at its end, and an error there is exit code 120


def test_closed_stdout_and_stderr_do_not_fail_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)
    assert main(["entities", "--json"]) == 0


class _FullDisk(io.BytesIO):
    def write(self, _: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    def close(self) -> None:
        """Without an error about what was not written."""


def test_budget_exits_with_3_and_a_skipped_name_with_1(crm: Crm, tmp_path: Path) -> None:
    crm.sandbox.switches = replace(OPEN, forbidden=frozenset({"products"}))
    where = ("--json", "--database", "a.duckdb")
    stopped = command("sync", "notes", "pipelines", "--max-calls", "2", *where, cwd=tmp_path, **reach(crm.sandbox))
    assert (stopped.code, stopped.json["status"]) == (3, "stopped")
    skipped = command("sync", "products", "notes", *where, cwd=tmp_path, **reach(crm.sandbox))
    assert (skipped.code, skipped.json["status"]) == (1, "failed")
    assert skipped.json["entities"]["products"]["state"] == "skipped"
    assert skipped.json["entities"]["notes"]["state"] == "ok"
    assert "products" in skipped.json["reason"]


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (["sync", "kontacts"], {}, "kontacts"),
        (["sync", "notes", "--since", "yesterday"], {}, "yesterday"),
        (["sync", "notes", "--since", "2999-01-01"], {}, "--since is '2999-01-01': must not be in the future"),
        (["sync", "notes", "--since", "2999-01-01", "--plan"], {}, "must not be in the future"),
        (["push", "notes", "a.csv", "--op", "delete", "--if-unchanged-since", "2999-01-01"], {}, "in the future"),
        (["sync", "notes", "--jobs", "0"], {}, "--jobs is 0: must be at least 1"),
        (["sync", "notes", "--jobs", "2"], {}, "--jobs is 2: a DuckDB file has one writer"),
        (["sweep", "notes", "--instance", "default", "--jobs", "2"], {}, "--jobs is 2"),
        (["sync", "notes"], {"SOURCES__INSIGHTLY__PAGE_SIZE": "501"}, "page_size"),
        (["sync", "notes"], {"SOURCES__INSIGHTLY__API_KEY": ""}, "api_key"),
        (["sync", "notes"], {"SOURCES__INSIGHTLY__BASE_URL": "http://example.com/v3.1"}, "example.com"),
        (["check"], {"SOURCES__INSIGHTLY__API_KEY": ""}, "api_key"),
    ],
)
def test_wrong_usage_exits_with_2_and_sends_nothing(
    crm: Crm, tmp_path: Path, arguments: list[str], settings: dict[str, str], message: str
) -> None:
    ran = command(*arguments, "--json", cwd=tmp_path, **{**reach(crm.sandbox), **settings})
    assert ran.code == 2
    assert set(ran.json) >= ENVELOPE
    assert (ran.json["command"], ran.json["status"]) == (arguments[0], "failed")
    assert message in ran.json["reason"]
    assert message in ran.err
    assert "Traceback" not in ran.err
    assert crm.sandbox.key not in ran.out + ran.err
    assert crm.sandbox.log == []


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400), ("2h", 7200), ("1d", 86400), ("1h30m", 5400), ("45s", 45), ("1.5h", 5400)]
)
def test_duration_is_parsed(text: str, seconds: float) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "2", "h", "2 hours", "-1h", "1w", "soon", "1"])
@pytest.mark.parametrize("name", ["status", "dashboard"])
def test_wrong_duration_is_refused(name: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        parser().parse_args([name, f"--max-age={text}"])
    assert exited.value.code == 2
    assert f"--max-age: must be a duration such as 90m, 2h, 1d or 1h30m, not {text!r}" in capsys.readouterr().err


def test_wrong_duration_is_reported_as_json(tmp_path: Path) -> None:
    ran = command("status", "--json", "--max-age", "soon", cwd=tmp_path)
    assert (ran.code, ran.json["command"], ran.json["status"]) == (2, "status", "failed")
    assert "--max-age" in ran.json["reason"]


def test_unknown_option_exits_with_2(tmp_path: Path) -> None:
    assert command("sync", "--nonsense", cwd=tmp_path).code == 2


def test_check_shows_account_user_and_calls_left(crm: Crm, tmp_path: Path) -> None:
    ran = command("check", "--json", cwd=tmp_path, **reach(crm.sandbox))
    assert ran.code == 0
    assert ran.json["account"]["INSTANCE_NAME"] == "Sandbox Trading"
    assert ran.json["user"]["USER_ID"] == crm.sandbox.store.tables["users"].keys[0]
    assert ran.json["calls_left_today"] == 100_000 - ran.json["calls"]
    assert not list(tmp_path.glob("*.duckdb"))
    text = command("check", cwd=tmp_path, **reach(crm.sandbox))
    assert "Sandbox Trading" in text.out
    assert crm.sandbox.key not in ran.out + ran.err + text.out + text.err


def test_check_with_a_wrong_key_exits_with_1(crm: Crm, tmp_path: Path) -> None:
    wrong = "99999999-9999-9999-9999-999999999999"
    ran = command("check", "--json", cwd=tmp_path, **{**reach(crm.sandbox), "SOURCES__INSIGHTLY__API_KEY": wrong})
    assert (ran.code, ran.json["status"]) == (1, "failed")
    assert "401" in ran.json["reason"]
    assert wrong not in ran.out + ran.err


def test_entities_prints_the_table(tmp_path: Path) -> None:
    ran = command("entities", "--json", cwd=tmp_path)
    assert ran.code == 0
    assert set(ran.json["entities"]) == set(ENTITIES)
    text = command("entities", cwd=tmp_path).out
    assert [name for name in CORE if name not in text] == []


@pytest.mark.sample(0)
def test_plan_writes_nothing_and_predicts_the_calls_of_a_sync(crm: Crm, tmp_path: Path) -> None:
    where = ("--json", "--database", "a.duckdb")
    names = ("contacts", "notes", "lead_sources", "countries", "tags")
    for _ in range(2):
        plan = command("sync", *names, "--plan", *where, cwd=tmp_path, **reach(crm.sandbox))
        assert plan.code == 0, plan.err
        done = command("sync", *names, *where, cwd=tmp_path, **reach(crm.sandbox))
        planned = {name: entity["calls"] for name, entity in plan.json["entities"].items()}
        assert planned == {name: entity["calls"] for name, entity in done.json["entities"].items()}
        assert plan.json["entities"]["notes"]["total"] == done.json["entities"]["notes"]["rows"]


@pytest.mark.sample(0)
@pytest.mark.parametrize("name", ["sync", "sweep"])
def test_plan_that_runs_out_of_calls_shows_what_it_found(crm: Crm, tmp_path: Path, name: str) -> None:
    names = ("contacts", "notes", "tasks")
    crm.sync_done(*names)
    where = ("--database", str(crm.database), "--max-calls", "2")
    crm.sandbox.reset_log()
    ran = command(name, *names, "--plan", "--json", *where, cwd=tmp_path, **reach(crm.sandbox))
    assert (ran.code, ran.json["status"], ran.json["calls"], crm.sandbox.calls()) == (3, "stopped", 2, 2)
    assert "max_calls" in ran.json["reason"]
    assert ran.json["calls_left_today"] < 100_000
    assert [entity["state"] for entity in ran.json["entities"].values()] == ["ok", "ok", "partial"]
    assert [entity["total"] is None for entity in ran.json["entities"].values()] == [False, False, True]
    shown = command(name, *names, "--plan", *where, cwd=tmp_path, **reach(crm.sandbox))
    assert (shown.code, "stopped" in shown.out, "Estimate: at least" in shown.out) == (3, True, True)


def test_plan_creates_no_file(crm: Crm, tmp_path: Path) -> None:
    command("sync", "notes", "--plan", "--json", "--database", "b.duckdb", cwd=tmp_path, **reach(crm.sandbox))
    assert crm.sandbox.calls() == 1
    assert not (tmp_path / "b.duckdb").exists()


def test_second_run_reports_a_busy_destination(tmp_path: Path) -> None:
    target = Target(database=str(tmp_path / "a.duckdb"))
    with (
        target.lock(),
        pytest.raises(Busy, match=rf"pid {os.getpid()} of .*, since 20.*a\.duckdb"),
        target.lock(wait=0.01),
    ):
        pass
    with target.lock(wait=0.01):
        pass


def test_runs_on_other_destinations_do_not_wait(tmp_path: Path) -> None:
    with Target(database=str(tmp_path / "a.duckdb")).lock(), Target(database=str(tmp_path / "b.duckdb")).lock(0.01):
        pass


def test_names_of_one_dataset_have_one_lock_and_one_working_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", "postgresql://user@localhost/crm")
    digests = {Target("postgres", dataset).digest for dataset in ("my_crm", "My_CRM", "my-crm", "MyCrm")}
    assert digests == {Target("postgres", "my_crm").digest}
    assert Target("postgres", "another").digest not in digests
