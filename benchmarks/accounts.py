"""Several accounts beside each other on Postgres, each at its own limit of 10 requests per second."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.postgres import Postgres

from .limit import LATENCY, RATE
from .measure import InsightlySync, Result, Run, server

TIMES = 1.3


def measure(accounts: int = 8, records: int = 10_000) -> Result:
    result = Result(
        f"{accounts} accounts beside each other",
        f"First syncs of accounts with {records:,} contacts each into Postgres: 10 requests per second and key, "
        f"{LATENCY * 1000:.0f} ms latency. The database, the services and the program share the machine.",
        ["", "seconds", "times one account", "processor seconds"],
        unit="times one account",
    )
    with _postgres() as postgres, ExitStack() as stack:
        options = ["--records", str(records), "--rate", str(RATE), "--latency", str(LATENCY)]
        urls = [stack.enter_context(server(*options)) for _ in range(accounts)]
        for service in urls:
            service.warm(499)
        one = _sync(postgres, [urls[0].url], 1)
        in_turn = _sync(postgres, [service.url for service in urls], 1)
        at_once = _sync(postgres, [service.url for service in urls], accounts)
    for label, run in (("one", one), (f"{accounts}, --jobs 1", in_turn), (f"{accounts}, --jobs {accounts}", at_once)):
        result.rows.append([label, f"{run.seconds:.1f}", f"{run.seconds / one.seconds:.2f}", f"{run.cpu:.1f}"])
        result.bars.append((label, run.seconds / one.seconds))
    ratio = at_once.seconds / one.seconds
    result.target(f"{accounts} accounts take {ratio:.2f} times as long as one, at most {TIMES:.1f}", ratio <= TIMES)
    return result


def _sync(postgres: Postgres, urls: list[str], jobs: int) -> Run:
    """A first sync of the accounts of these services into a new database."""
    accounts = {
        f"instances__a{index}__{name}": value
        for index, url in enumerate(urls)
        for name, value in (("api_key", f"{index:08d}-1111-4111-8111-111111111111"), ("base_url", url))
    }
    destination = ("postgres", {"DESTINATION__POSTGRES__CREDENTIALS": postgres.database()})
    with InsightlySync(None, destination, **accounts) as insightly:
        return insightly.sync("contacts", *(["--jobs", str(jobs)] if jobs > 1 else []))[0]


@contextmanager
def _postgres() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="insightly-postgres-") as folder:
        Path(folder).chmod(0o755)
        postgres = Postgres(Path(folder))
        try:
            yield postgres
        finally:
            postgres.stop()
