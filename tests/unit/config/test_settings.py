"""Settings: where they come from, which values they accept, and what their errors say."""

import os
import pickle
import traceback
from datetime import UTC, date, datetime

import pytest
from dlt.common.runtime.run_context import switched_run_context
from hypothesis import given
from hypothesis import strategies as st

from sources.insightly.config.settings import InsightlySettings, resolve_settings
from sources.insightly.errors import BadSetting, ConfigurationError, MissingKey, RefusedHost

KEY = "0a1b2c3d-1111-2222-3333-444455556666"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch, tmp_path_factory):
    for name in [name for name in os.environ if "INSIGHTLY__" in name]:
        monkeypatch.delenv(name)
    with switched_run_context(str(tmp_path_factory.mktemp("bare"))):
        yield


def test_settings_have_their_documented_defaults():
    settings = resolve_settings()
    assert dict(settings) == {
        "api_key": None,
        "pod": "na1",
        "base_url": None,
        "entities": ["all"],
        "start_date": None,
        "lookback_seconds": 300,
        "page_size": 500,
        "requests_per_second": 10.0,
        "max_connections": 8,
        "chunk_calls": None,
        "max_calls": None,
        "quota_reserve": 0,
        "tags": "auto",
        "deletions": "mark",
        "max_deleted_share": 0.2,
        "full_every": None,
        "history": [],
        "hash": [],
        "drop": [],
        "hash_key": None,
        "instance": None,
    }
    assert settings.url == "https://api.na1.insightly.com/v3.1"
    assert settings.start_date_iso is None


def test_environment_sets_every_kind_of_setting(monkeypatch):
    for name, value in {
        "API_KEY": f" {KEY}\n",
        "BASE_URL": "http://127.0.0.1:1/v3.1",
        "PAGE_SIZE": "50",
        "REQUESTS_PER_SECOND": "2.5",
        "MAX_CALLS": "7",
        "ENTITIES": "contacts, leads",
        "START_DATE": "2025-01-31",
        "FULL_EVERY": "30",
    }.items():
        monkeypatch.setenv(f"SOURCES__INSIGHTLY__{name}", value)
    settings = resolve_settings()
    assert settings.require_key() == KEY
    assert settings.url == "http://127.0.0.1:1/v3.1"
    assert (settings.page_size, settings.requests_per_second, settings.max_calls) == (50, 2.5, 7)
    assert settings.entities == ["contacts", "leads"]
    assert settings.start_date_iso == "2025-01-31T00:00:00Z"
    assert settings.full_every == 30


def test_list_in_the_environment_may_be_json(monkeypatch):
    monkeypatch.setenv("SOURCES__INSIGHTLY__ENTITIES", '["contacts", "leads"]')
    assert resolve_settings().entities == ["contacts", "leads"]


def test_settings_are_read_from_toml_files(tmp_path):
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt/config.toml").write_text(
        '[sources.insightly]\npod = "eu1"\nentities = ["contacts"]\nstart_date = 2025-01-31\n'
    )
    (tmp_path / ".dlt/secrets.toml").write_text(f'[sources.insightly]\napi_key = "{KEY}"\n')
    with switched_run_context(str(tmp_path)):
        settings = resolve_settings()
    assert (settings.url, settings.entities) == ("https://api.eu1.insightly.com/v3.1", ["contacts"])
    assert (settings.require_key(), settings.start_date_iso) == (KEY, "2025-01-31T00:00:00Z")


def test_unrelated_variable_does_not_redirect_the_key(monkeypatch):
    for name in ("BASE_URL", "SOURCES__BASE_URL"):
        monkeypatch.setenv(name, "https://evil.example")
    monkeypatch.setenv("POD", "my-pod-7f9c")
    monkeypatch.setenv("TAGS", "v1.2.3")
    assert resolve_settings().url == "https://api.na1.insightly.com/v3.1"


def test_argument_overrides_the_environment_unless_it_is_none(monkeypatch):
    monkeypatch.setenv("SOURCES__INSIGHTLY__PAGE_SIZE", "50")
    assert resolve_settings(page_size=20).page_size == 20
    assert resolve_settings(page_size=None).page_size == 50


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("page_size", 0, "from 1 to 500"),
        ("page_size", 501, "from 1 to 500"),
        ("page_size", "abc", "whole number"),
        ("page_size", 2.5, "whole number"),
        ("page_size", True, "whole number"),
        ("page_size", "1e400", "whole number"),
        ("lookback_seconds", 0, "from 1"),
        ("requests_per_second", 0, "above 0"),
        ("max_calls", "1_000", "whole number"),
        ("max_calls", "\u0661\u0660", "whole number"),
        ("requests_per_second", float("nan"), "above 0"),
        ("max_connections", 0, "from 1 to 64"),
        ("chunk_calls", 0, "from 1"),
        ("max_calls", -1, "from 0"),
        ("quota_reserve", -1, "from 0"),
        ("max_deleted_share", 1.5, "up to 1"),
        ("full_every", 0, "above 0"),
        ("tags", "none", "one of auto, endpoint, embedded, off"),
        ("deletions", "delete", "one of mark, remove"),
        ("start_date", "yesterday", "ISO date"),
        ("start_date", "2999-01-01", "not in the future"),
        ("start_date", 20250131, "ISO date"),
        ("entities", 5, "names"),
        ("entities", [5], "names"),
        ("hash", "email", "entity.column"),
        ("drop", ["a.b.c"], "entity.column"),
        ("pages", 5, "known are api_key, pod"),
    ],
)
def test_invalid_value_error_says_what_is_accepted(name, value, accepted):
    with pytest.raises(BadSetting) as caught:
        resolve_settings(**{name: value})
    assert f"sources.insightly.{name} is " in str(caught.value)
    assert accepted in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("value", ["abc", "", "2.5", "[1]"])
def test_invalid_type_in_the_environment_is_a_bad_setting(monkeypatch, value):
    monkeypatch.setenv("SOURCES__INSIGHTLY__PAGE_SIZE", value)
    with pytest.raises(BadSetting, match="whole number") as caught:
        resolve_settings()
    assert caught.value.__cause__ is caught.value.__context__ is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.datetimes() | st.binary(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=4,
    )
)
def test_no_value_raises_anything_but_a_configuration_error(value):
    for name in ("page_size", "entities", "start_date", "tags", "max_deleted_share", "hash", "pod", "base_url"):
        try:
            resolve_settings(**{name: value})
        except ConfigurationError as error:
            named = error.setting
        else:
            continue
        assert named == f"sources.insightly.{name}"


@pytest.mark.parametrize(
    ("value", "iso"),
    [
        ("2025-01-31", "2025-01-31T00:00:00Z"),
        ("2025-01-31T10:00:00+02:00", "2025-01-31T08:00:00Z"),
        ("2025-01-31 10:00:00", "2025-01-31T10:00:00Z"),
        ("2025-01-31T10:00:00.9Z", "2025-01-31T10:00:00Z"),
        (date(2025, 1, 31), "2025-01-31T00:00:00Z"),
        (datetime(2025, 1, 31, 10), "2025-01-31T10:00:00Z"),
        (datetime(2025, 1, 31, 10, tzinfo=UTC), "2025-01-31T10:00:00Z"),
        ("", None),
    ],
)
def test_start_date_is_converted_to_utc(value, iso):
    assert resolve_settings(start_date=value).start_date_iso == iso


@pytest.mark.parametrize("key", [None, "", "  \n", "<configure me>"])
def test_settings_resolve_without_a_key_until_it_is_required(key):
    settings = resolve_settings(api_key=key)
    with pytest.raises(MissingKey) as caught:
        settings.require_key()
    for part in ("SOURCES__INSIGHTLY__API_KEY", "secrets.toml", "User Settings > API", "is not set"):
        assert part in str(caught.value)


@pytest.mark.parametrize("key", [f"{KEY}:", f"{KEY} {KEY}", "schlüssel", "a\x00b"])
def test_invalid_key_error_does_not_show_the_key(key):
    with pytest.raises(BadSetting, match="ASCII") as caught:
        resolve_settings(api_key=key)
    assert key not in str(caught.value)
    assert key not in repr(caught.value.args)


@pytest.mark.parametrize("quotes", ['""', "''", "\u201c\u201d", '"\n'])
def test_quoted_key_is_refused_with_what_to_remove(monkeypatch, quotes):
    monkeypatch.setenv("SOURCES__INSIGHTLY__API_KEY", f"{quotes[0]}{KEY}{quotes[1]}")
    with pytest.raises(BadSetting, match=r"api_key is .*in quotes; remove them.*User Settings > API") as caught:
        resolve_settings()
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_key_in_config_toml_error_names_secrets_toml(tmp_path):
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt/config.toml").write_text(f'[sources.insightly]\napi_key = "{KEY}"\n')
    with (
        switched_run_context(str(tmp_path)),
        pytest.raises(BadSetting, match=r"secrets\.toml.*User Settings > API") as caught,
    ):
        resolve_settings()
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_key_is_in_no_text_of_the_settings():
    settings = resolve_settings(api_key=KEY)
    for text in (repr(settings), str(settings), f"{settings}"):
        assert KEY not in text
        assert "page_size=500" in text
    with pytest.raises(RefusedHost) as caught:
        resolve_settings(pod=KEY)
    assert KEY not in str(caught.value) + repr(caught.value)


def test_errors_survive_pickling():
    error = BadSetting("sources.insightly.page_size", 0, "must be more")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.setting) == (str(error), error.setting)


def test_settings_are_a_dlt_spec():
    assert InsightlySettings.get_resolvable_fields()["page_size"] is int
