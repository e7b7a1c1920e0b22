"""The rows to push, read from a file, a table or a query, and the hash that identifies them."""

import csv
import hashlib
import re
from collections.abc import Iterator
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
EXTRA_CELLS = "more cells than the header has"
"""The column of a CSV row's surplus cells. No field has this name."""


@dataclass(frozen=True)
class PushInput:
    """Rows in order, row 1 first, and the hash of the content they were read from."""

    rows: list[dict[str, Any]]
    digest: str


def read_input(source: str, dataset: Dataset | None) -> PushInput:
    """Reads a file, a query or a table.

    Args:
        source: path of a .csv, .jsonl, .ndjson or .parquet file, `select ...`, or a table's name.
        dataset: the destination, None if it does not exist yet.

    Raises:
        BadSetting: `source` is none of them, or cannot be read.
    """
    path = Path(source)
    if QUERY.match(source) or (TABLE.fullmatch(source) and not path.is_file()):
        return _query(source, dataset)
    if not path.is_file():
        raise _unreadable(source, "there is no such file; a query begins with select, a table is named by letters")
    reader = {".csv": _csv, ".jsonl": _jsonl, ".ndjson": _jsonl, ".parquet": _parquet}.get(path.suffix.lower())
    if reader is None:
        raise _unreadable(source, "a file must be .csv, .jsonl, .ndjson or .parquet")
    try:
        return PushInput(list(reader(path)), hashlib.sha256(path.read_bytes()).hexdigest())
    except (ValueError, OSError, csv.Error) as error:
        raise _unreadable(source, f"it cannot be read: {error}") from None


def push_id(op: str, entity: str, match: str | None, digest: str) -> str:
    """Identifies a push: the same operation with the same content is the same push."""
    return hashlib.sha256("\n".join((op, entity, match or "", digest)).encode()).hexdigest()[:16]


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    """The rows without their empty cells: CSV cannot tell an empty text, null and no value apart."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restkey=EXTRA_CELLS, strict=True)
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
                raise ValueError(f"line {number} is not a JSON object")
            yield row


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    yield from pq.read_table(path).to_pylist()


def _query(source: str, dataset: Dataset | None) -> PushInput:
    if dataset is None:
        raise _unreadable(source, "there is no destination yet to read it from: run insightly sync first")
    query = source if QUERY.match(source) else f"select * from {source}"
    try:
        rows = dataset.query(query.strip().rstrip(";"))
    except Exception as error:  # each destination has exceptions of its own
        raise _unreadable(source, f"the destination says: {str(error).splitlines()[0]}") from None
    texts = [
        orjson.dumps(
            {name: value if isinstance(value, str | None) else repr(value) for name, value in row.items()},
            option=orjson.OPT_SORT_KEYS,
        )
        for row in rows
    ]
    if not ORDERED.search(query):
        # The ledger identifies rows by their numbers, and a query without an order can return them in any order.
        order = sorted(range(len(rows)), key=texts.__getitem__)
        rows, texts = [rows[index] for index in order], [texts[index] for index in order]
    return PushInput(rows, hashlib.sha256(b"\n".join(texts)).hexdigest())


def _unreadable(source: str, why: str) -> BadSetting:
    return BadSetting("what to push", source, why)
