"""Size: what a record takes on the wire, and at each kind of destination."""

from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import requests

from tests.support.postgres import Postgres, query

from .measure import UNLIMITED, Ours, Result, Served, server

PAGE = 500


def measure(records: int = 100_000) -> Result:
    result = Result(
        f"Size: {records:,} contacts",
        "Contacts of 1.6 kB with three custom fields, two tags and a link: the bytes that the service sends, and all "
        "bytes in the destination after a first sync. Each contact is four rows in three tables.",
        ["", "bytes per record"],
        unit="bytes per record",
    )
    with server("--records", str(records)) as served:
        served.warm(PAGE)
        sizes = {
            "JSON": _wire(served, records, "identity"),
            "JSON, compressed": _wire(served, records, "gzip"),
            "DuckDB": _duckdb(served),
            "Postgres": _postgres(served),
            "Delta tables": _lake(served),
        }
    for name, size in sizes.items():
        result.rows.append([name, f"{size / records:,.0f}"])
        result.bars.append((name, round(size / records, 1)))
    return result


def _wire(served: Served, records: int, encoding: str) -> int:
    """Bytes of all pages as the service sends them."""
    size = 0
    for skip in range(0, records, PAGE):
        with requests.get(
            f"{served.url}/Contacts",
            params={"skip": skip, "top": PAGE},
            headers={"Accept-Encoding": encoding},
            stream=True,
            timeout=60,
        ) as answer:
            size += int(answer.headers["Content-Length"])
    return size


def _duckdb(served: Served) -> int:
    with Ours(served.url, requests_per_second=UNLIMITED) as ours:
        ours.sync("contacts")
        with duckdb.connect(str(ours.file)) as crm:
            crm.execute("checkpoint")
        return ours.file.stat().st_size


def _postgres(served: Served) -> int:
    with TemporaryDirectory(prefix="postgres") as folder:
        postgres = Postgres(Path(folder))
        try:
            url = postgres.database()
            before = _held(url)
            elsewhere = ("postgres", {"DESTINATION__POSTGRES__CREDENTIALS": url})
            with Ours(served.url, elsewhere, requests_per_second=UNLIMITED) as ours:
                ours.sync("contacts")
            return _held(url) - before
        finally:
            postgres.stop()


def _held(url: str) -> int:
    return int(query(url, "select pg_database_size(current_database()) as bytes")[0]["bytes"])


def _lake(served: Served) -> int:
    with TemporaryDirectory() as folder:
        elsewhere = ("filesystem", {"DESTINATION__FILESYSTEM__BUCKET_URL": folder})
        with Ours(served.url, elsewhere, requests_per_second=UNLIMITED) as ours:
            ours.sync("contacts")
        return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
