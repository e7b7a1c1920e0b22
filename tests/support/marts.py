"""Marts over an account whose records are made by hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipelines.sandbox import Contents, Sandbox
from tests.support.crm import OPEN, Clock, Crm, PostgresCrm, isolate

DESTINATIONS = ["duckdb", pytest.param("postgres", marks=pytest.mark.sample(0))]


@contextmanager
def empty_crm(request: pytest.FixtureRequest, folder: Path) -> Iterator[Crm]:
    """Opens an account without records, and a destination of the kind that the fixture's parameter names."""
    clock = Clock()
    with (
        pytest.MonkeyPatch.context() as patch,
        Sandbox(contents=Contents(), switches=OPEN, clock=clock) as sandbox,
    ):
        isolate(folder, patch)
        crm = Crm(sandbox, folder, clock)
        if request.param == "postgres":
            server = request.getfixturevalue("postgres")
            crm = PostgresCrm(sandbox, folder, clock, url=server.database(), server=server)
            patch.setenv("DESTINATION__POSTGRES__CREDENTIALS", crm.url)
        yield crm


def answer(crm: Crm, mart: str, columns: str, where: str = "true") -> list[tuple[Any, ...]]:
    rows = crm.read(f"select {columns} from insightly_marts.{mart} where {where}")
    found = [tuple(row.values()) for row in rows]
    return sorted(found, key=lambda row: [(value is None, "" if value is None else value) for value in row])
