"""What every loaded entity promises: its tables, its types, its key, its rows, and what a run costs."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from pipelines.engine.report import Report
from pipelines.sandbox import Call, Contents
from sources.insightly import ENTITIES
from sources.insightly.entities import OBJECTS, RECORDS
from sources.insightly.fields import child_fields
from tests.support.crm import OPEN, Crm, attached, columns, contents_of, isolated_crm, read
from tests.support.expected import SQL_TYPES, normalize

LOADED = [
    name for name, entity in ENTITIES.items() if entity.read not in ("embedded", "per_parent") and name != RECORDS
]
INCREMENTAL = [name for name in LOADED if ENTITIES[name].read == "incremental"]
DEFINED = [name for name in LOADED if ENTITIES[name].custom_fields]
CHILDREN = [(name, array) for name in LOADED for array in ENTITIES[name].arrays]


@dataclass
class Runs:
    """Two syncs of one account without a change in between."""

    crm: Crm
    first: Report
    first_log: list[Call]
    second: Report
    second_log: list[Call]

    @property
    def defined(self) -> int:
        """The number of objects with definitions of custom fields."""
        return len(DEFINED) + self.crm.sandbox.store.count(OBJECTS)

    def calls(self, entity: str) -> int:
        """The calls that an unchanged entity costs."""
        return {"tags": 6, "custom_fields": self.defined}.get(entity, 1)


@pytest.fixture(scope="module", params=["full", pytest.param("empty", marks=pytest.mark.sample(0))])
def any_runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """The runs of an account with records, and of an empty account."""
    contents = contents_of(0.1) if request.param == "full" else Contents()
    with isolated_crm(tmp_path_factory.mktemp(request.param), contents=contents) as crm:
        first, first_log = crm.sync_done(*LOADED), list(crm.sandbox.log)
        second, second_log = crm.sync_done(*LOADED), list(crm.sandbox.log)
        yield Runs(crm, first, first_log, second, second_log)


@pytest.mark.parametrize("entity", LOADED)
def test_each_field_has_a_column_of_its_type(any_runs: Runs, entity: str) -> None:
    types = columns(any_runs.crm.database, entity)
    wanted = {normalize(name): SQL_TYPES[field.type] for name, field in ENTITIES[entity].fields.items()}
    assert {name: types.get(name) for name in wanted} == wanted


@pytest.mark.parametrize(("entity", "array"), CHILDREN)
def test_each_array_has_a_child_table(any_runs: Runs, entity: str, array: str) -> None:
    types = columns(any_runs.crm.database, f"{entity}__{array.lower()}")
    key = {normalize(part): SQL_TYPES[ENTITIES[entity].fields[part].type] for part in ENTITIES[entity].key}
    items = {normalize(name): SQL_TYPES[field.type] for name, field in child_fields(array).items()}
    assert types == {**items, **key, "list_idx": "BIGINT", "_is_empty": "BOOLEAN"}


@pytest.mark.parametrize("entity", LOADED)
def test_key_is_unique_and_not_null(any_runs: Runs, entity: str) -> None:
    key = ", ".join(normalize(part) for part in ENTITIES[entity].key)
    sql = f"select {key}, count(*) as n from insightly.{entity} group by all having n > 1 or ({key}) is null"
    assert read(any_runs.crm.database, sql) == []


@pytest.mark.parametrize("entity", LOADED)
def test_rows_equal_the_account(any_runs: Runs, entity: str) -> None:
    any_runs.crm.assert_equal(entity)


@pytest.mark.parametrize("entity", LOADED)
def test_unchanged_run_writes_nothing(any_runs: Runs, entity: str) -> None:
    report = any_runs.second.entities[entity]
    assert (report.state, report.merged) == ("ok", 0)
    if ENTITIES[entity].read == "incremental":
        assert report.rows == 0


@pytest.mark.parametrize("entity", LOADED)
def test_unchanged_run_costs_one_call(any_runs: Runs, entity: str) -> None:
    assert any_runs.second.entities[entity].calls == any_runs.calls(entity)


def test_unchanged_run_of_core_costs_22_calls(any_runs: Runs) -> None:
    crm = any_runs.crm
    assert crm.sync_done("core").calls == crm.sandbox.calls() == 22


def test_first_run_reads_lists_definitions_and_account(any_runs: Runs) -> None:
    defined = sum(call.path.startswith("/CustomFields/") for call in any_runs.first_log)
    assert defined == any_runs.defined  # once each, by the object whose records came or for the table of definitions
    assert sum(call.path == "/Instance" for call in any_runs.first_log) == 2  # the account's, and the entity of its own
    assert any_runs.first.calls == len(any_runs.first_log) == sum(map(any_runs.calls, LOADED)) + 1


@pytest.mark.parametrize("entity", INCREMENTAL)
def test_filter_is_sent_only_to_search(any_runs: Runs, entity: str) -> None:
    path, search = f"/{ENTITIES[entity].path}", f"/{ENTITIES[entity].search_path}"
    first = [call for call in any_runs.first_log if call.path in (path, search)]
    second = [call for call in any_runs.second_log if call.path in (path, search)]
    assert {call.path for call in first} == {path}
    assert {call.path for call in second} == {search}
    assert not any("updated_after_utc" in call.query for call in first)
    assert {call.query["updated_after_utc"] for call in second} == {any_runs.first.entities[entity].watermark}


def test_filter_is_sent_nowhere_else(any_runs: Runs) -> None:
    filtered = [call.path for call in any_runs.second_log if "updated_after_utc" in call.query]
    assert sorted(filtered) == sorted(f"/{ENTITIES[name].search_path}" for name in INCREMENTAL)


@pytest.mark.parametrize("any_runs", ["full"], indirect=True)
def test_forbidden_entity_is_skipped_and_keeps_its_table(any_runs: Runs) -> None:
    crm = any_runs.crm
    before = everything(crm)
    for kind, code in (("forbidden", "403"), ("missing", "404")):
        crm.sandbox.switches = replace(OPEN, **{kind: frozenset(ENTITIES)})
        report = crm.sync(*LOADED)
        assert (report.exit_code, report.calls) == (1, crm.sandbox.calls())
        for entity in report.entities.values():
            assert (entity.state, entity.merged, entity.deleted) == ("skipped", 0, 0)
            assert code in (entity.reason or "")
        assert everything(crm) == before
    crm.sandbox.switches = OPEN


def everything(crm: Crm) -> dict[str, object]:
    """The rows of all tables."""
    tables = [*LOADED, *(f"{name}__{array.lower()}" for name, array in CHILDREN)]
    with attached(crm.database) as connection:
        return {table: connection.sql(f"select * from insightly.{table} order by all").fetchall() for table in tables}
