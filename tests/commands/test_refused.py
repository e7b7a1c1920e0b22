"""What a command reports when the API refuses everything, or what it answered with before."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import dlt
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from pipelines.cli.console import show
from pipelines.cli.metrics import exposition
from pipelines.commands.check import check
from pipelines.commands.entities import entities
from pipelines.commands.plan import plan
from pipelines.commands.status import status
from pipelines.dashboard.build import build_page
from pipelines.destinations.recovery import cause
from pipelines.engine.report import Report
from pipelines.sandbox import Fault
from sources.insightly import insightly
from sources.insightly.errors import NotAvailable
from sources.insightly.state.request import ReadRequest
from tests.support.commands import MakeCrm, swept, verified
from tests.support.crm import OPEN, Crm
from tests.support.process import command, reach

HOUR = timedelta(hours=1)
TINY = 0.005


def every_refusal(test: Callable[..., None]) -> Callable[..., None]:
    """Runs a test with the page of a firewall; in `make test-all`, with a 403 and a 404 of the API too."""
    return pytest.mark.sample(1)(pytest.mark.parametrize("kind", ["blocked", "forbidden", "missing"])(test))


def refuse(crm: Crm, kind: str, match: str = "*") -> None:
    crm.sandbox.faults.add(Fault(kind, match, times=None))


def age(crm: Crm, entity: str) -> None:
    """Lets the last complete sync of an entity be two hours older."""
    crm.change(f"update insightly._sync_runs set started = started - interval 2 hour where entity = '{entity}'")


def assert_nothing_available(report: Report) -> None:
    assert (report.exit_code, report.status) == (1, "failed")
    assert "nothing is available" in str(report.reason)


@every_refusal
def test_everything_refused_fails(make_crm: MakeCrm, kind: str) -> None:
    crm = make_crm(TINY)
    refuse(crm, kind)
    report = crm.sync()
    assert {entity.state for entity in report.entities.values()} == {"skipped"}
    assert_nothing_available(report)
    assert not any(entity.lost for entity in report.entities.values())
    assert_nothing_available(swept(crm, code=1))
    assert_nothing_available(verified(crm, code=1))
    assert_nothing_available(plan(crm.settings(), crm.target, (), ReadRequest()))
    assert_nothing_available(entities(crm.settings()))
    assert check(crm.settings()).exit_code == 1
    assert status(crm.settings(), crm.target).exit_code == 0
    stale = status(crm.settings(), crm.target, max_age=HOUR)
    assert (stale.exit_code, "ever synced" in str(stale.reason)) == (1, True), stale.reason
    health = build_page(crm.target, HOUR).health
    assert health is not None
    assert health.verdict == "failed"


@pytest.mark.sample(0)
@every_refusal
def test_everything_lost_fails_and_grows_stale(
    make_crm: MakeCrm, kind: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    crm = make_crm(TINY)
    names = ("contacts", "tasks", "countries")
    crm.sync_done(*names, entities=list(names))
    refuse(crm, kind)
    report = crm.sync(entities=list(names))
    assert_nothing_available(report)
    assert all(entity.lost and not entity.schema_changes for entity in report.entities.values())
    assert ("a firewall or proxy may have refused" in str(report.reason)) == (kind == "blocked")
    assert all("no longer available, last read at" in str(entity.reason) for entity in report.entities.values())
    assert caplog.text.count("no longer available") == 3
    show(report)
    assert "no longer available" in capsys.readouterr().out
    assert_nothing_available(swept(crm, code=1, entities=list(names)))
    assert_nothing_available(verified(crm, code=1, entities=list(names)))
    assert status(crm.settings(), crm.target, max_age=HOUR).exit_code == 0
    for name in names:
        age(crm, name)
    assert status(crm.settings(), crm.target, max_age=HOUR).exit_code == 1
    health = build_page(crm.target, HOUR).health
    assert health is not None
    assert health.verdict == "stale"


def test_lost_entity_differs_from_one_that_never_was_available(
    make_crm: MakeCrm, capsys: pytest.CaptureFixture[str]
) -> None:
    crm = make_crm(TINY)
    crm.sandbox.switches = replace(OPEN, forbidden=frozenset({"products"}))
    entities = ["contacts", "notes", "products"]
    first = crm.sync_done(entities=entities)
    crm.sandbox.switches = replace(OPEN, forbidden=frozenset({"products", "contacts"}))
    report = crm.sync_done(entities=entities)
    products, contacts, notes = (report.entities[name] for name in ("products", "contacts", "notes"))
    assert (products.state, products.lost, "lost" in products.to_dict()) == ("skipped", False, False)
    assert (contacts.state, contacts.lost, contacts.to_dict()["lost"]) == ("skipped", True, True)
    assert contacts.watermark == first.entities["contacts"].watermark
    assert contacts.last_read == first.entities["contacts"].last_read
    assert (notes.last_read or "") >= (first.entities["notes"].last_read or "")
    metrics = exposition(report, 0).decode()
    assert 'insightly_entity_lost{command="sync",entity="contacts"} 1.0' in metrics
    assert 'insightly_entity_lost{command="sync",entity="products"} 0.0' in metrics
    assert 'insightly_entity_last_read_timestamp_seconds{command="sync",entity="contacts"}' in metrics
    assert 'insightly_entity_last_read_timestamp_seconds{command="sync",entity="products"}' not in metrics
    for name in ("contacts", "products"):
        age(crm, name)
    stale = status(crm.settings(), crm.target, max_age=HOUR)
    assert [name for name, entity in stale.entities.items() if entity.facts["stale"]] == ["contacts"]
    show(stale)
    health = build_page(crm.target, HOUR).health
    assert health is not None
    assert [each.entity for each in health.entities if each.stale] == ["contacts"]


@pytest.mark.parametrize(("entity", "match"), [("tags", "record_type=leads"), ("comments", "Notes/.*/Comments")])
def test_entity_that_lost_a_part_is_not_ok(make_crm: MakeCrm, entity: str, match: str) -> None:
    crm = make_crm(0.02)
    crm.sync_done(entity)
    refuse(crm, "forbidden", f"regex:{match}")
    crm.clock.advance()
    for key in crm.sandbox.store.tables["notes"].keys:
        crm.sandbox.store.touch("notes", key)
    report = crm.sync(entities=[entity, "currencies"])
    assert (report.entities[entity].state, report.entities[entity].lost) == ("skipped", True)


@every_refusal
def test_check_that_reads_nothing_exits_with_1(make_crm: MakeCrm, kind: str, tmp_path: Path) -> None:
    crm = make_crm(TINY)
    refuse(crm, kind)
    ran = command("check", "--json", cwd=tmp_path, **reach(crm.sandbox))
    assert (ran.code, ran.json["status"]) == (1, "failed")
    assert "nothing can be read" in ran.json["reason"]


def test_check_names_a_base_url_without_its_version(make_crm: MakeCrm) -> None:
    crm = make_crm(TINY)
    report = check(crm.settings(base_url=crm.sandbox.url.removesuffix("/v3.1")))
    assert report.exit_code == 1
    assert "base_url: the address of the API ends with /v3.1" in str(report.reason)


@every_refusal
def test_source_raises_if_everything_is_refused(make_crm: MakeCrm, kind: str, tmp_path: Path) -> None:
    crm = make_crm(TINY)
    refuse(crm, kind)
    pipeline = dlt.pipeline("other", pipelines_dir=str(tmp_path / "other"), destination="duckdb")
    source = insightly(entities=["contacts", "tasks"], api_key=crm.sandbox.key, base_url=crm.sandbox.url)
    with pytest.raises(PipelineStepFailed) as caught:
        pipeline.extract(source)
    assert isinstance(cause(caught.value, crm.target), NotAvailable)


@pytest.mark.parametrize("path", ["regex:^Notes/Search", "regex:^Notes/Search.*updated_after"])
def test_search_answered_with_404_is_empty_only_if_it_may_be(make_crm: MakeCrm, path: str) -> None:
    crm = make_crm(TINY)
    crm.first_sync("notes")
    refuse(crm, "missing", path)
    report = crm.sync("notes")
    assert report.entities["notes"].state == ("skipped" if path.endswith("Search") else "ok")


def test_unchanged_entity_whose_search_answers_with_404_is_ok(make_crm: MakeCrm) -> None:
    crm = make_crm(TINY, switches=replace(OPEN, search_none="404"))
    first = crm.sync_done("notes", "contacts")
    report = crm.sync_done("notes", "contacts")
    assert report.entities["notes"].watermark > first.entities["notes"].watermark  # type: ignore[operator]
    crm.clock.advance()
    crm.sandbox.store.touch("notes", crm.sandbox.store.tables["notes"].keys[0])
    assert crm.sync_done("notes", "contacts").entities["notes"].rows == 1
