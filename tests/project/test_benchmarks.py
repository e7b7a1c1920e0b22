"""The programs of `benchmarks/` run: at a tiny scale, without the other tools, and without a statement about time."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from benchmarks import calls, capacity, dashboard, limit, measure, size, startup, trace
from benchmarks.__main__ import PROGRAMS
from benchmarks.measure import UNLIMITED, InsightlySync, Result, Service, server
from benchmarks.render import plot
from pipelines.dashboard.build import build_page
from tests.support.crm import Crm, read
from tests.support.process import ROOT


@contextmanager
def synced(*options: str, **settings: str) -> Iterator[tuple[InsightlySync, Service]]:
    with (
        server(*options) as service,
        InsightlySync(service.url, requests_per_second=UNLIMITED, **settings) as insightly,
    ):
        insightly.sync("contacts")
        yield insightly, service


@pytest.mark.sample(0)
@pytest.mark.parametrize("options", [(), ("--without-tags",)], ids=["tags in records", "tags by endpoint"])
def test_server_returns_what_is_measured(options: tuple[str, ...]) -> None:
    with synced("--records", "300", *options) as (insightly, service):
        assert service.take_counts()["calls"] == (303 if options else 3)
        found = read(
            insightly.file,
            """select (select count(*) from insightly.contacts) as contacts,
                      (select count(distinct contact_id) from insightly.contacts where score__c is not null) as scored,
                      (select count(*) from insightly.contacts__tags) as tags,
                      (select count(*) from insightly.contacts__links) as links""",
        )
        assert found == [{"contacts": 300, "scored": 300, "tags": 600, "links": 300}]
        assert insightly.last_load() > 0


def test_server_pages_are_the_same_compressed_or_not() -> None:
    with server("--records", "20", "--wide") as service:
        params = {"top": 7, "skip": 14, "count_total": "true"}
        responses = [
            measure.requests.get(
                f"{service.url}/Contacts", params=params, headers={"Accept-Encoding": encoding}, timeout=9
            )
            for encoding in ("gzip", "identity")
        ]
        assert responses[0].content == responses[1].content
        rows = responses[0].json()
        assert [row["CONTACT_ID"] for row in rows] == list(range(15, 21))
        assert 95_000 < len(json.dumps(rows[0], separators=(",", ":"))) < 105_000
        later = {**params, "skip": 0, "updated_after_utc": rows[0]["DATE_UPDATED_UTC"]}
        found = measure.requests.get(f"{service.url}/Contacts/Search", params=later, timeout=9).json()
        assert all(row["DATE_UPDATED_UTC"] > later["updated_after_utc"] for row in found)


def test_server_refuses_requests_beyond_the_rate() -> None:
    with server("--records", "1", "--rate", "2") as service:
        codes = [measure.requests.get(f"{service.url}/Contacts", timeout=9).status_code for _ in range(6)]
        assert codes.count(429) == service.take_counts()["refused"] > 0


@pytest.mark.sample(0)
def test_calls_counts_requests_at_the_server() -> None:
    with server("--records", "1000") as service:
        assert calls.insightly_calls(service) == [
            5,
            1,
        ]  # three pages, as each overlaps the one before; definitions; the account


@pytest.mark.sample(0)
def test_limit_measures_from_the_first_request() -> None:
    result = limit.measure(records=50, scale=0.05)
    assert [row[0].split(",")[0] for row in result.rows] == ["50 contacts", "17 entities"]
    assert all(value > 0 for _, value in result.bars)


def test_timed_process_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="no such file"):
        measure.timed([startup.sys.executable, "-c", "raise SystemExit('no such file')"])


def test_page_shows_the_saved_results() -> None:
    saved = {path.stem: Result(**json.loads(path.read_text())) for path in (ROOT / "benchmarks/results").glob("*.json")}
    assert sorted(saved) == sorted(PROGRAMS)
    page = (ROOT / "docs/why/benchmarks.md").read_text(encoding="utf-8")
    for result in saved.values():
        assert f"## {result.title}\n" in page
        assert all(" | ".join(row) in page for row in result.rows)


def test_plot_draws_bars_to_scale() -> None:
    drawn = plot([("insightly, a < b", 1.0), ("floor", 0.5)], "s")
    widths = [
        int(part.partition('"')[0]) for part in drawn.split('<rect x="220"')[1:] for part in [part.split('width="')[1]]
    ]
    assert widths[0] == 2 * widths[1]
    assert "a &lt; b" in drawn


def test_capacity_tables_are_in_the_documentation() -> None:
    page = (ROOT / "docs/operate/scale.md").read_text(encoding="utf-8")
    assert capacity.tables() in page, "copy the output of python -m benchmarks.capacity into docs/operate/scale.md"


@pytest.mark.sample(0)
def test_size_measures_every_destination() -> None:
    result = size.measure(records=2_000)
    found = dict(result.bars)
    assert list(found) == ["JSON", "JSON, compressed", "DuckDB", "Postgres", "Delta tables"]
    assert 1_500 < found["JSON"] < 1_800
    assert all(found[name] > 0 for name in found)
    assert found["Postgres"] > 4 * 24, "each row in Postgres has a header of 24 bytes"


def test_dashboard_is_measured_over_generated_deals_and_tasks(synced_crm: Crm) -> None:
    synced_crm.sync_done("opportunities", "tasks", "users", "pipelines", "pipeline_stages")
    before = synced_crm.count("opportunities"), synced_crm.count("tasks")
    dashboard.fill(synced_crm.database, 500, ("EUR", "SEK"))
    assert (synced_crm.count("opportunities") - before[0], synced_crm.count("tasks") - before[1]) == (500, 500)
    shown = build_page(synced_crm.target, timedelta(days=1)).sales
    assert shown is not None
    assert {each.code for each in shown.currencies} >= {"EUR", "SEK"}
    assert min(shown.closed.won, shown.closed.lost, shown.closing.total, shown.late.total, shown.idle.total) > 0


def test_trace_counts_only_the_projects_code() -> None:
    names: dict[str, Any] = {}
    source = "def total():\n  return sum(one(n) for n in range(2))\ndef one(n):\n  return n\n"
    exec(compile(source, str(ROOT / "sources/example.py"), "exec"), names)
    with trace.tracing() as found:
        json.dumps(names["total"]())
    assert found.numbers() == {"files": 1, "functions": 3, "depth": 3}
    assert [line.split() for line in found.tree()] == [
        ["sources/example.py"],
        ["2", "one"],
        ["1", "total"],
        ["3", "total.<locals>.<genexpr>"],
        ["deepest", "stack"],
        ["1", "sources/example.py", "total"],
        ["2", "sources/example.py", "total.<locals>.<genexpr>"],
        ["3", "sources/example.py", "one"],
    ]


@pytest.mark.sample(0)
def test_trace_measures_a_sync_and_a_push() -> None:
    command = [sys.executable, "-m", "benchmarks.trace", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    found = json.loads(done.stdout)
    assert list(found) == ["sync contacts", "push of one row"]
    for numbers in found.values():
        assert numbers["functions"] > numbers["files"] > 10
        assert numbers["functions"] > numbers["depth"] > 5
