"""The floor: fetches the same pages on eight threads, and DuckDB converts them to the same tables. No state, no checks.

python floor.py URL FILE
"""

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import requests

url, file = sys.argv[1:]
session = requests.Session()
session.auth = ("benchmark", "")


def fetch(skip: int) -> int:
    response = session.get(f"{url}/Contacts", params={"top": 500, "skip": skip, "count_total": "true"})
    (folder / f"{skip:09}.json").write_bytes(response.content)
    return int(response.headers["X-Total-Count"])


with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(8) as pool, duckdb.connect(file) as crm:
    folder = Path(temporary)
    list(pool.map(fetch, range(500, fetch(0), 500)))
    crm.execute(f"create temp table pages as from read_json('{folder}/*.json')")
    crm.execute("create table contacts as select * exclude (TAGS, LINKS, DATES) from pages")
    for array in ("TAGS", "LINKS"):
        crm.execute(
            f"create table contacts__{array} as select CONTACT_ID, unnest({array}, recursive := true) from pages"
        )
