"""`make demo`, twice, on a small CRM."""

import re
from collections import Counter
from functools import partial
from pathlib import Path

import duckdb
import pytest

from pipelines.sandbox import Sandbox, demo


@pytest.mark.sample(0)
def test_demo_answers_by_currency_and_says_what_it_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("SOURCES__INSIGHTLY__REQUESTS_PER_SECOND", "1000")
    monkeypatch.setattr(demo, "Sandbox", partial(Sandbox, scale=0.08))
    assert demo.main() == 0
    first = capfd.readouterr().out
    assert "records that have changed" not in first
    with duckdb.connect("demo.duckdb", read_only=True) as database:
        sql = "select pipeline_id, stage_id, bid_currency from insightly.opportunities where opportunity_state = 'OPEN'"
        deals = Counter(database.sql(sql).fetchall())
        answer = database.sql(demo.QUERY).fetchall()
    assert len({currency for *_, currency in deals}) > 1
    assert sorted(row[3] for row in answer) == sorted(deals.values())
    assert all(text in first for text in ("wrote demo.html", "contacts", "fresh"))
    assert Path("demo.html").exists()
    assert demo.main() == 0
    second = capfd.readouterr().out
    read = re.search(r"this sync read the ([\d,]+) records that have changed. It read ([\d,]+) rows of lists", second)
    assert read is not None
    with duckdb.connect("demo.duckdb", read_only=True) as database:
        rows = database.sql(
            "select sum(rows) from insightly._sync_runs group by run_id order by max(started)"
        ).fetchall()
    assert sum(int(count.replace(",", "")) for count in read.groups()) == rows[-1][0] < rows[0][0]
