"""Settings files that are not valid, and settings that are mistyped: the error names the file, the line and the fix."""

import traceback
from pathlib import Path

import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.common.runtime.run_context import RunContext, switched_run_context

from sources.insightly.config.providers import OF_DLT, providers
from sources.insightly.config.settings import resolve_settings
from sources.insightly.errors import BadSetting, ConfigurationError, UnknownSetting, UnreadableFile

KEY = "0a1b2c3d-1111-2222-3333-444455556666"
PREFIX = "SOURCES__INSIGHTLY__"


@pytest.mark.parametrize("name", ["config.toml", "secrets.toml"])
@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b'\xef\xbb\xbf[sources.insightly]\npod = "na1"\n', "line 1", "byte order mark"),
        (b"[sources.insightly]\npage_size = 3\npage_size = 4\n", "line 3", '"page_size" already exists'),
        (b'[sources.insightly]\n# G\xfcnther\npod = "na1"\n', "line 2", "not UTF-8"),
        (b"[sources.insightly]\r\npod = na1\r\n", "line 2", 'needs quotes, such as pod = "na1"'),
        (b'[sources.insightly]\nentities = [\n  "contacts"\n', "last line", ""),
        (b"[sources.insightly\n", "line 1", ""),
    ],
)
def test_invalid_file_error_names_the_file_and_the_line(
    tmp_path: Path, name: str, content: bytes, line: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / name).write_bytes(content)
    container = Container()
    with monkeypatch.context() as patch:
        # As in a new process: dlt reads the files on first use.
        patch.setattr(container, "__class__", _FirstUse)
        patch.setattr(_FirstUse, "folder", str(tmp_path))
        with pytest.raises(UnreadableFile) as caught:
            providers()
    assert f"{tmp_path}/.dlt/{name}, {line}: " in str(caught.value)
    assert reason in str(caught.value)
    assert caught.value.exit_code == 2


class _FirstUse(Container):
    folder = ""

    def __getitem__(self, _: object) -> object:  # type: ignore[override]
        return PluggableRunContext(RunContext(self.folder))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            '[sources.insightly]\npod = "na1"\nentites = ["contacts"]\n',
            "line 3) is not a setting: did you mean entities?",
        ),
        ("[sources.insightly]\n# max_call\nmax_call = 3\n", "line 3) is not a setting: did you mean max_calls?"),
        (
            '[sources.insightly]\nentities = [\n  "all",\n]\nhashes = [\n  "a.b",\n]\n',
            "line 5) is not a setting: did you mean hash?",
        ),
        ("sources.insightly.hashes = ['a.b']\n", "line 1) is not a setting: did you mean hash?"),
        ("[sources]\ninsightly = {Drop = ['a.b']}\n", "line 2) is not a setting: did you mean drop?"),
        ("[sources.insightly.instance.emea]\npod = 'eu1'\n", "line 1) is not a setting: did you mean instances?"),
        (f"[sources.insightly]\n{KEY} = 1\n", "is not a setting: known are api_key, pod"),
        ("[insightly]\nhashes = ['a.b']\n", "insightly.hashes"),
        ("[source.insightly]\nhash = ['a.b']\n", "[source.insightly]"),
        ("\n[sources.insightley]\nhash = ['a.b']\n", "line 2) is not a setting: did you mean [sources.insightly]?"),
        ("[sources]\ninsightly = 'na1'\n", "sources.insightly is '***': must be a section"),
    ],
)
def test_mistyped_setting_in_a_file_is_refused(tmp_path: Path, config: str, message: str) -> None:
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt/config.toml").write_text(config)
    with switched_run_context(str(tmp_path)), pytest.raises(BadSetting) as caught:
        resolve_settings()
    assert message in str(caught.value)
    assert KEY not in str(caught.value)
    assert ".dlt/config.toml" in str(caught.value) or "must be a section" in message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("variable", "closest"),
    [
        (f"{PREFIX}ENTITES", f"{PREFIX}ENTITIES"),
        (f"{PREFIX}MAX_CALL", f"{PREFIX}MAX_CALLS"),
        (f"{PREFIX}HASHES", f"{PREFIX}HASH"),
        (f"{PREFIX}INSTANCE__EMEA__POD", f"{PREFIX}INSTANCES"),
        ("SOURCES__INSIGHTLY_HASH", f"{PREFIX}HASH"),
        ("SOURCES_INSIGHTLY_API_KEY", f"{PREFIX}API_KEY"),
        ("SOURCE__INSIGHTLY__HASH", f"{PREFIX}HASH"),
        ("sources__insightly__hash", f"{PREFIX}HASH"),
    ],
)
def test_mistyped_variable_is_refused_without_its_value(
    variable: str, closest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, KEY)
    with pytest.raises(UnknownSetting) as caught:
        resolve_settings()
    assert str(caught.value) == f"{variable} is not a setting: did you mean {closest}?"
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_mistyped_setting_of_an_account_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}INSTANCES__EMEA__HASHES", "a.b")
    with pytest.raises(UnknownSetting, match=f"did you mean {PREFIX}INSTANCES__EMEA__HASH"):
        resolve_settings("emea")


def test_sections_of_dlt_and_other_sources_are_not_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".dlt").mkdir()
    sections = "".join(f"[sources.insightly.{name}]\n" for name in OF_DLT)
    (tmp_path / ".dlt/config.toml").write_text(
        f"{sections}[sources.github]\nhashes = 1\n[insightly]\nprogress = 'log'\n"
    )
    monkeypatch.setenv(f"{PREFIX}SCHEMA__NAMING", "snake_case")
    monkeypatch.setenv("SOURCES__GITHUB__HASHES", "1")
    for variable in ("INSIGHTLY_DATABASE", "INSIGHTLY", "SOURCE", "SOURCES"):
        monkeypatch.setenv(variable, "crm.duckdb")
    with switched_run_context(str(tmp_path)):
        assert resolve_settings().entities == ["all"]


def test_unknown_argument_error_names_what_comes_close() -> None:
    with pytest.raises(
        ConfigurationError, match=r"sources\.insightly\.max_call is not a setting: did you mean max_calls"
    ):
        resolve_settings(max_call=3)
