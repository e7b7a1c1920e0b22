"""The rows to push, read from a file, a table or a query, and the hash that identifies them."""

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from pipelines.destinations.dataset import Dataset
from pipelines.destinations.read_only import NotASelect
from sources.insightly.api.json_body import parse
from sources.insightly.errors import BadSetting

QUERY = re.compile(r"\s*(select|with|from)[\s*('\"]", re.IGNORECASE)
ORDERED = re.compile(r"\border\s+by\b", re.IGNORECASE)
TABLE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?")
DELIMITERS = ",;\t"
"""Between the cells of a CSV file: no name of a field contains one, so the header tells which of them the file has."""
EXTRA_CELLS = "more cells than the header has"
"""The column of a CSV row's surplus cells. No field has this name."""


@dataclass(frozen=True)
class PushInput:
    """Rows in order, row 1 first, and the hash of the content they were read from.

    `lines` are the lines of the file that the rows begin in; empty if the rows have no lines.
    """

    rows: list[dict[str, Any]]
    digest: str
    lines: tuple[int, ...] = ()

    def line_of(self, number: int) -> int | None:
        """The line of a row, None if it has none."""
        return self.lines[number - 1] if self.lines else None


def read_input(source: str, dataset: Dataset | None) -> PushInput:
    """Reads a file, a query or a table. A file that exists is read as a file, whatever its name.

    Args:
        source: path of a .csv, .jsonl, .ndjson or .parquet file, `select ...`, or a table's name.
        dataset: the destination, None if it does not exist yet.

    Raises:
        BadSetting: `source` is none of them, or cannot be read.
    """
    if os.path.isfile(source):
        return _read_file(Path(source))
    if QUERY.match(source):
        return _query(source, source, dataset)
    if TABLE.fullmatch(source):
        return _query(source, f"select * from {source}", dataset)
    raise _unreadable(source, "there is no such file; a query begins with select, a table is named by letters")


def push_id(op: str, entity: str, match: str | None, digest: str) -> str:
    """Identifies a push: the same operation with the same content is the same push."""
    return hashlib.sha256("\n".join((op, entity, match or "", digest)).encode()).hexdigest()[:16]


def _read_file(path: Path) -> PushInput:
    suffix = path.suffix.lower()
    if suffix not in (*TEXT_READERS, ".parquet"):
        raise _unreadable(str(path), "a file must be .csv, .jsonl, .ndjson or .parquet")
    try:
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if suffix == ".parquet":
            return PushInput(_parquet(content), digest)
        numbered = list(TEXT_READERS[suffix](_decode(content)))
        return PushInput([row for _, row in numbered], digest, tuple(line for line, _ in numbered))
    except (ValueError, OSError) as error:
        raise _unreadable(str(path), f"it cannot be read: {error}") from None


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"line {line} has the byte 0x{content[error.start]:02x}, which is not UTF-8; save the file as UTF-8 "
            "(in Excel: CSV UTF-8)"
        ) from None


def _csv(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows without their empty cells: CSV cannot tell an empty text, null and no value apart."""
    header = text.partition("\n")[0]
    delimiter = next((each for each in DELIMITERS if each in header), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 0
    try:
        names = next(reader, [])
        if len(set(names)) < len(names):
            raise ValueError("its header names a column twice")
        line = reader.line_num
        for cells in reader:
            row: dict[str, Any] = {name: cell for name, cell in zip(names, cells, strict=False) if cell}
            if len(cells) > len(names):
                row[EXTRA_CELLS] = cells[len(names) :]
            if cells:
                yield line + 1, row
            line = reader.line_num
    except csv.Error as error:
        raise ValueError(f"the row in line {line + 1}: {error}") from None


def _jsonl(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if not line.strip():
            continue
        try:
            # NaN and Infinity are not JSON, but Python writes them. They make the row invalid, not the file.
            row = parse(line.encode(), parse_constant=float)
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number}, column {error.colno}: {error.msg}") from None
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is not a JSON object")
        yield number, row


TEXT_READERS: Mapping[str, Callable[[str], Iterator[tuple[int, dict[str, Any]]]]] = {
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
}
"""Suffix of a file -> the rows of its text, each with the line it begins in."""


def _parquet(content: bytes) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(content)).to_pylist()
    return rows


def _query(source: str, query: str, dataset: Dataset | None) -> PushInput:
    if dataset is None:
        raise _unreadable(source, "there is no destination yet to read it from: run insightly sync first")
    try:
        rows = dataset.query_read_only(query)
    except NotASelect as error:
        raise _unreadable(source, str(error)) from None
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
