"""What is told of a destination that cannot be written, and what keeps two of them apart."""

import json
import sys
from pathlib import Path

import pytest

from pipelines.cli.__main__ import main
from pipelines.destinations.target import Target, Unreachable
from sources.insightly.errors import BadSetting
from tests.support.crm import Crm
from tests.support.process import reach

Captured = pytest.CaptureFixture[str]
POSTGRES, BIGQUERY = "DESTINATION__POSTGRES__CREDENTIALS", "DESTINATION__BIGQUERY__CREDENTIALS"


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("postgres", {}, "has no host"),
        ("postgres", {POSTGRES: "s3cr3t"}, "postgresql://username:password@host:port/database"),
        ("filesystem", {}, "bucket_url"),
        ("snowflake", {}, "no account host"),
        ("bigquery", {}, "Missing"),
        ("nowhere", {}, "no destination of that name"),
    ],
)
def test_what_is_not_configured_is_told_before_anything_is_read(
    crm: Crm, name: str, settings: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    for setting, value in {**reach(crm.sandbox), **settings}.items():
        monkeypatch.setenv(setting, value)
    assert main(["sync", "contacts", "--destination", name, "--json"]) == 2
    told = capfd.readouterr()
    assert words in json.loads(told.out)["reason"]
    assert crm.sandbox.log == []
    assert "Traceback" not in told.err
    assert "s3cr3t" not in told.out + told.err


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(POSTGRES, "postgresql://loader:unused@localhost:1/crm")
    for module in [name for name in sys.modules if name.startswith("dlt.destinations.impl.postgres.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(BadSetting, match=r"pip install 'dlt\[postgres\]'"):
        Target("postgres").pipeline()
    monkeypatch.delitem(sys.modules, "dlt.common.libs.deltalake", raising=False)
    monkeypatch.setitem(sys.modules, "deltalake", None)
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(tmp_path))
    with pytest.raises(BadSetting, match=r"pip install 'dlt\[deltalake\]'"):
        Target("filesystem").pipeline()


def test_a_server_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(POSTGRES, "postgresql://loader:s3cr3t@127.0.0.1:1/crm")
    with pytest.raises(Unreachable, match="cannot be read") as told:
        Target("postgres").pipeline()
    assert "refused" in str(told.value)
    assert "s3cr3t" not in str(told.value)


def test_places_of_one_server_are_kept_apart_and_a_password_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    def digest(url: str, dataset: str = "insightly") -> str:
        monkeypatch.setenv(POSTGRES, url)
        return Target("postgres", dataset).digest

    known = digest("postgresql://loader:old@db.example.com/crm")
    assert digest("postgresql://loader:new@db.example.com:5432/crm") == known
    others = [
        digest("postgresql://loader:old@db.example.com/other"),
        digest("postgresql://loader:old@db.example.com:5433/crm"),
        digest("postgresql://loader:old@elsewhere.example.com/crm"),
        digest("postgresql://loader:old@db.example.com/crm", "another"),
    ]
    for project in ("a", "b"):
        monkeypatch.setenv(
            BIGQUERY, f'{{"project_id": "{project}", "private_key": "unused", "client_email": "loader@example.com"}}'
        )
        others.append(Target("bigquery").digest)
    for folder in ("/data/a", "/data/b"):
        monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", folder)
        others.append(Target("filesystem").digest)
    assert len({known, *others}) == 9


def test_a_file_is_for_duckdb_alone() -> None:
    with pytest.raises(BadSetting, match="only DuckDB takes a file"):
        Target("postgres", database="crm.duckdb").pipeline()
