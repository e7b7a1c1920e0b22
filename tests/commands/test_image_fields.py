"""Custom fields that single records have and lists leave out: images."""

from functools import partial
from typing import Any

import pytest

from pipelines.sandbox import Store
from sources.insightly.state.request import ReadRequest
from tests.support.commands import MakeCrm, refreshed, verified
from tests.support.crm import Crm


def set_field(store: Store, key: Any, name: str, value: Any) -> None:
    entries = [entry for entry in store.get("contacts", key)["CUSTOMFIELDS"] if entry["FIELD_NAME"] != name]  # type: ignore[index]
    store.update("contacts", key, {"CUSTOMFIELDS": [*entries, {"FIELD_NAME": name, "FIELD_VALUE": value}]})


def photos(crm: Crm) -> dict[int, str | None]:
    rows = crm.read("select contact_id, photo__c from insightly.contacts where photo__c is not null")
    return {row["contact_id"]: row["photo__c"] for row in rows}


@pytest.mark.sample(0)
@pytest.mark.parametrize("make_crm", ["duckdb", "postgres"], indirect=True)
def test_list_keeps_the_images_of_single_records(make_crm: MakeCrm) -> None:
    crm = make_crm(0.005)
    store, (first, second, *_) = crm.sandbox.store, crm.sandbox.store.tables["contacts"].keys
    store.define("CONTACT", "Photo__c", "IMAGE")
    store.define("CONTACT", "Hobby__c", "TEXT")
    set_field(store, first, "Photo__c", "https://images/1")
    set_field(store, second, "Photo__c", "https://images/2")
    sync = partial(crm.sync_done, "contacts", history=["contacts"])
    sync()
    assert "photo__c" not in crm.columns("contacts")
    refreshed(crm, "contacts", ids=[first], history=["contacts"])
    versions = crm.count("contacts_history")
    assert photos(crm) == {first: "https://images/1"}
    for request in (ReadRequest(), ReadRequest(full=True)):
        sync(request=request)
        assert photos(crm) == {first: "https://images/1"}
        assert crm.count("contacts_history") == versions
    set_field(store, first, "Hobby__c", "Chess")
    sync()
    assert photos(crm) == {first: "https://images/1"}
    assert crm.read(f"select hobby__c from insightly.contacts where contact_id = {first}") == [{"hobby__c": "Chess"}]
    verified(crm, "contacts", full=True)
    set_field(store, first, "Photo__c", None)
    set_field(store, second, "Photo__c", "https://images/new")
    refreshed(crm, "contacts", ids=[first, second])
    assert photos(crm) == {second: "https://images/new"}
    verified(crm, "contacts", full=True)
