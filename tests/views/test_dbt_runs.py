"""A real dbt over the package of a synced account: it builds, its tests pass, and its models say what the views say."""

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from pipelines.views.build import create_views
from tests.support.commands import MakeCrm, delete, swept
from tests.support.crm import Crm, PostgresCrm
from tests.support.dbt import SCHEMA, Dbt
from tests.support.process import command
from tests.support.push import ids

pytestmark = pytest.mark.sample(0)

QUIRK = '{{ 1 / 0 }} {% raw %} it\'s: # "odd"'
"""A label that is no YAML, and that dbt must not render."""
ENTITIES = ("core", "comments", "custom_objects", "custom_object_records", "emails", "follows", "teams")


@pytest.fixture
def crm(make_crm: MakeCrm) -> Crm:
    """An account that was synced with what it has: a history, custom objects, deleted records."""
    crm = make_crm(scale=0.02)
    crm.sandbox.store.define("CONTACT", "Quirk__c", "TEXT", QUIRK, [])
    crm.sync_done(*ENTITIES, history=["opportunities"])
    for entity in ("contacts", "opportunities"):
        delete(crm, entity, *ids(crm, entity)[:2])
    swept(crm, "contacts", "opportunities")
    return crm


def write(crm: Crm, folder: Path) -> None:
    """Writes the package, as its user does."""
    done = command("marts", "--dbt", str(folder), *crm.arguments(), cwd=crm.folder)
    assert done.code == 0, done.err


def installed(package: Path, folder: Path) -> None:
    """A project of somebody that has the package among others, and other limits of freshness."""
    folder.mkdir()
    (folder / "packages.yml").write_text(yaml.safe_dump({"packages": [{"local": str(package)}]}))
    limits = {"error_after": {"count": 1, "period": "hour"}}
    project = {"name": "shop", "models": {"insightly": {"marts": {"+materialized": "table"}}}}
    sources = {"insightly": {"+freshness": limits}}
    (folder / "dbt_project.yml").write_text(yaml.safe_dump({**project, "sources": sources}))


def tables_of(crm: Crm) -> dict[str, set[str]]:
    """The columns of the tables that the sync made, from the database."""
    sql = """select table_name, column_name from information_schema.columns
             where table_schema = 'insightly' and table_name not like '\\_dlt\\_%' escape '\\'"""
    found: dict[str, set[str]] = {}
    for row in crm.read(sql):
        found.setdefault(row["table_name"], set()).add(row["column_name"])
    return found


def by_name(nodes: dict[str, Any]) -> dict[str, set[str]]:
    """The columns of sources or models in a file of dbt."""
    return {name.rpartition(".")[2]: set(node["columns"]) for name, node in nodes.items()}


def rows(crm: Crm, relation: str) -> list[str]:
    return sorted(str(sorted(row.items())) for row in crm.read(f"select * from {relation}"))


@pytest.mark.parametrize("make_crm", ["duckdb", "postgres"], indirect=True)
def test_package_builds_and_says_what_the_views_say(crm: Crm, tmp_path: Path) -> None:
    package, project = tmp_path / "package", tmp_path / "package"
    write(crm, package)
    if isinstance(crm, PostgresCrm):
        url = urlsplit(crm.url)
        host = parse_qs(url.query)["host"][0]
        output = {"type": "postgres", "host": host, "port": 5432, "user": "postgres", "password": "unused"}
        output["dbname"] = url.path[1:]
    else:
        output = {"type": "duckdb", "path": str(crm.database)}
        project = tmp_path / "project"
        installed(package, project)
    dbt = Dbt(project, output)
    # The build compiled the models; compiling them again would replace its results.
    dbt.run(*(["deps"] if project != package else []), "build", "source freshness", "docs generate --no-compile")

    results = {result["unique_id"]: result["status"] for result in dbt.artifact("run_results")["results"]}
    kinds = Counter((name.partition(".")[0], status) for name, status in results.items())
    assert kinds.keys() <= {("model", "success"), ("test", "pass"), ("test", "warn"), ("exposure", "no-op")}
    warned = [name for name, status in results.items() if status == "warn"]
    assert all(".source_relationships_" in name for name in warned)

    fresh = {result["unique_id"].rpartition(".")[2]: result for result in dbt.artifact("sources")["results"]}
    runs = crm.read("select entity, max(started) as at from insightly._sync_runs where command = 'sync' group by 1")
    for run in runs:
        if run["entity"] in fresh:
            assert datetime.fromisoformat(fresh[run["entity"]]["max_loaded_at"]) == run["at"]
    assert {result["status"] for result in fresh.values()} == {"pass"}
    assert fresh.keys() == tables_of(crm).keys()

    catalog, manifest = dbt.artifact("catalog"), dbt.artifact("manifest")
    assert by_name(catalog["sources"]) == by_name(manifest["sources"]) == tables_of(crm)
    models = {name: node for name, node in manifest["nodes"].items() if name.startswith("model.")}
    assert by_name(catalog["nodes"]) == by_name(models)
    columns = [
        column for node in (*manifest["sources"].values(), *models.values()) for column in node["columns"].items()
    ]
    assert [name for name, column in columns if not column["description"]] == []
    assert {column["description"] for name, column in columns if name == "quirk__c"} == {f'Custom field "{QUIRK}".'}

    create_views(crm.target)
    views = {row["mart"] for row in crm.read("select mart from insightly_marts._marts")}
    assert {"current_contacts", "stage_stays", "opportunities_wide", "record_links"} <= views
    for view in views:
        live = view.removeprefix("current_")
        model = f"insightly__{view}" if live == view else f"stg_insightly__{live}"
        assert rows(crm, f"{SCHEMA}.{model}") == rows(crm, f"insightly_marts.{view}"), view
    assert crm.count("contacts__tags") > len(rows(crm, f"{SCHEMA}.stg_insightly__contacts__tags"))
    assert crm.sync("contacts").exit_code == 0
