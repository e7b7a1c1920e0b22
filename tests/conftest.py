"""Fixtures: an account to read, and a destination to read it into."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis
import pytest
from dlt.common.configuration.container import Container
from dlt.common.pipeline import PipelineContext

from pipelines.sandbox import Sandbox
from tests.support.crm import OPEN, Clock, Crm, DeltaCrm, PostgresCrm, begin, contents_of, isolate
from tests.support.dlt_hints import cache_hints
from tests.support.postgres import Postgres

# Nothing here asserts on time, and a busy machine is no bug.
hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("busy")

cache_hints()


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings or the working folder of whoever runs it, or the pipeline of the test before.

    dlt lends the state of an active pipeline to a source that is read without one.
    """
    isolate(tmp_path, monkeypatch)
    Container()[PipelineContext].deactivate()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    # pytest keeps its own folders to the user that runs it.
    with TemporaryDirectory(prefix="postgres") as folder:
        server = Postgres(Path(folder))
        yield server
        server.stop()


def pytest_xdist_auto_num_workers() -> int:
    """More than there are processors: for a fifth of the time, a test waits for processes of its own."""
    return max(2, (os.cpu_count() or 1) * 3 // 2)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Divides the tests among the workers, and between `make test` and `make test-all`.

    Marks as `long`, for `make test-all`, what a test marked `sample(N)` does not leave to `make test`.

    `make test` runs N cases, spread over all of them; a single case marked `sample(0)` is not one of them.
    """
    items.sort(key=_turn)
    for item in items:
        # What the tests of a file share is set up once, by one worker. Those of proof/ share little and run for long.
        if not _is_proof(item) and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        counts = [marker.args[0] for marker in item.iter_markers("sample")]
        if 0 in counts:
            item.add_marker("long")
        elif counts:
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for each in cases.values():
        marker = each[0].get_closest_marker("sample")
        assert marker is not None
        quick = {at * len(each) // marker.args[0] for at in range(marker.args[0])}
        for at, item in enumerate(each):
            if at not in quick:
                item.add_marker("long")


def _is_proof(item: pytest.Item) -> bool:
    return item.path.parent.name == "proof"


def _turn(item: pytest.Item) -> int:
    """Begins with the tests that run for minutes, and ends with many short ones, so that all workers end together."""
    if not _is_proof(item):
        return 1
    return 2 if hasattr(item, "callspec") else 0


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Has tests that are marked `everywhere(NAME, ...)` run on those destinations as well, in `make test-all`.

    `make test` runs those marked `quick` on Postgres too.
    """
    marker = metafunc.definition.get_closest_marker("everywhere")
    if marker is not None and "make_crm" in metafunc.fixturenames:
        quick = {"postgres"} if marker.kwargs.get("quick") else set()
        also = [pytest.param(name, marks=() if name in quick else pytest.mark.sample(0)) for name in marker.args]
        metafunc.parametrize("make_crm", ["duckdb", *also], indirect=True)


@pytest.fixture
def make_crm(
    tmp_path: Path, copies: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Crm]]:
    """Makes accounts for one destination; options are those of `Sandbox`, and a `scale` of 1 is 1,000 contacts."""
    url = ""
    with ExitStack() as stack:

        def make(scale: float = 0.05, **options: Any) -> Crm:
            nonlocal url
            clock = Clock()
            options = {"contents": contents_of(scale), "switches": OPEN, "clock": clock, **options}
            sandbox = stack.enter_context(served(**options))
            match getattr(request, "param", "duckdb"):
                case "postgres":
                    server = request.getfixturevalue("postgres")
                    url = url or server.database()
                    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url)
                    return PostgresCrm(sandbox, tmp_path, clock, copies, url, server=server)
                case "delta":
                    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(tmp_path / "delta"))
                    return DeltaCrm(sandbox, tmp_path, clock, copies)
            return Crm(sandbox, tmp_path, clock, copies)

        yield make


@pytest.fixture(scope="session")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("copies")


def served(**options: Any) -> Sandbox:
    """An account on a port of this process: a destination remembers the address of its account."""
    with suppress(OSError):
        return Sandbox(port=10_000 + os.getpid() % 20_000, **options)
    return Sandbox(**options)


@pytest.fixture
def synced_crm(make_crm: Callable[..., Crm]) -> Crm:
    """An account, and a destination that is up to date with it: some entities, and the ledger of pushes."""
    crm = make_crm()
    crm.prepare(partial(begin, crm), "ledger of pushes")
    return crm


@pytest.fixture
def crm(make_crm: Callable[..., Crm], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Crm:
    tags, embedded = getattr(request, "param", ("auto", True))
    monkeypatch.setenv("SOURCES__INSIGHTLY__TAGS", tags)
    return make_crm(switches=replace(OPEN, embed_tags=embedded))
