"""Settings of several accounts: what an account sets, what it inherits, and where its key is never sent."""

import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from dlt.common.runtime.run_context import switched_run_context
from hypothesis import given
from hypothesis import strategies as st

from sources.insightly import insightly
from sources.insightly.config.accounts import configured_accounts
from sources.insightly.config.settings import InsightlySettings, resolve_settings
from sources.insightly.errors import BadSetting, ConfigurationError, MissingKey, RefusedHost, UnknownSetting
from tests.support.crm import Crm

KEY, OTHER = "0a1b2c3d-1111-2222-3333-444455556666", "ffffffff-1111-2222-3333-444455556666"
COMMON, EMEA = "SOURCES__INSIGHTLY__", "SOURCES__INSIGHTLY__INSTANCES__EMEA__"
DEFAULT_URL = "https://api.na1.insightly.com/v3.1"


@pytest.fixture(autouse=True)
def _bare_project(tmp_path: Path) -> Iterator[None]:
    with switched_run_context(str(tmp_path)):
        yield


def write(folder: Path, config: str = "", secrets: str = "") -> None:
    (folder / ".dlt").mkdir(exist_ok=True)
    (folder / ".dlt/config.toml").write_text(config)
    (folder / ".dlt/secrets.toml").write_text(secrets)


VALUES = {
    "entities": '["contacts"]',
    "start_date": "2025-01-31",
    "tags": "off",
    "deletions": "remove",
    "max_deleted_share": "0.5",
    "hash": "contacts.email_address",
    "drop": "contacts.phone",
    "hash_key": "a secret of some length",
}


@pytest.mark.parametrize(
    "name", [name for name in InsightlySettings() if name not in ("api_key", "pod", "base_url", "history", "instance")]
)
def test_account_inherits_every_setting_it_does_not_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "hash":
        monkeypatch.setenv(f"{COMMON}HASH_KEY", VALUES["hash_key"])
    default = resolve_settings()[name]
    monkeypatch.setenv(f"{COMMON}{name.upper()}", VALUES.get(name, "7"))
    common = resolve_settings()[name]
    assert resolve_settings("emea")[name] == common != default
    monkeypatch.delenv(f"{COMMON}{name.upper()}")
    monkeypatch.setenv(f"{EMEA}{name.upper()}", VALUES.get(name, "7"))
    assert resolve_settings("emea")[name] == common
    assert (resolve_settings()[name], resolve_settings("apac")[name]) == (default, default)


def test_accounts_come_from_files_and_the_environment_overrides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        tmp_path,
        "[sources.insightly]\npage_size = 100\n[sources.insightly.instances.emea]\npod = 'eu1'\npage_size = 200\n"
        "[sources.insightly.instances.apac]\n",
        f"[sources.insightly.instances.emea]\napi_key = '{KEY}'\n",
    )
    monkeypatch.setenv(f"{COMMON}INSTANCES__LATAM_2__API_KEY", OTHER)
    with switched_run_context(str(tmp_path)):
        assert list(configured_accounts()) == ["apac", "emea", "latam_2"]
        emea, latam = resolve_settings("emea"), resolve_settings("latam_2")
        assert (emea.url, emea.page_size) == ("https://api.eu1.insightly.com/v3.1", 200)
        assert (emea.require_key(), latam.require_key()) == (KEY, OTHER)
        assert (latam.page_size, resolve_settings("apac").page_size) == (100, 100)
        # An account's own setting overrides the shared one, whether from a file or from the environment.
        monkeypatch.setenv(f"{COMMON}PAGE_SIZE", "300")
        assert (resolve_settings("emea").page_size, resolve_settings("apac").page_size) == (200, 300)
        assert resolve_settings("emea", page_size=50).page_size == 50


def test_account_may_be_set_by_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{EMEA}API_KEY", KEY)
    monkeypatch.setenv(f"{EMEA}POD", "eu1")
    assert configured_accounts() == {"emea": {"api_key", "pod"}}
    assert resolve_settings("emea").require_key() == KEY


def test_no_other_section_sets_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("EMEA__", "SOURCES__EMEA__", "INSIGHTLY__INSTANCES__EMEA__"):
        monkeypatch.setenv(f"{variable}BASE_URL", "https://evil.example")
        monkeypatch.setenv(f"{variable}API_KEY", OTHER)
    assert resolve_settings("emea").url == DEFAULT_URL
    with pytest.raises(MissingKey):
        resolve_settings("emea").require_key()
    monkeypatch.setenv(f"{COMMON}API_KEY", KEY)
    assert resolve_settings("insightly").api_key is None
    monkeypatch.setenv("SOURCES__INSIGHTLY__EMEA__API_KEY", OTHER)
    with pytest.raises(UnknownSetting, match="SOURCES__INSIGHTLY__EMEA__API_KEY is not a setting"):
        resolve_settings("emea")


addresses = st.fixed_dictionaries(
    {},
    optional={
        "pod": st.sampled_from(["na1", "eu1"]),
        "base_url": st.sampled_from(["https://a.example", "https://b.example"]),
    },
)


@given(common=addresses, own=addresses, shared_key=st.booleans(), own_key=st.booleans())
def test_key_is_sent_only_to_the_host_of_its_account(
    common: dict[str, str], own: dict[str, str], shared_key: bool, own_key: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for prefix, values, key in ((COMMON, common, shared_key and KEY), (EMEA, own, own_key and OTHER)):
            for name, value in {**values, **({"api_key": key} if key else {})}.items():
                patch.setenv(f"{prefix}{name.upper()}", str(value))
        plain = resolve_settings()
        if not own and shared_key and plain.url != DEFAULT_URL:
            with pytest.raises(BadSetting) as caught:
                resolve_settings("emea")
            assert caught.value.setting == "sources.insightly.instances.emea.pod"
            assert [part for part in (f"{EMEA}POD", plain.url) if part not in str(caught.value)] == []
            return
        emea = resolve_settings("emea")
    assert emea.api_key == (OTHER if own_key else None)
    assert plain.api_key == (KEY if shared_key else None)
    assert emea.url == (resolve_settings(**own).url if own else plain.url)


def test_missing_key_error_says_where_to_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{COMMON}API_KEY", KEY)
    with pytest.raises(MissingKey) as caught:
        resolve_settings("emea").require_key()
    for part in (f"{EMEA}API_KEY", "[sources.insightly.instances.emea]", "secrets.toml", "User Settings > API"):
        assert part in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("name", ["EMEA", "1st", "_a", "a-b", "a b", "a__b", "a_", "é", "", "a.b"])
def test_invalid_account_name_is_an_error(name: str) -> None:
    with pytest.raises(BadSetting, match="a-z, 0-9 and single _"):
        resolve_settings(name)


@pytest.mark.parametrize("name", ["all", "emea_all", "staging", "emea_staging", "marts", "emea_marts"])
def test_account_name_of_another_dataset_is_an_error(name: str) -> None:
    with pytest.raises(BadSetting, match="not all, default, staging or marts"):
        resolve_settings(name)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[sources.insightly.instances.emea]\napikey = 'KEY'\n", "instances.emea.apikey"),
        ("[sources.insightly.instances.emea]\nname = 5\n", "known are api_key"),
        ("[sources.insightly.instances]\nemea = 'KEY'\n", "must be a section"),
        ("[sources.insightly]\ninstances = 'KEY'\n", "must be a section"),
        ("[sources.insightly.instances.emea]\napi_key = 'KEY'\n", "INSTANCES__EMEA__API_KEY"),
        (
            "[sources.insightly.instances.emea]\npage_size = 501\n",
            "sources.insightly.instances.emea.page_size is '501'",
        ),
        ("[sources.insightly.instances.emea]\nbase_url = 'http://a.b'\n", "sources.insightly.instances.emea.base_url"),
        ("[sources.insightly]\npage_size = 501\n", "sources.insightly.page_size is '501'"),
    ],
)
def test_account_error_names_the_place_and_shows_no_key(tmp_path: Path, config: str, message: str) -> None:
    write(tmp_path, config.replace("KEY", KEY))
    with switched_run_context(str(tmp_path)), pytest.raises((BadSetting, RefusedHost)) as caught:
        resolve_settings("emea")
    assert message in str(caught.value)
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        (f"{EMEA}PODD", f"did you mean {EMEA}POD?"),
        (EMEA.removesuffix("__"), "name a setting"),
        (f"{COMMON}INSTANCES", "a section"),
    ],
)
def test_account_error_names_a_variable_without_its_value(
    monkeypatch: pytest.MonkeyPatch, variable: str, message: str
) -> None:
    monkeypatch.setenv(variable, KEY)
    with pytest.raises(ConfigurationError) as caught:
        resolve_settings("emea")
    assert message in str(caught.value)
    assert KEY not in str(caught.value) + repr(caught.value)


def test_source_reads_an_account(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{EMEA}API_KEY", crm.sandbox.key)
    monkeypatch.setenv(f"{EMEA}BASE_URL", crm.sandbox.url)
    source = insightly(instance="emea", entities=["lead_sources"])
    assert crm.sandbox.log == []
    rows = [row for table in source for row in table.to_pylist()]
    assert len(rows) == crm.sandbox.store.count("lead_sources")
