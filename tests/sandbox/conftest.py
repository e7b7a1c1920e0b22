"""Sandboxes for the tests of this folder."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from pipelines.sandbox import Contents, Sandbox, generate
from tests.support.crm import OPEN


@pytest.fixture(scope="package")
def contents() -> Contents:
    return generate(seed=1, scale=0.3)


@pytest.fixture(scope="module")
def read_only(contents: Contents) -> Iterator[Sandbox]:
    """A sandbox that tests only read from."""
    with Sandbox(contents=contents, switches=OPEN) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(contents: Contents) -> Iterator[Sandbox]:
    """A sandbox for one test, with a clock that does not move."""
    with Sandbox(contents=contents, switches=OPEN, clock=lambda: datetime(2026, 11, 2, 12, tzinfo=UTC)) as sandbox:
        yield sandbox
