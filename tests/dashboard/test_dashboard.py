"""The dashboard's page: what it tells of runs, what it makes of hostile names, and how it is served."""

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
from pipelines.dashboard.page import Page, age, number, share
from pipelines.dashboard.serve import Dashboard, server
from pipelines.destinations.target import Busy, NothingSynced, Target
from sources.insightly.errors import BadSetting
from tests.support.crm import OPEN, Crm
from tests.support.process import command, reach

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)


class Reader(HTMLParser):
    """What a page shows, its tags, and whatever it would fetch from elsewhere."""

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


def test_it_tells_rows_deletions_runs_and_calls(synced_crm: Crm) -> None:
    crm = synced_crm
    gone = crm.sandbox.store.tables["contacts"].keys[0]
    crm.sandbox.store.delete("contacts", gone)
    sweep(crm.settings(), target(crm), ["contacts"])
    told = page(crm).health
    assert told is not None
    by_name = {each.entity: each for each in told.entities}
    contacts = crm.sandbox.store.count("contacts")
    assert (by_name["contacts"].live, by_name["contacts"].deleted) == (contacts, 1)
    assert by_name["contacts"].swept is not None
    assert by_name["leads"].swept is None
    assert [(each.entity, each.found, each.restored) for each in told.deletions] == [("contacts", 1, 0)]
    assert [run.command for run in told.runs[:2]] == ["sweep", "sync"]
    assert told.calls[-1][1] == sum(run.calls for run in told.runs)
    assert told.account == "Sandbox Trading"
    assert (told.verdict, told.failures) == ("fresh", [])


def test_it_tells_failures_and_what_is_stale(synced_crm: Crm) -> None:
    crm = synced_crm
    crm.sandbox.switches = replace(OPEN, forbidden=frozenset({"notes"}), missing=frozenset({"leads"}))
    crm.sync("notes", "leads", "contacts")
    told = page(crm)
    assert told.health is not None
    by_name = {each.entity: each for each in told.health.entities}
    assert (by_name["leads"].state, by_name["contacts"].state) == ("skipped", "ok")
    assert by_name["leads"].reason
    assert told.health.verdict == "fresh"
    assert "leads" in Reader(told.html()).text
    late = build_page(target(crm), timedelta(seconds=1)).health
    assert late is not None
    assert late.verdict in ("fresh", "stale")
    stale = replace(late, entities=[replace(each, stale=True) for each in late.entities])
    assert stale.verdict == "stale"
    failed = replace(late, entities=[replace(each, state="failed") for each in late.entities])
    assert failed.verdict == "failed"
    assert "could not be brought up to date" in replace(told, health=failed).html()


def test_a_page_needs_nothing_but_itself_and_escapes_what_people_wrote(synced_crm: Crm) -> None:
    told = page(synced_crm)
    assert told.health is not None
    hostile = '<script>alert("x")</script><img src=http://example.com/x>'
    entities = [replace(each, reason=hostile) for each in told.health.entities]
    read = Reader(replace(told, health=replace(told.health, account=hostile, entities=entities)).html())
    assert read.fetched == []
    assert read.text.count(hostile) >= 1 + len(entities)
    assert "http-equiv" in told.html()


def test_nothing_synced_is_told_and_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(NothingSynced, match="insightly sync"):
        build_page(Target(database=str(tmp_path / "none.duckdb")), timedelta(days=1))
    assert "insightly sync" in Reader(Page("here", NOW, None).html()).text


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="--export"):
        export(Page("here", NOW, None), tmp_path / "nowhere" / "page.html")


@contextmanager
def served(make: Callable[[], Page]) -> Iterator[Callable[..., tuple[int, str]]]:
    with server(Dashboard(make), 0) as at:
        thread = threading.Thread(target=at.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()

        def get(path: str = "/", host: str | None = None) -> tuple[int, str]:
            port = int(at.server_address[1])
            connection = HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{port}"})
            answer = connection.getresponse()
            read = answer.status, answer.read().decode()
            connection.close()
            return read

        try:
            yield get
        finally:
            at.shutdown()
            thread.join()


def test_it_is_served_to_this_machine_alone() -> None:
    with served(lambda: Page("here", NOW, None)) as get:
        assert get()[0] == 200
        assert get("/etc/passwd")[0] == 404
        assert get(host="rebound.example.com:80")[0] == 403


def test_while_a_run_is_at_work_the_last_page_is_shown() -> None:
    answers: list[Page | Exception] = [Busy("at work"), Page("here", NOW, None), Busy("at work"), OSError("broken")]

    def make() -> Page:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with served(make) as get:
        assert [get()[0] for _ in range(4)] == [503, 200, 200, 503]


def test_the_command_exports_a_file_and_tells_its_figures(synced_crm: Crm, tmp_path: Path) -> None:
    where = ("--database", str(synced_crm.database))
    ran = command("dashboard", "--export", "page.html", *where, cwd=tmp_path, **reach(synced_crm.sandbox))
    assert ran.code == 0, ran.err
    assert "page.html" in ran.out
    html = (tmp_path / "page.html").read_text()
    assert "Sandbox Trading" in Reader(html).text
    assert synced_crm.sandbox.key not in html
    told = command("dashboard", "--json", *where, cwd=tmp_path).json
    assert told["health"]["verdict"] == "fresh"
    assert {picture["key"] for picture in told["pictures"]} == {"funnel", "won", "activity"}
    assert synced_crm.sandbox.log == []
    missing = command("dashboard", "--json", "--database", "none.duckdb", cwd=tmp_path)
    assert (missing.code, missing.json["status"]) == (1, "failed")


def test_ages_and_numbers_read_well() -> None:
    said = [age(NOW - timedelta(minutes=each), NOW) for each in (0, 5, 119, 150, 60 * 47, 60 * 24 * 3)]
    assert said == ["just now", "5 min ago", "119 min ago", "2 hours ago", "47 hours ago", "3 days ago"]
    assert [number(each) for each in (0, 1234567, 12.345, 1234.5)] == ["0", "1,234,567", "12.3", "1,234"]
    assert [share(1, 4), share(0, 0), share(-1, 4)] == [25.0, 0, 0]
