"""Names of datasets and DuckDB files that a destination would take for something else."""

import re
from contextlib import suppress
from pathlib import Path

from sources.insightly.config.accounts import UNION, VIEWS
from sources.insightly.errors import BadSetting

from .duckdb import MAGIC

SUFFIXES = "_staging", VIEWS, UNION
"""The suffixes of the datasets that belong to another one."""
RESERVED = re.compile(r"pg_.*|temp|system|information_schema")
"""Schemas and catalogs of databases."""


def check_dataset(name: str, schema: str) -> None:
    """Checks that a dataset can have this name.

    Args:
        name: as it was typed.
        schema: its name in the destination, "" if there is none.

    Raises:
        BadSetting
    """
    if not schema:
        raise BadSetting("--dataset", name, "name a dataset, such as insightly")
    if RESERVED.fullmatch(schema):
        raise BadSetting("--dataset", name, "databases use this name themselves; choose another, such as insightly")
    for suffix in SUFFIXES:
        if schema.endswith(suffix):
            owner = schema.removesuffix(suffix)
            raise BadSetting("--dataset", name, f"this dataset belongs to the dataset {owner}; choose another name")


def check_file(database: str, schema: str) -> None:
    """Checks that a database is a DuckDB file, or can become one.

    Args:
        database: the path, as it was typed.
        schema: the dataset's name in the file.

    Raises:
        BadSetting
    """
    path = Path(database)
    if not path.name or database == ":memory:" or path.is_dir():
        raise BadSetting("--database", database, "must be the path of a file, such as crm.duckdb")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", database):  # a single letter is a drive of Windows
        fix = "must be the path of a file, not a URL; --destination names another database, such as motherduck"
        raise BadSetting("--database", database, fix)
    if (mark := _mark(path)) and mark != b"DUCK":
        raise BadSetting("--database", database, "this file is not a DuckDB database; name another")
    # DuckDB names the file's catalog after it. If a schema has the same name, `insightly.contacts` is ambiguous.
    catalog = path.name.lstrip(".").partition(".")[0].lower()
    if catalog in {schema, *(f"{schema}{suffix}" for suffix in SUFFIXES)}:
        fix = f"DuckDB cannot distinguish this file from the dataset {catalog}; rename it, for example to crm.duckdb"
        raise BadSetting("--database", path.name, fix)


def _mark(path: Path) -> bytes:
    """What a DuckDB file has after its checksum; nothing if the file has no content yet, or cannot be read."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(MAGIC.stop)[MAGIC].strip(b"\0")
    return b""
