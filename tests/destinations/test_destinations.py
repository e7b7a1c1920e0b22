"""Errors of destinations that cannot be written, and the digest that identifies a destination."""

import json
import logging
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dlt
import pytest
from dlt.common.configuration.specs import CredentialsConfiguration
from dlt.common.configuration.specs.base_configuration import CredentialsWithDefault
from dlt.common.schema import Schema

from pipelines.cli.__main__ import main
from pipelines.destinations.base import Unreachable
from pipelines.destinations.delta import DeltaFilesystem
from pipelines.destinations.dlt_caches import cache_configuration
from pipelines.destinations.target import Target
from sources.insightly.errors import BadSetting, InsightlyError
from tests.support.crm import Crm
from tests.support.process import reach

Captured = pytest.CaptureFixture[str]
POSTGRES, BIGQUERY = "DESTINATION__POSTGRES__CREDENTIALS", "DESTINATION__BIGQUERY__CREDENTIALS"


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("postgres", {}, "has no host"),
        ("postgres", {POSTGRES: "s3cr3t"}, "postgresql://username:password@host:port/database"),
        ("filesystem", {}, "bucket_url"),
        ("snowflake", {}, "no account host"),
        ("bigquery", {}, "Missing"),
        ("nowhere", {}, "no destination of that name"),
    ],
)
def test_missing_configuration_is_reported_before_a_request(
    crm: Crm, name: str, settings: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    for setting, value in {**reach(crm.sandbox), **settings}.items():
        monkeypatch.setenv(setting, value)
    assert main(["sync", "contacts", "--destination", name, "--json"]) == 2
    printed = capfd.readouterr()
    assert message in json.loads(printed.out)["reason"]
    assert crm.sandbox.log == []
    assert "Traceback" not in printed.err
    assert "s3cr3t" not in printed.out + printed.err


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(POSTGRES, "postgresql://loader:unused@localhost:1/crm")
    clients = "dlt.destinations.impl.postgres.", "pipelines.destinations.postgres_client"
    for module in [name for name in sys.modules if name.startswith(clients)]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(BadSetting, match=r"pip install 'dlt\[postgres\]'"):
        Target("postgres").pipeline()
    monkeypatch.delitem(sys.modules, "dlt.common.libs.deltalake", raising=False)
    monkeypatch.setitem(sys.modules, "deltalake", None)
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(tmp_path))
    with pytest.raises(BadSetting, match=r"pip install 'dlt\[deltalake\]'"):
        Target("filesystem").pipeline()


def test_unreachable_server_is_reported_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(POSTGRES, "postgresql://loader:s3cr3t@127.0.0.1:1/crm")
    with pytest.raises(Unreachable, match="cannot be read") as raised:
        Target("postgres").pipeline()
    assert "refused" in str(raised.value)
    assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql+psycopg2://loader:s3cr3t@127.0.0.1:1/crm", "begins with postgresql://"),
        ("POSTGRESQL://loader:s3cr3t@127.0.0.1:1/crm", "begins with postgresql://"),
        ("mysql://loader:s3cr3t@127.0.0.1:1/crm", "begins with postgresql://"),
        ("postgresql://loader:pa@s3cr3t@127.0.0.1:1/crm", "write %40"),
        ("postgresql://loader:pa/s3cr3t@127.0.0.1:1/crm", "cannot be read"),
        ("postgresql://loader:s3cr3t@127.0.0.1:1/crm?s3cr3t=1", "cannot be read"),
        ("host=127.0.0.1 password=s3cr3t", "cannot parse the configuration value"),
        ('{"host": "127.0.0.1", "password": "s3cr3t",', "cannot parse the configuration value"),
    ],
)
def test_odd_urls_are_reported_without_the_password(url: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(POSTGRES, url)
    with pytest.raises(InsightlyError, match=message) as raised:
        Target("postgres").pipeline()
    printed = "".join(traceback.TracebackException.from_exception(raised.value).format())
    assert "s3cr3t" not in printed


def test_digest_differs_by_database_and_not_by_password(monkeypatch: pytest.MonkeyPatch) -> None:
    def digest(url: str, dataset: str = "insightly") -> str:
        monkeypatch.setenv(POSTGRES, url)
        return Target("postgres", dataset).digest

    own = digest("postgresql://loader:old@db.example.com/crm")
    assert digest("postgresql://loader:new@db.example.com:5432/crm") == own
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
    assert len({own, *others}) == 9


@pytest.mark.parametrize(
    "url", ["postgres:@/crm?host=/run/a", "postgres@/crm?host=/run/a", "/crm?user=postgres&host=/run/a"]
)
def test_socket_in_the_query_is_the_host(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(POSTGRES, f"postgresql://{url}")
    with pytest.raises(Unreachable, match=r"cannot be read.*/run/a/\.s\.PGSQL\.5432"):
        Target("postgres").pipeline()
    digest = Target("postgres").digest
    monkeypatch.setenv(POSTGRES, "postgresql://postgres:@/crm?host=/run/b")
    assert Target("postgres").digest != digest


def test_only_duckdb_takes_a_file() -> None:
    with pytest.raises(BadSetting, match="only DuckDB takes a file"):
        Target("postgres", database="crm.duckdb").pipeline()


def test_log_of_dlt_has_one_line_for_a_failed_job(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("dlt")
    try:
        raise ValueError("canceling statement due to lock timeout\nLINE 1: insert")
    except ValueError:
        log.exception("Transient exception in job contacts.1.sql in file /tmp/contacts.1.sql")
        log.exception("Terminal exception in job contacts.1.sql in file /tmp/contacts.1.sql")
    log.error("Job for contacts.1.sql failed terminally with message Traceback (most recent call last):\nFile")
    log.error("another error")
    lines = ["Transient exception in job contacts.1.sql: canceling statement due to lock timeout", "another error"]
    assert (caplog.messages, [record.exc_info for record in caplog.records]) == (lines, [None, None])


@pytest.mark.parametrize(("expire", "reads"), [(False, 1), (True, 2)])
def test_credentials_that_expire_are_read_again(expire: bool, reads: int) -> None:
    class Machine(CredentialsConfiguration, CredentialsWithDefault):
        """What a cloud gives a machine."""

    credentials = Machine()
    if expire:
        credentials._set_default_credentials(object())
    read = list[Any]()

    def configuration(initial: Any, accept_partial: bool = False) -> Any:
        read.append(initial)
        return SimpleNamespace(credentials=credentials)

    cached = cache_configuration(SimpleNamespace(configuration=configuration, capabilities=None))  # type: ignore[arg-type]
    for _ in range(2):
        cached.configuration(SimpleNamespace(dataset_name="insightly"))  # type: ignore[arg-type]
    assert len(read) == reads


def test_delta_tables_of_a_bucket_can_be_read(tmp_path: Path) -> None:
    destination = DeltaFilesystem(bucket_url="memory://crm")
    pipeline = dlt.pipeline("bucket", pipelines_dir=str(tmp_path), destination=destination, dataset_name="insightly")
    with pipeline._get_destination_clients(Schema("insightly"))[0] as client, client.sql_client as sql:
        assert sql.execute_sql("select 1") == [(1,)]
