"""Size: the bytes of a record on the wire, and in each kind of destination."""

from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import requests

from tests.support.postgres import Postgres, query

from .measure import UNLIMITED, InsightlySync, Result, Service, server

PAGE = 500


def measure(records: int = 100_000) -> Result:
    result = Result(
        f"Size: {records:,} contacts",
        "Contacts of 1.6 kB with three custom fields, two tags and a link: the bytes that the service sends, and all "
        "bytes in the destination after a first sync. Each contact is four rows in three tables.",
        ["", "bytes per record"],
        unit="bytes per record",
    )
    with server("--records", str(records)) as service:
        service.warm(PAGE)
        sizes = {
            "JSON": _wire(service, records, "identity"),
            "JSON, compressed": _wire(service, records, "gzip"),
            "DuckDB": _duckdb(service),
            "Postgres": _postgres(service),
            "Delta tables": _delta(service),
        }
    for name, size in sizes.items():
        result.rows.append([name, f"{size / records:,.0f}"])
        result.bars.append((name, round(size / records, 1)))
    return result


def _wire(service: Service, records: int, encoding: str) -> int:
    """Bytes of all pages as the service sends them."""
    size = 0
    for skip in range(0, records, PAGE):
        with requests.get(
            f"{service.url}/Contacts",
            params={"skip": skip, "top": PAGE},
            headers={"Accept-Encoding": encoding},
            stream=True,
            timeout=60,
        ) as response:
            size += int(response.headers["Content-Length"])
    return size


def _duckdb(service: Service) -> int:
    with InsightlySync(service.url, requests_per_second=UNLIMITED) as insightly:
        insightly.sync("contacts")
        with duckdb.connect(str(insightly.file)) as crm:
            crm.execute("checkpoint")
        return insightly.file.stat().st_size


def _postgres(service: Service) -> int:
    with TemporaryDirectory(prefix="postgres") as folder:
        postgres = Postgres(Path(folder))
        try:
            url = postgres.database()
            before = _database_bytes(url)
            destination = ("postgres", {"DESTINATION__POSTGRES__CREDENTIALS": url})
            with InsightlySync(service.url, destination, requests_per_second=UNLIMITED) as insightly:
                insightly.sync("contacts")
            return _database_bytes(url) - before
        finally:
            postgres.stop()


def _database_bytes(url: str) -> int:
    return int(query(url, "select pg_database_size(current_database()) as bytes")[0]["bytes"])


def _delta(service: Service) -> int:
    with TemporaryDirectory() as folder:
        destination = ("filesystem", {"DESTINATION__FILESYSTEM__BUCKET_URL": folder})
        with InsightlySync(service.url, destination, requests_per_second=UNLIMITED) as insightly:
            insightly.sync("contacts")
        return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
