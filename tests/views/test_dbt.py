"""`insightly marts --dbt`: the files of the package, and a folder that has files of others."""

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment

from pipelines.views.build import bundled
from pipelines.views.comments import Descriptions
from pipelines.views.dbt.folder import NOTE, write
from pipelines.views.dbt.models import ModelWriter, Names, escape_jinja
from pipelines.views.dbt.sources import source_tables
from pipelines.views.dialect import TESTED, ViewWriter
from pipelines.views.lineage import origins
from pipelines.views.marts import Mart, MartPlan, Tables, load, plan
from pipelines.views.relations import known_tables
from sources.insightly import ENTITIES
from sources.insightly.errors import BadSetting
from tests.support.crm import Crm
from tests.support.expected import normalize
from tests.support.process import command

KNOWN = known_tables(normalize)
MARTS = {mart.name: mart for mart in load(bundled())}
JINJA = Environment()


def schema(tables: Tables) -> dict[str, Any]:
    """Tables as dlt stores them."""
    return {
        name: {"columns": {column: {"data_type": kind} for column, kind in columns.items()}}
        for name, columns in tables.items()
    }


@cache
def planned(marts: tuple[Mart, ...]) -> dict[str, MartPlan]:
    """The plans of marts over all tables that an account can have."""
    return {each.mart.name: each for each in plan(marts, KNOWN, KNOWN)}


def models(marts: tuple[Mart, ...], dialect: str = "duckdb", tables: Tables = KNOWN) -> ModelWriter:
    """The writer of the models over some tables, or over all that an account can have."""
    writer = ViewWriter(dialect, str, lambda name: (name,), lambda name: (name,))
    sources = source_tables(schema(tables), ENTITIES, normalize, lambda table, column: f"{table} {column}")
    plans = planned(marts) if tables is KNOWN else {each.mart.name: each for each in plan(marts, tables, KNOWN)}
    return ModelWriter(writer, Names("insightly", str), sources, plans)


def calls(sql: str) -> set[str]:
    """The calls of `ref` and `source` in a model; there is no other Jinja in it."""
    found = re.findall(r"{{ (.*?) }}", sql)
    assert "{" not in re.sub(r"{{ .*? }}", "", sql)
    return set(found)


def mart(text: str, name: str = "mine") -> Mart:
    return Mart.parse(name, text, own=True)


def model(text: str, tables: Tables = KNOWN, *others: Mart) -> str:
    written = models((mart(text), *others), tables=tables)
    return written.mart(written.plans["mine"])


@pytest.mark.parametrize(
    ("table", "call"),
    [
        ("current_contacts", "ref('stg_insightly__contacts')"),
        ("contacts", "source('insightly', 'contacts')"),  # with the deleted ones
        ("pipelines", "ref('stg_insightly__pipelines')"),
        ("contacts__tags", "source('insightly', 'contacts__tags')"),
        ("opportunities_history", "source('insightly', 'opportunities_history')"),
        ("_sync_runs", "source('insightly', '_sync_runs')"),
        ("stage_stays", "ref('insightly__stage_stays')"),
    ],
)
def test_model_reads_what_has_the_same_rows(table: str, call: str) -> None:
    assert calls(model(f"select count(*) as n from {table}", KNOWN, MARTS["stage_stays"])) == {call}


def test_model_reads_the_source_for_columns_that_staging_lacks() -> None:
    tables = {**KNOWN, "pipelines": {**KNOWN["pipelines"], "_dlt_load_id": "VARCHAR"}}
    assert calls(model("select _dlt_load_id from pipelines", tables)) == {"source('insightly', 'pipelines')"}
    assert calls(model("select pipeline_id from pipelines", tables)) == {"ref('stg_insightly__pipelines')"}


def test_missing_tables_are_in_no_call() -> None:
    tables = {name: KNOWN[name] for name in ("tasks", "opportunities", "contacts")}
    late = models((MARTS["overdue_tasks"],), tables=tables)
    assert calls(late.mart(late.plans["overdue_tasks"])) == {"ref('stg_insightly__tasks')"}
    text = "-- Optional: leads\nselect task_id from current_tasks union all select lead_id from current_leads"
    assert calls(model(text, tables)) == {"ref('stg_insightly__tasks')"}
    # The other mart has no model, because all of its tables are missing.
    other = mart("-- Optional: leads\nselect lead_id from current_leads", "theirs")
    assert calls(model("select task_id, lead_id from tasks, theirs", tables, other)) == {"source('insightly', 'tasks')"}


@pytest.mark.sample(2)
@pytest.mark.parametrize("dialect", TESTED)
def test_every_mart_refers_only_to_models_and_sources(dialect: str) -> None:
    written = models(tuple(MARTS.values()), dialect)
    staged = {written.names.staging(table.name) for table in written.sources.values() if table.staged}
    marts = {written.names.mart(name) for name, each in written.plans.items() if not each.mart.generated}
    for each in written.plans.values():
        if not each.mart.generated:
            for call in calls(written.mart(each)):
                function, *names = re.findall(r"\w+", call)
                assert names[-1] in (written.sources if function == "source" else staged | marts), call


def test_staging_models_have_live_rows_without_columns_of_this_tool() -> None:
    columns = {"contact_id": "BIGINT", "_deleted_at": "TIMESTAMPTZ", "_dlt_load_id": "VARCHAR"}
    tags = {"contact_id": "BIGINT", "list_idx": "BIGINT", "tag_name": "VARCHAR", "_is_empty": "BOOLEAN"}
    written = models((), tables={"contacts": columns, "contacts__tags": tags})
    source = "{{ source('insightly', 'contacts') }}"
    assert " ".join(written.staging(written.sources["contacts"]).split()) == (
        f'SELECT "contact_id" FROM {source} AS "contacts" WHERE "_deleted_at" IS NULL'
    )
    child = " ".join(written.staging(written.sources["contacts__tags"]).split())
    assert child.startswith('SELECT "contact_id", "list_idx", "tag_name" FROM ')
    assert '"contacts"."contact_id" = "contacts__tags"."contact_id" AND "contacts"."_deleted_at" IS NULL' in child


def test_sources_are_what_the_schema_says() -> None:
    stored = schema(KNOWN) | {"_dlt_loads": {"columns": {"load_id": {"data_type": "text"}}}}
    stored["contacts"]["description"] = "A person."
    stored["contacts"]["columns"] |= {"hobby__c": {"data_type": "text", "description": "Hobby"}, "unseen": {}}
    stored["contacts"]["references"] = [
        {"columns": ["owner_user_id"], "referenced_table": "users", "referenced_columns": ["user_id"]},
        {"columns": ["a", "b"], "referenced_table": "tags", "referenced_columns": ["record_type", "tag_name"]},
    ]
    sources = source_tables(stored, ENTITIES, normalize, lambda table, column: f"{table} {column}")
    assert sources.keys() == KNOWN.keys()
    contacts = sources["contacts"]
    assert (contacts.key, contacts.description, contacts.entity) == (("contact_id",), "A person.", "contacts")
    assert contacts.references == {"owner_user_id": ("users", "user_id")}
    assert contacts.columns == {**{name: f"contacts {name}" for name in KNOWN["contacts"]}, "hobby__c": "Hobby"}
    assert sources["contacts__tags"].key == ("contact_id", "list_idx")
    assert sources["opportunities_history"].key == ("opportunity_id", "_dlt_valid_from")
    assert (sources["_sync_runs"].key, sources["_sync_runs"].entity, sources["_sync_runs"].staged) == ((), None, False)


@pytest.mark.parametrize("text", ["{{ 1 }}", "{% if x %}", "{# not #}", "{{{", "a { b } {", "{ {", "}} %} #}", "{"])
def test_jinja_in_a_text_stays_text(text: str) -> None:
    assert JINJA.from_string(escape_jinja(text)).render() == text
    sql = model(f"select '{text}' as x, count(*) as n from tasks")
    assert f"'{text}'" in JINJA.from_string(sql).render(source=lambda *_: "t", ref=lambda _: "t")


def test_origins_lead_through_subqueries_and_unions() -> None:
    text = """
        with a as (select contact_id, first_name as name, 1 as one from current_contacts),
        b as (select contact_id, name from a union all select contact_id, name from a)
        select b.contact_id, b.name, upper(a.name) as loud, a.one from b join a on a.contact_id = b.contact_id"""
    query = planned((mart(text),))["mine"].query
    assert query is not None
    assert origins(query, KNOWN) == {
        "contact_id": ("contacts", "contact_id"),
        "name": ("contacts", "first_name"),
        "loud": None,
        "one": None,
    }


def test_every_column_of_every_mart_is_described() -> None:
    described = Descriptions({}, KNOWN)
    for name, each in planned(tuple(MARTS.values())).items():
        if not each.mart.generated:
            assert each.query is not None
            texts = described.comments(each)
            assert texts.keys() == {"", *each.query.named_selects}
            assert [key for key, text in texts.items() if not text] == [], f"{name}: add a line to columns.toml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "package", FILES)
    return tmp_path / "package"


FILES = {
    "dbt_project.yml": "name: x\n",
    "models/a.sql": "select 1\n",
    "models/b.sql": "select 2\n",
    "README.md": "# x\n",
}


def contents(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_files_are_written_once_and_removed_when_gone(folder: Path) -> None:
    before = contents(folder)
    assert before.keys() == FILES.keys()
    assert all(NOTE.encode() in content.splitlines()[0] for content in before.values())
    again = write(folder, FILES)
    assert (again.written, again.removed, again.unchanged) == ([], [], 4)
    assert contents(folder) == before
    (folder / "models/mine.sql").write_text("select 3")
    (folder / "models/a.sql").write_bytes(before["models/a.sql"].replace(b"\n", b"\r\n"))
    less = write(folder, {**FILES, "models/b.sql": "select 4\n"} | {"models/c.sql": "select 5\n"})
    assert (sorted(less.written), less.removed) == (["models/a.sql", "models/b.sql", "models/c.sql"], [])
    gone = write(folder, {name: text for name, text in FILES.items() if name != "models/b.sql"})
    assert gone.removed == ["models/b.sql", "models/c.sql"]
    assert contents(folder) == {name: before[name] for name in FILES if name != "models/b.sql"} | {
        "models/mine.sql": b"select 3"
    }


def foreign(folder: Path) -> None:
    (folder / "models/a.sql").write_text("select 'mine'")


def changed(folder: Path) -> None:
    with (folder / "models/b.sql").open("a") as file:
        file.write("-- mine\n")


def link(folder: Path) -> None:
    (folder / "README.md").unlink()
    (folder.parent / "elsewhere.md").write_text("mine")
    (folder / "README.md").symlink_to(folder.parent / "elsewhere.md")


@pytest.mark.parametrize(
    ("meddle", "message"),
    [
        (foreign, "models/a.sql was not written by insightly: name another folder"),
        (changed, "models/b.sql was changed since it was written"),
        (link, "README.md was not written by insightly"),
    ],
)
def test_files_of_others_are_neither_replaced_nor_removed(
    folder: Path, meddle: Callable[[Path], None], message: str
) -> None:
    meddle(folder)
    before = contents(folder)
    for files in (FILES, {"dbt_project.yml": "name: y\n", "README.md": "", "models/a.sql": ""}):
        with pytest.raises(BadSetting, match=re.escape(message)):
            write(folder, files)
        assert contents(folder) == before


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BadSetting, match=r"--dbt is '.*/file': is a file: name a folder"):
        write(tmp_path / "file", FILES)
    (tmp_path / "models").write_text("mine")
    with pytest.raises(BadSetting, match=r"models.* cannot be written: (File exists|Not a directory)"):
        write(tmp_path, FILES)


def marts(crm: Crm, *arguments: str, code: int = 0) -> Any:
    done = command("marts", *arguments, "--json", *crm.arguments(), cwd=crm.folder)
    assert done.code == code, done.err
    return json.loads(done.out)


def test_command_writes_a_package_and_refuses_a_project_of_others(synced_crm: Crm, tmp_path: Path) -> None:
    folder = tmp_path / "insightly_dbt"
    report = marts(synced_crm, "--dbt", str(folder))
    assert report["status"] == "done"
    assert report["marts"]["tags_by_record_type"]["model"] == "insightly__tags_by_record_type"
    assert report["marts"]["overdue_tasks"] | {"answers": ""} == {
        **{"state": "skipped", "reason": "needs tasks (never loaded)", "answers": "", "view": None, "rows": None},
        **{"needs": ["tasks", "users"], "without": [], "model": None},
    }
    assert report["dbt"] == {
        **{"folder": str(folder), "package": "insightly", "written": report["dbt"]["written"]},
        **{"removed": [], "unchanged": 0},
    }
    assert sorted(report["dbt"]["written"]) == sorted(contents(folder))
    project = yaml.safe_load((folder / "dbt_project.yml").read_text())
    assert "profile" not in project
    (source,) = yaml.safe_load((folder / "models/sources.yml").read_text())["sources"]
    tables = {table["name"]: table for table in source["tables"]}
    assert "organisations" not in tables
    assert {column["name"] for column in tables["contacts"]["columns"]} == set(synced_crm.columns("contacts"))
    (folder / "dbt_project.yml").write_text("name: theirs\n")
    refused = marts(synced_crm, "--dbt", str(folder), code=2)
    assert "dbt_project.yml was not written by insightly: name another folder, such as" in refused["reason"]
    assert not synced_crm.read("select 1 from duckdb_schemas() where schema_name = 'insightly_marts'")
