"""The rows to push, read from a file, a table or a query, and the hash that identifies them."""

import codecs
import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from pipelines.destinations.dataset import Dataset
from pipelines.destinations.read_only import NotASelect
from sources.insightly.api.json_body import parse
from sources.insightly.errors import BadSetting, closest

QUERY = re.compile(r"\s*(select|with|from)[\s*('\"]", re.IGNORECASE)
ORDERED = re.compile(r"\border\s+by\b", re.IGNORECASE)
TABLE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?")
DELIMITERS = ",;\t"
"""Between the cells of a CSV file: no name of a field contains one, so the header shows which of them the file has."""
TEXT_FILES = (".csv", ".jsonl", ".ndjson")
FILES = (*TEXT_FILES, ".parquet")
EXTRA_CELLS = "more cells than the header has"
"""The column of a CSV row's surplus cells. No field has this name."""

NumberedRow = tuple[str, int, dict[str, Any]]
"""A row with its name in messages, and the line it begins in."""


@dataclass(frozen=True)
class PushInput:
    """Rows in order, row 1 first, and the hash of the content they were read from.

    `lines` are the lines of the file that the rows begin in, and `places` name the rows as a spreadsheet or an editor
    does: in a CSV file the header is row 1. Both are empty if the rows are not from a text file.
    """

    rows: list[dict[str, Any]]
    digest: str
    lines: tuple[int, ...] = ()
    places: tuple[str, ...] = ()

    def place_of(self, number: int) -> str:
        """A row's name in messages, such as `row 3`, `row 3 (line 5)` or `line 4`."""
        return self.places[number - 1] if self.places else f"row {number}"


def read_input(
    source: str, dataset: Dataset | None, delimiter: str | None = None, encoding: str | None = None
) -> PushInput:
    """Reads a file, a query or a table. A file that exists is read as a file, whatever its name; so is `rows.csv`.

    Args:
        source: path of a .csv, .jsonl, .ndjson or .parquet file, `select ...`, or a table's name.
        dataset: the destination, None if it does not exist yet.
        delimiter: the character between the cells of a CSV file, or `tab`; None to find it in the header.
        encoding: of a text file; None for UTF-8.

    Raises:
        BadSetting: `source` is none of them, or cannot be read; or an option is wrong for it.
    """
    path, is_query = Path(source), QUERY.match(source) is not None
    # DuckDB would open `rows.csv` as a file too, with words of its own for one that does not exist.
    is_file = os.path.isfile(source) or (path.suffix.lower() in FILES and not is_query)
    suffix = path.suffix.lower() if is_file else ""
    delimiter = _delimiter(delimiter, suffix)
    encoding = _encoding(encoding, suffix)
    if is_file:
        return _read_file(path, delimiter, encoding)
    if is_query:
        return _query(source, source, dataset)
    if TABLE.fullmatch(source):
        try:
            return _query(source, f"select * from {source}", dataset)
        except BadSetting as error:
            if not os.path.exists(source):
                raise _unreadable(source, f"there is no such file; {error.fix}") from None
    if os.path.exists(source):
        raise _unreadable(source, _not_a_file(path))
    raise _unreadable(source, "there is no such file; a query begins with select, a table is named by letters")


def push_id(op: str, entity: str, match: str | None, digest: str) -> str:
    """Identifies a push: the same operation with the same content is the same push."""
    return hashlib.sha256("\n".join((op, entity, match or "", digest)).encode()).hexdigest()[:16]


def _delimiter(text: str | None, suffix: str) -> str | None:
    delimiter = {"tab": "\t", "\\t": "\t"}.get(text or "", text)
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise BadSetting("--delimiter", text, "must be one character, such as ';' or '|', or tab")
    if delimiter is not None and suffix != ".csv":
        raise BadSetting("--delimiter", text, "is for .csv files")
    return delimiter


def _encoding(name: str | None, suffix: str) -> str | None:
    if name is None:
        return None
    try:
        "".encode(name)
    except LookupError:
        raise BadSetting("--encoding", name, "must be an encoding such as utf-8, cp1252 or utf-16") from None
    if suffix not in TEXT_FILES:
        raise BadSetting("--encoding", name, f"is for {', '.join(TEXT_FILES)} files")
    return name


def _read_file(path: Path, delimiter: str | None, encoding: str | None) -> PushInput:
    suffix = path.suffix.lower()
    if suffix not in FILES:
        raise _unreadable(str(path), "a file must be .csv, .jsonl, .ndjson or .parquet")
    try:
        if not os.path.isfile(path):  # to open a pipe would wait for its writer
            raise _unreadable(str(path), _not_a_file(path))
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if suffix == ".parquet":
            return PushInput(_parquet(content), digest)
        text = _decode(content, encoding)
        if encoding is not None:  # the same text is the same push, whatever its encoding
            digest = hashlib.sha256(text.encode()).hexdigest()
        read = list(_csv(text, delimiter) if suffix == ".csv" else _jsonl(text))
        lines, places = tuple(line for _, line, _ in read), tuple(place for place, _, _ in read)
        return PushInput([row for _, _, row in read], digest, lines, places)
    except PermissionError:
        raise _unreadable(str(path), "this user may not read it; give it the right to, or name another file") from None
    except (ValueError, OSError) as error:
        raise _unreadable(str(path), f"it cannot be read: {error}") from None


def _not_a_file(path: Path) -> str:
    """What is in the place of a file, and what to do. Raises PermissionError for a folder that cannot be listed."""
    if path.is_dir():
        return "it is a folder; name a file in it"
    if path.exists():
        return "it is a pipe or a device; write its rows to a file first"
    folder = path.absolute().parent
    if not folder.is_dir():
        return f"there is no folder {folder}; check the path"
    similar = closest(path.name, (name for name in os.listdir(folder) if name != path.name))
    return f"there is no such file in {folder}; " + (f"did you mean {similar}?" if similar else "check the path")


def _decode(content: bytes, encoding: str | None) -> str:
    is_utf8 = encoding is None or codecs.lookup(encoding).name == "utf-8"
    try:
        return content.decode("utf-8-sig" if is_utf8 else str(encoding))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        guess = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "cp1252"
        fix = "save the file as UTF-8 (in Excel: CSV UTF-8)"
        fix += f", or name its encoding with --encoding {guess}" if is_utf8 else ""
        raise ValueError(
            f"line {line} has the byte 0x{content[error.start]:02x}, which is not {encoding or 'UTF-8'}; {fix}"
        ) from None


def _csv(text: str, delimiter: str | None) -> Iterator[NumberedRow]:
    """The rows without their empty cells: CSV cannot distinguish an empty text, null and no value."""
    header = text.partition("\n")[0]
    delimiter = delimiter or next((each for each in DELIMITERS if each in header), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 0
    try:
        names = next(reader, [])
        if not names:
            raise ValueError("it has no header; its first line must name the fields")
        if len(set(names)) < len(names):
            raise ValueError("its header names a column twice")
        line = reader.line_num
        for number, cells in enumerate(reader, start=2):  # a spreadsheet counts the header and empty rows
            row: dict[str, Any] = {name: cell for name, cell in zip(names, cells, strict=False) if cell}
            if len(cells) > len(names):
                row[EXTRA_CELLS] = cells[len(names) :]
            if cells:
                place = f"row {number}" if number == line + 1 else f"row {number} (line {line + 1})"
                yield place, line + 1, row
            line = reader.line_num
    except csv.Error as error:
        raise ValueError(f"the row in line {line + 1}: {error}") from None


def _jsonl(text: str) -> Iterator[NumberedRow]:
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
        yield f"line {number}", number, row


def _parquet(content: bytes) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not content:
        raise ValueError("it is empty; write it again")
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
