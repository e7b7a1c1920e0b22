"""`insightly init`: the key is never shown, and what is written is what the next command reads."""

import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.commands import init
from sources.insightly.config.settings import InsightlySettings
from sources.insightly.errors import BadCredentials, BadSetting
from tests.support.crm import Crm
from tests.support.process import Ran, command, reach
from tests.support.terminal import Terminal

KEY = "SOURCES__INSIGHTLY__API_KEY"


def configure(crm: Crm, *options: str, key: str | None = None, **environment: str) -> Ran:
    variables = {**reach(crm.sandbox), KEY: key or crm.sandbox.key, **environment}
    return command("init", "--json", *options, *crm.arguments(), cwd=crm.folder, **variables)


def written(crm: Crm, name: str) -> dict[str, Any]:
    text = (crm.folder / ".dlt" / name).read_text(encoding="utf-8")
    section: dict[str, Any] = tomllib.loads(text)["sources"]["insightly"]
    return section


def test_init_writes_the_settings_and_estimates_the_first_sync(crm: Crm) -> None:
    ran = configure(crm, "--history", "opportunities", "--hash", "contacts.email_address", "--start-date", "2024-01-01")
    assert ran.code == 0, ran.err
    assert crm.sandbox.key not in ran.out + ran.err
    assert ran.json["command"] == "init"
    assert ran.json["plan"]["calls"] > 0
    assert ran.json["check"]["account"]["INSTANCE_NAME"]
    assert ran.json["calls"] == len(crm.sandbox.log)
    secrets, config = written(crm, "secrets.toml"), written(crm, "config.toml")
    assert secrets["api_key"] == crm.sandbox.key
    assert config == {
        "base_url": crm.sandbox.url,
        "history": ["opportunities"],
        "hash": ["contacts.email_address"],
        "start_date": "2024-01-01",
    }
    assert (crm.folder / ".dlt" / "secrets.toml").stat().st_mode & 0o777 == 0o600
    assert not crm.made()

    ran = configure(crm)
    assert (ran.code, "add --force" in ran.json["reason"]) == (2, True)
    ran = configure(crm, "--force", key="wrong")
    assert (ran.code, "refused it (401)" in ran.json["reason"]) == (2, True)
    assert written(crm, "secrets.toml") == secrets
    ran = configure(crm, "--force", "--history", "contcts")
    assert (ran.code, "did you mean contacts?" in ran.json["reason"]) == (2, True)
    assert configure(crm, "--force", "--hash", "contacts.phone").code == 0
    assert written(crm, "secrets.toml") == secrets  # the hash key too: hashes of two keys do not join
    assert written(crm, "config.toml") == {**config, "hash": ["contacts.phone"]}


def test_init_asks_for_the_key_without_showing_it(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.terminal.reach", lambda sandbox: {**reach(sandbox), KEY: ""})
    with Terminal(crm, ["init"]) as terminal:
        for question, answer in (
            ("API key", f"{crm.sandbox.key}\n"),
            ("[opportunities]", "\n"),
            ("email_address? [none]", "contacts.emai\n"),
            ("no such column", "none\n"),
            ("[all]", "\n"),
        ):
            terminal.read_until(question)
            terminal.type(answer)
        terminal.read_until("next: insightly sync")
        terminal.read_until("done — ")
        assert terminal.end() == 0
    assert crm.sandbox.key not in terminal.text
    assert written(crm, "config.toml") == {"base_url": crm.sandbox.url, "history": ["opportunities"]}


@pytest.mark.parametrize(("key", "code", "words"), [("\x04", 1, "nothing was written"), ("\x03", 130, "interrupted")])
def test_end_of_the_answers_writes_nothing(
    crm: Crm, monkeypatch: pytest.MonkeyPatch, key: str, code: int, words: str
) -> None:
    monkeypatch.setattr("tests.support.terminal.reach", lambda sandbox: {**reach(sandbox), KEY: ""})
    with Terminal(crm, ["init"]) as terminal:
        terminal.read_until("not shown as you type")
        terminal.type(key)
        terminal.read_until(words)
        assert terminal.end() == code
    assert "Traceback" not in terminal.text
    assert not (crm.folder / ".dlt").exists()


def test_pod_is_the_first_that_accepts_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCES__INSIGHTLY__BASE_URL", raising=False)
    tried = list[str]()

    def context(settings: InsightlySettings) -> Any:
        def get(path: str, label: str) -> None:
            tried.append(settings.url)
            if "eu1" not in settings.url:
                raise BadCredentials("401", path=path, status=401)

        return SimpleNamespace(client=SimpleNamespace(get=get), close=lambda: None)

    monkeypatch.setattr(init, "SyncContext", context)
    assert init.find_address("key") == init.Setup({"api_key": "key"}, {"pod": "eu1"}, calls=2)
    assert tried == ["https://api.na1.insightly.com/v3.1", "https://api.eu1.insightly.com/v3.1"]
    with pytest.raises(BadSetting, match=r"au1 refused it \(401\)"):
        init.find_address("key", "au1")


def test_written_file_keeps_what_else_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        '[runtime]\nlog_level = "INFO"\n[sources.insightly]\nbase_url = "https://x.example"  # old\n# note\n'
    )
    init.write(path, {"pod": "eu1"})
    assert tomllib.loads(path.read_text()) == {
        "runtime": {"log_level": "INFO"},
        "sources": {"insightly": {"pod": "eu1"}},
    }
    assert "# note" in path.read_text()
