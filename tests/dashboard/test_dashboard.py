"""The page of the dashboard: what it shows of runs, how it escapes hostile names, and how it is served."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from http.client import HTTPConnection
from pathlib import Path

import pytest

from pipelines.commands.sweep import sweep
from pipelines.dashboard.build import build_page, export
from pipelines.dashboard.charts import compact, number, share
from pipelines.dashboard.page import Page, age
from pipelines.dashboard.serve import Dashboard, server
from pipelines.destinations.locks import Busy
from pipelines.destinations.target import NothingSynced, Target
from sources.insightly.errors import BadSetting
from tests.support.crm import OPEN, Crm
from tests.support.expected import CORE
from tests.support.process import command, reach

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)


class Reader(HTMLParser):
    """The text of a page, its tags, and the resources that it would fetch."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self.fetched = "", list[str](), list[str]()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [f"{tag} {name}" for name, value in attrs if name in ("src", "srcset", "data") and value]
        self.fetched += [tag] if tag in ("link", "script", "iframe", "object", "embed") else []

    def handle_data(self, data: str) -> None:
        self.text += f"{data.strip()} "


def target(crm: Crm) -> Target:
    return Target(database=str(crm.database))


def page(crm: Crm, max_age: timedelta = timedelta(days=1)) -> Page:
    return build_page(target(crm), max_age)


def test_page_shows_rows_deletions_runs_and_calls(synced_crm: Crm) -> None:
    crm = synced_crm
    gone = crm.sandbox.store.tables["contacts"].keys[0]
    crm.sandbox.store.delete("contacts", gone)
    sweep(crm.settings(), target(crm), ["contacts"])
    health = page(crm).health
    assert health is not None
    by_name = {each.entity: each for each in health.entities}
    contacts = crm.sandbox.store.count("contacts")
    assert (by_name["contacts"].live, by_name["contacts"].deleted) == (contacts, 1)
    assert by_name["contacts"].swept is not None
    assert by_name["leads"].swept is None
    assert [(each.entity, each.found, each.restored) for each in health.deletions] == [("contacts", 1, 0)]
    assert [run.command for run in health.runs[:2]] == ["sweep", "sync"]
    assert health.calls[-1][1] == sum(run.calls for run in health.runs)
    assert health.account == "Sandbox Trading"
    assert (health.verdict, health.failures) == ("fresh", [])


def test_page_shows_failures_and_stale_entities(synced_crm: Crm) -> None:
    crm = synced_crm
    crm.sandbox.switches = replace(OPEN, forbidden=frozenset({"notes"}), missing=frozenset({"leads"}))
    crm.sync("notes", "leads", "contacts")
    shown = page(crm)
    assert shown.health is not None
    by_name = {each.entity: each for each in shown.health.entities}
    assert (by_name["leads"].state, by_name["contacts"].state) == ("skipped", "ok")
    assert by_name["leads"].reason
    assert shown.health.verdict == "fresh"
    assert "leads" in Reader(shown.html()).text
    late = build_page(target(crm), timedelta(seconds=1)).health
    assert late is not None
    assert late.verdict in ("fresh", "stale")
    stale = replace(late, entities=[replace(each, stale=True) for each in late.entities])
    assert stale.verdict == "stale"
    failed = replace(late, entities=[replace(each, state="failed") for each in late.entities])
    assert failed.verdict == "failed"
    assert f"The last sync failed:</strong> {', '.join(by_name)}." in replace(shown, health=failed).html()


def test_page_says_a_cause_of_many_failures_once(synced_crm: Crm) -> None:
    crm = synced_crm
    for _ in range(3):
        crm.sync(api_key="wrong")
    shown = page(crm)
    assert shown.health is not None
    (failure,) = shown.health.failures
    assert (failure.entity, failure.text.endswith("(3 times)")) == (f"all {len(CORE)}", True)
    assert Reader(shown.html()).text.count("401 Unauthorized") == 2  # the failure, and the first of the runs


def test_page_fetches_nothing_and_escapes_text_of_people(synced_crm: Crm) -> None:
    shown = page(synced_crm)
    assert shown.health is not None
    hostile = '<script>alert("x")</script><img src=http://example.com/x>'
    entities = [replace(each, reason=f"{each.entity} {hostile}") for each in shown.health.entities]
    read = Reader(replace(shown, health=replace(shown.health, account=hostile, entities=entities)).html())
    assert read.fetched == []
    assert read.text.count(hostile) >= 1 + len(entities)
    assert "http-equiv" in shown.html()


def test_page_without_a_sync_says_how_to_start(tmp_path: Path) -> None:
    with pytest.raises(NothingSynced, match="insightly sync"):
        build_page(Target(database=str(tmp_path / "none.duckdb")), timedelta(days=1))
    assert "insightly sync" in Reader(Page("here", NOW, None).html()).text


def test_export_refuses_an_unwritable_file(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="--export"):
        export(Page("here", NOW, None), tmp_path / "nowhere" / "page.html")


@contextmanager
def served(build: Callable[[], Page]) -> Iterator[Callable[..., tuple[int, str]]]:
    with server(Dashboard(build), 0) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()

        def get(path: str = "/", host: str | None = None, method: str = "GET") -> tuple[int, str]:
            port = int(running.server_address[1])
            connection = HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request(method, path, headers={"Host": host or f"127.0.0.1:{port}"})
            answer = connection.getresponse()
            read = answer.status, answer.read().decode()
            connection.close()
            return read

        try:
            yield get
        finally:
            running.shutdown()
            thread.join()


def test_page_is_served_to_this_machine_only() -> None:
    with served(lambda: Page("here", NOW, None)) as get:
        assert get()[0] == 200
        assert get("/etc/passwd")[0] == 404
        assert get(host="rebound.example.com:80")[0] == 403
        assert get(method="HEAD") == (200, "")
        assert get("/etc/passwd", method="HEAD") == (404, "")


def test_server_shows_the_last_page_during_a_run() -> None:
    answers: list[Page | Exception] = [Busy("at work"), Page("here", NOW, None), Busy("at work"), OSError("broken")]

    def build() -> Page:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with served(build) as get:
        assert [get()[0] for _ in range(4)] == [503, 200, 200, 503]


def test_command_exports_a_file_and_prints_figures(synced_crm: Crm, tmp_path: Path) -> None:
    where = ("--database", str(synced_crm.database))
    ran = command("dashboard", "--export", "page.html", *where, cwd=tmp_path, **reach(synced_crm.sandbox))
    assert ran.code == 0, ran.err
    assert "page.html" in ran.out
    html = (tmp_path / "page.html").read_text()
    assert "Sandbox Trading" in Reader(html).text
    assert synced_crm.sandbox.key not in html
    figures = command("dashboard", "--json", *where, cwd=tmp_path).json
    assert figures["health"]["verdict"] == "fresh"
    assert figures["sales"]["missing"]["stages"] == "needs opportunities (never loaded)"
    assert synced_crm.sandbox.log == []
    missing = command("dashboard", "--json", "--database", "none.duckdb", cwd=tmp_path)
    assert (missing.code, missing.json["status"]) == (1, "failed")


def test_ages_and_numbers_are_formatted() -> None:
    ages = [age(NOW - timedelta(minutes=each), NOW) for each in (0, 5, 119, 150, 60 * 47, 60 * 24 * 3)]
    assert ages == ["just now", "5 min ago", "119 min ago", "2 hours ago", "47 hours ago", "3 days ago"]
    assert [number(each) for each in (0, 1234567, 12.345, -1234.5)] == ["0", "1,234,567", "12", "-1,234"]
    labels = [compact(each) for each in (0, 0.4, 950, 999.6, 1240, 12_600, 999_600, 1_500_000, 2e9, 3e12)]
    assert labels == ["", "0", "950", "1k", "1.2k", "13k", "1M", "1.5M", "2B", "3T"]
    assert [share(1, 4), share(0, 0), share(-1, 4)] == [25.0, 0, 0]
