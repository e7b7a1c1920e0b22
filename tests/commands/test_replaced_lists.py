"""Lists that each sync replaces: an implausible loss of rows is refused until a sweep is forced."""

import pytest

from tests.support.commands import MakeCrm, refreshed, swept
from tests.support.crm import Crm

TINY = 0.005


def empty(crm: Crm, *entities: str) -> None:
    for entity in entities:
        for key in list(crm.sandbox.store.tables[entity].keys):
            crm.sandbox.store.delete(entity, key)


def test_emptied_list_is_refused_until_a_sweep_is_forced(make_crm: MakeCrm) -> None:
    crm, names = make_crm(TINY), ("countries", "pipeline_stages", "lead_sources")
    crm.sync_done(*names)
    before = {name: crm.count(name) for name in names}
    empty(crm, "countries", "pipeline_stages")
    for _ in range(2):
        report = crm.sync(*names)
        states = [report.entities[name].state for name in names]
        assert (report.exit_code, states) == (1, ["failed", "failed", "ok"])
        assert f"{before['countries']} of the {before['countries']} rows of countries" in str(report.reason)
        assert "insightly sweep pipeline_stages --force" in str(report.reason)
        assert {name: crm.count(name) for name in names} == before
    assert swept(crm, "countries").entities["countries"].merged == 0
    assert crm.count("countries") == before["countries"]
    swept(crm, *names, force=True)
    assert [crm.count(name) for name in names] == [0, 0, before["lead_sources"]]
    crm.sync_done(*names)


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("left", "share", "refused"), [(30, 0.2, True), (50, 0.2, False), (30, 0.6, False), (0, 0.6, True), (0, 1, False)]
)
def test_share_of_a_replaced_list_that_may_be_gone(make_crm: MakeCrm, left: int, share: float, refused: bool) -> None:
    crm = make_crm(TINY)
    keys = crm.sandbox.store.tables["countries"].keys
    for key in list(keys)[60:]:
        crm.sandbox.store.delete("countries", key)
    crm.first_sync("countries")
    for key in list(keys)[left:]:
        crm.sandbox.store.delete("countries", key)
    report = crm.sync("countries", max_deleted_share=share)
    assert report.exit_code == int(refused)
    assert crm.count("countries") == (60 if refused else left)


def test_few_rows_of_a_short_list_may_go(make_crm: MakeCrm) -> None:
    crm = make_crm(TINY)
    crm.sync_done("lead_sources")
    for key in list(crm.sandbox.store.tables["lead_sources"].keys)[1:]:
        crm.sandbox.store.delete("lead_sources", key)
    crm.sync_done("lead_sources")
    assert crm.count("lead_sources") == 1


def test_count_of_a_list_outlives_the_read_of_one_record(make_crm: MakeCrm) -> None:
    crm = make_crm(TINY)
    crm.sync_done("pipelines")
    count, key = crm.count("pipelines"), crm.sandbox.store.tables["pipelines"].keys[0]
    refreshed(crm, "pipelines", ids=[key])
    empty(crm, "pipelines")
    assert crm.sync("pipelines").exit_code == 1
    assert crm.count("pipelines") == count


@pytest.mark.sample(0)
def test_groups_count_as_one_list(make_crm: MakeCrm) -> None:
    crm = make_crm(0.02)
    store = crm.sandbox.store
    contact, tagged = store.tables["contacts"].keys[0], ("contacts", "leads", "opportunities", "organisations")
    crm.sync_done("tags")
    for key in store.tables["leads"].keys:
        store.set_tags("leads", key, [])
    crm.sync_done("tags")
    crm.assert_equal("tags")
    store.set_tags("contacts", contact, [f"tag {number}" for number in range(60)])
    crm.sync_done("tags")
    loaded = crm.count("tags")
    store.set_tags("contacts", contact, ["the last"])
    report = crm.sync("tags")
    assert (report.exit_code, "insightly sweep tags --force" in str(report.reason)) == (1, True)
    assert crm.count("tags") == loaded
    swept(crm, "tags", force=True)
    crm.assert_equal("tags")
    for name in (*tagged, "projects", "emails"):
        for key in store.tables[name].keys:
            store.set_tags(name, key, [])
    assert crm.sync("tags").exit_code == 1
    assert crm.count("tags") > 0


def test_records_do_not_empty_the_definitions_of_custom_fields(make_crm: MakeCrm) -> None:
    crm = make_crm(TINY)
    crm.sync_done("contacts")
    count = crm.count("custom_fields")
    crm.sandbox.store.definitions.clear()
    crm.clock.advance()
    crm.sandbox.store.touch("contacts", crm.sandbox.store.tables["contacts"].keys[0])
    report = crm.sync_done("contacts")
    assert any("insightly sweep custom_fields --force" in note for note in report.entities["contacts"].schema_changes)
    assert crm.count("custom_fields") == count > 0
