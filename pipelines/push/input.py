"""What is to be pushed: the rows of a file, or of a table or query of the destination, and the hash that names them."""

import csv
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from pipelines.destinations.dataset import Dataset
from sources.insightly.api.json_body import parse
from sources.insightly.errors import BadSetting

QUERY = re.compile(r"\s*(select|with|from|values)\b", re.IGNORECASE)
ORDERED = re.compile(r"\border\s+by\b", re.IGNORECASE)
TABLE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?")
EXTRA = "more cells than the header has"
"""The column that holds what a CSV row has too much; no field is called so."""


@dataclass(frozen=True)
class Given:
    """Rows in order, the first one being row 1, and the hash of what they were read from."""

    rows: list[dict[str, Any]]
    digest: str


def read(source: str, dataset: Dataset | None) -> Given:
    """Reads a file by its ending, else a query or a table.

    Args:
        source: path of a .csv, .jsonl, .ndjson or .parquet file, `select ...`, or a table's name.
        dataset: the destination, None where there is none yet.

    Raises:
        BadSetting: it is none of them, or cannot be read.
    """
    path = Path(source)
    if QUERY.match(source) or (TABLE.fullmatch(source) and not path.is_file()):
        return _queried(source, dataset)
    if not path.is_file():
        raise _unreadable(source, "there is no such file; a query begins with select, a table is named by letters")
    reader = {".csv": _csv, ".jsonl": _jsonl, ".ndjson": _jsonl, ".parquet": _parquet}.get(path.suffix.lower())
    if reader is None:
        raise _unreadable(source, "a file must be .csv, .jsonl, .ndjson or .parquet")
    try:
        return Given(list(reader(path)), hashlib.sha256(path.read_bytes()).hexdigest())
    except (ValueError, OSError, csv.Error) as error:
        raise _unreadable(source, f"it cannot be read: {error}") from None


def push_id(op: str, entity: str, match: str | None, digest: str) -> str:
    """What names a push: the same operation with the same content is the same push."""
    return hashlib.sha256("\n".join((op, entity, match or "", digest)).encode()).hexdigest()[:16]


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    """An empty cell says nothing: CSV cannot tell an empty text, null and nothing apart."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restkey=EXTRA, strict=True)
        names = reader.fieldnames or []
        if len(set(names)) < len(names):
            raise ValueError("its header names a column twice")
        for row in reader:
            yield {name: value for name, value in row.items() if value}


def _jsonl(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if line.strip():
            row = parse(line)
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is no JSON object")
            yield row


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    yield from pq.read_table(path).to_pylist()


def _queried(source: str, dataset: Dataset | None) -> Given:
    if dataset is None:
        raise _unreadable(source, "there is no destination yet to take it from: run insightly sync first")
    query = source if QUERY.match(source) else f"select * from {source}"
    try:
        rows = dataset.query(query.strip().rstrip(";"))
    except Exception as error:  # each destination has exceptions of its own
        raise _unreadable(source, f"the destination says: {str(error).splitlines()[0]}") from None
    told = [orjson.dumps(_jsonable(row), option=orjson.OPT_SORT_KEYS) for row in rows]
    if not ORDERED.search(query):
        # Row numbers are what the ledger goes by, and without an order the next read may have another.
        order = sorted(range(len(rows)), key=told.__getitem__)
        rows, told = [rows[index] for index in order], [told[index] for index in order]
    return Given(rows, hashlib.sha256(b"\n".join(told)).hexdigest())


def _jsonable(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, str | None) else repr(value) for name, value in row.items()}


def _unreadable(source: str, why: str) -> BadSetting:
    return BadSetting("what to push", source, why)
