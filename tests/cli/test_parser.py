"""What is typed: help, version, tab completion, and what a mistyped word is answered with."""

import subprocess
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from pipelines.cli.__main__ import main
from pipelines.cli.completion import script
from pipelines.cli.parser import parser
from tests.support.crm import OPEN, Crm
from tests.support.process import command, reach


def typed(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    return int(str(exited.value.code or 0))


def test_bare_command_is_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert typed() == 0
    bare = capsys.readouterr()
    assert typed("--help") == 0
    assert (bare.out, bare.err) == (capsys.readouterr().out, "")
    assert "exit codes" in bare.out


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("--version") == 0
    assert capsys.readouterr().out.startswith(f"insightly-sync {version('insightly-sync')} (dlt {version('dlt')}, ")


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("snyc", "insightly: COMMAND is 'snyc': did you mean sync? See insightly --help"),
        ("Verify", "insightly: COMMAND is 'Verify': did you mean verify? See insightly --help"),
        ("sync --fulll", "insightly sync: unknown option --fulll; did you mean --full? See insightly sync --help"),
        ("sync --ful", "insightly sync: unknown option --ful; did you mean --full? See insightly sync --help"),
        (
            "sync --max-call=5",
            "insightly sync: unknown option --max-call; did you mean --max-calls? See insightly sync --help",
        ),
        ("status --what", "insightly status: unknown option --what. See insightly status --help"),
        *(
            (
                f"sync --max-calls {text}",
                f"insightly sync: argument --max-calls: must be a whole number, not {text!r}. "
                "See insightly sync --help",
            )
            for text in ("1_0", "\u0663", "5.0", "9" * 19)
        ),
        ("check contacts", "insightly check: unknown argument contacts. See insightly check --help"),
        (
            "push tasks x.csv --op creat",
            "insightly push: --op is 'creat': did you mean create? See insightly push --help",
        ),
        (
            "sync --progress never",
            "insightly sync: --progress is 'never': choose from auto, log, off. See insightly sync --help",
        ),
    ],
)
def test_mistyped_word_is_answered_in_one_line(line: str, answer: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(*line.split()) == 2
    assert capsys.readouterr() == ("", f"{answer}\n")


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["s"], {"sync", "sweep", "status", "sandbox"}),
        (["sync", "cont"], {"contacts"}),
        (["sync", "contacts", "--fu"], {"--full"}),
        (["push", "t"], {"tasks", "tags"}),
        (["push", "tasks", "x.csv", "--op", "up"], {"update", "upsert"}),
        (["sync", "--metrics", "run"], {"run.prom"}),
    ],
)
def test_bash_completes_words(words: list[str], completed: set[str], tmp_path: Path) -> None:
    (tmp_path / "run.prom").touch()
    (tmp_path / "insightly.bash").write_text(script(parser(), "bash"))
    typed_so_far = f"COMP_WORDS=(insightly {' '.join(words)}); COMP_CWORD={len(words)}"
    code = f'. ./insightly.bash; {typed_so_far}; _shtab_insightly; echo "${{COMPREPLY[@]}}"'
    ran = subprocess.run(["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(ran.stdout.split()) == completed


def test_entity_by_the_name_of_another_crm_counts_as_named(crm: Crm, tmp_path: Path) -> None:
    crm.sandbox.switches = replace(OPEN, forbidden=frozenset({"opportunities"}))
    ran = command("sync", "Deals", "notes", "--json", "--database", "a.duckdb", cwd=tmp_path, **reach(crm.sandbox))
    assert (ran.code, {name: entity["state"] for name, entity in ran.json["entities"].items()}) == (
        1,
        {"notes": "ok", "opportunities": "skipped"},
    )
