"""The settings `hash` and `drop`: no file has the values of their columns, and everything else works."""

import hmac
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.cli.__main__ import main
from sources.insightly.config.settings import resolve_settings
from sources.insightly.errors import BadSetting, ConfigurationError, MissingKey
from sources.insightly.rows.masking import hash_input
from tests.support.commands import delete, marked, swept, verified
from tests.support.crm import Crm
from tests.support.expected import Row
from tests.support.masking import HASH_KEY

PRIVATE: dict[str, Any] = {
    "hash": [
        "contacts.email_address",
        "contacts.hobby__c",
        "contacts.date_of_birth",
        "contacts__tags.tag_name",
        "leads.EMAIL",
    ],
    "drop": ["contacts.phone", "contacts.secret__c", "contacts__dates.occasion_name", "leads.lead_description"],
    "hash_key": HASH_KEY,
}
RAW = (
    "Ada.Planted@Example.COM",
    "ada.planted@example.com",
    "planted-hobby",
    "planted-secret",
    "1815-12-10",
    "planted-tag",
    "planted-occasion",
    "+44 7911 123456",
    "planted-description",
)
"""Values of one person that the account has nowhere else."""


@pytest.fixture
def planted(crm: Crm) -> Crm:
    """An account with a contact and a lead that have these values."""
    store = crm.sandbox.store
    store.define("CONTACT", "Hobby__c", "TEXT")
    store.define("CONTACT", "Secret__c", "TEXT")
    contact, lead = next(iter(store.tables["contacts"].keys)), next(iter(store.tables["leads"].keys))
    custom = {"Hobby__c": "planted-hobby", "Secret__c": "planted-secret"}
    store.update(
        "contacts",
        contact,
        {
            "EMAIL_ADDRESS": " Ada.Planted@Example.COM ",
            "PHONE": "+44 7911 123456",
            "DATE_OF_BIRTH": "1815-12-10 00:00:00",
            "CUSTOMFIELDS": [{"FIELD_NAME": name, "FIELD_VALUE": value} for name, value in custom.items()],
            "DATES": [{"OCCASION_NAME": "planted-occasion", "OCCASION_DATE": "2020-01-01 00:00:00"}],
        },
    )
    store.set_tags("contacts", contact, ["planted-tag"])
    store.update("leads", lead, {"EMAIL": "ada.planted@example.com", "LEAD_DESCRIPTION": "planted-description"})
    return crm


def digest(value: str) -> str:
    return hmac.digest(HASH_KEY.encode(), value.encode(), "sha256").hex()


def texts(folder: Path) -> Iterator[str]:
    """The content of the files of a folder as text: their bytes, and the values in tables."""
    for file in (path for path in folder.rglob("*") if path.is_file()):
        yield file.read_bytes().decode("utf-8", "replace")
        if file.suffix == ".parquet":
            yield str(pq.read_table(file).to_pylist())
        if file.suffix == ".duckdb":
            with duckdb.connect(str(file), read_only=True) as connection:
                for schema, table in connection.sql(
                    "select table_schema, table_name from information_schema.tables"
                ).fetchall():
                    yield str(connection.sql(f'select * from "{schema}"."{table}"').fetchall())


def found(folder: Path) -> set[str]:
    """The private values that a file of a folder contains; a date also in the format of Python."""
    forms = {raw: (raw, "1815, 12, 10") if raw == "1815-12-10" else (raw,) for raw in RAW}
    everything = list(texts(folder))
    return {raw for raw, shown in forms.items() if any(form in text for form in shown for text in everything)}


def row(crm: Crm, table: str, where: str) -> Row:
    return crm.read(f'select * from insightly."{table}" where {where}')[0]


@pytest.mark.sample(1)
@pytest.mark.parametrize("private", [True, False], ids=["private", "plain"])
def test_no_file_of_a_run_contains_a_masked_value(
    planted: Crm, private: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without masking, the search finds the values."""
    for name, value in {"api_key": planted.sandbox.key, "base_url": planted.sandbox.url}.items():
        monkeypatch.setenv(f"SOURCES__INSIGHTLY__{name.upper()}", value)
    for name, value in PRIVATE.items() if private else ():
        monkeypatch.setenv(f"SOURCES__INSIGHTLY__{name.upper()}", value if isinstance(value, str) else ",".join(value))
    monkeypatch.setenv("SOURCES__INSIGHTLY__HISTORY", "contacts,leads")
    monkeypatch.setenv("TMPDIR", str(planted.folder))
    for command in (["sync"], ["sweep", "--tags"], ["verify", "--full"]):
        assert main([*command, "contacts", "leads", "--json", "--database", str(planted.database)]) == 0
    output = capfd.readouterr()
    seen = found(planted.folder) | {raw for raw in RAW if raw in output.out + output.err}
    assert seen == (set() if private else {raw for raw in RAW if raw != "Ada.Planted@Example.COM"} | {RAW[0]})
    assert HASH_KEY not in output.out + output.err + "".join(texts(planted.folder))
    assert planted.count("contacts_history") == planted.count("contacts")


def test_hashed_columns_join_and_dropped_columns_are_missing(planted: Crm) -> None:
    planted.first_sync("contacts", "leads", **PRIVATE)
    hashed = digest("ada.planted@example.com")
    contact = row(planted, "contacts", f"email_address = '{hashed}'")
    assert contact["hobby__c"] == digest("planted-hobby")
    assert contact["date_of_birth"] == digest("1815-12-10 00:00:00")
    assert row(planted, "leads", f"email = '{hashed}'")["lead_id"]
    tag = row(planted, "contacts__tags", f"contact_id = {contact['contact_id']}")
    assert tag["tag_name"] == digest("planted-tag")
    assert not {"phone", "secret__c"} & planted.columns("contacts").keys()
    assert "occasion_name" not in planted.columns("contacts__dates")
    empty = planted.read("select count(*) as n from insightly.contacts where email_address is null")[0]["n"]
    assert empty == sum(not record["EMAIL_ADDRESS"] for record in planted.sandbox.store.rows("contacts"))


@pytest.mark.sample(0)
def test_next_sync_masks_loaded_rows_and_deleted_rows(planted: Crm) -> None:
    planted.first_sync("contacts", "leads", history=["contacts"])
    (gone,) = delete(planted, "contacts", planted.sandbox.store.rows("contacts")[0]["CONTACT_ID"])
    swept(planted, "contacts", history=["contacts"])
    assert marked(planted, "contacts") == [gone["CONTACT_ID"]]

    known = planted.count("contacts_history")
    later = {name: value for name, value in PRIVATE.items() if name != "hash"}
    later["hash"] = [name for name in PRIVATE["hash"] if name != "contacts.date_of_birth"]  # loaded as a date
    planted.sync_done("contacts", "leads", **later)
    for table, where in {
        "contacts": "_deleted_at is not null",
        "contacts_history": "_dlt_valid_to is not null",
    }.items():
        dead = row(planted, table, where)
        assert (dead["email_address"], dead["phone"], dead["hobby__c"]) == (None, None, None)
        plain = planted.read(f"select count(*) as n from insightly.{table} where email_address like '%@%'")[0]["n"]
        assert plain == 0, "a history that is no longer kept is emptied too"
    live = [record for record in planted.sandbox.store.rows("contacts") if record["EMAIL_ADDRESS"]]
    hashed_addresses = {each["email_address"] for each in planted.table("contacts")} - {None}
    assert hashed_addresses == {digest(str(hash_input(record["EMAIL_ADDRESS"]))) for record in live}
    planted.sync_done("contacts", "leads", history=["contacts"], **later)
    assert planted.sandbox.log[0].query.get("updated_after_utc"), "everything is read again once, not each time"
    assert planted.count("contacts_history") == known, "a hash is no other version"

    planted.sync_done("contacts", "leads")
    planted.assert_equal("contacts", "leads", deleted=True)


def test_hash_of_a_loaded_non_text_column_is_refused(planted: Crm) -> None:
    planted.first_sync("contacts")
    report = planted.sync("contacts", **PRIVATE)
    assert report.exit_code == 1
    assert "date_of_birth exists as" in str(report.entities["contacts"].reason)


@pytest.mark.sample(0)
def test_tag_sweep_accepts_hashed_tags(planted: Crm) -> None:
    planted.sync_done("contacts", **PRIVATE)
    assert swept(planted, "contacts", with_tags=True, **PRIVATE).entities["contacts"].merged == 0
    record = planted.sandbox.store.rows("contacts")[1]
    planted.sandbox.store.set_tags("contacts", record["CONTACT_ID"], ["moved"], touch=False)
    swept(planted, "contacts", with_tags=True, **PRIVATE)
    names = planted.read(f"select tag_name from insightly.contacts__tags where contact_id = {record['CONTACT_ID']}")
    assert [name["tag_name"] for name in names] == [digest("moved")]
    verified(planted, "contacts", full=True, **PRIVATE)


@pytest.mark.parametrize(
    ("setting", "column", "words"),
    [
        ("hash", "contacts.emial_address", "email_address"),
        ("drop", "contact.phone", "contacts"),
        ("hash", "contacts.contact_id", "key"),
        ("drop", "contacts.date_updated_utc", "cursor"),
        ("drop", "contacts.tags", "contacts__tags.tag_name"),
        ("hash", "contacts__tags.list_idx", "key"),
        ("drop", "phone", "entity.column"),
    ],
)
def test_masking_refuses_unsuitable_columns(setting: str, column: str, words: str) -> None:
    with pytest.raises(BadSetting, match=words) as refused:
        resolve_settings(**{setting: [column], "hash_key": HASH_KEY})
    assert f"sources.insightly.{setting}" in str(refused.value)


def test_error_about_a_record_quotes_no_value(planted: Crm, capfd: pytest.CaptureFixture[str]) -> None:
    key = next(iter(planted.sandbox.store.tables["contacts"].keys))
    record = planted.sandbox.store.get("contacts", key) or {}
    planted.sandbox.store.tables["contacts"].put(key, orjson.dumps({**record, "CONTACT_ID": None}))
    report = planted.sync("contacts", **PRIVATE)
    assert "a row without CONTACT_ID came; its keys are ['ADDRESS_MAIL_CITY'" in str(report.entities["contacts"].reason)
    output = capfd.readouterr()
    assert found(planted.folder) == set()
    assert not [raw for raw in RAW if raw in output.out + output.err + str(report.to_dict())]


def test_hashing_without_a_key_reads_nothing(planted: Crm) -> None:
    with pytest.raises(MissingKey, match="hash_key"):
        planted.sync("contacts", hash=["contacts.email_address"])
    assert planted.sandbox.log == []
    assert HASH_KEY not in repr(resolve_settings(**PRIVATE))


def test_masking_refuses_an_unknown_custom_field(planted: Crm) -> None:
    with pytest.raises(ConfigurationError, match="hobby__c"):
        planted.sync("contacts", drop=["contacts.hobbi__c"])


@given(st.emails())
def test_hash_ignores_case_and_blanks_of_an_address(address: str) -> None:
    assert hash_input(f" {address.upper()} ") == hash_input(address.upper().lower()) or not address.isascii()
