"""The limits a second and a day, with an injected clock."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from pipelines.sandbox import Contents, Limits, Sandbox, Switches
from tests.support.requests_to_sandbox import send


class Stopwatch:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def stopwatch() -> Stopwatch:
    return Stopwatch()


@pytest.fixture
def limited(contents: Contents, stopwatch: Stopwatch) -> Iterator[Sandbox]:
    with Sandbox(contents=contents, limits=Limits(monotonic=stopwatch)) as sandbox:
        yield sandbox


def test_eleventh_call_of_a_second_is_a_burst(limited, stopwatch):
    for _ in range(10):
        assert send(limited, "Instance").status_code == 200
    over = send(limited, "Instance")
    assert (over.status_code, over.headers["Retry-After"]) == (429, "1")
    assert over.headers["X-RateLimit-Remaining"] == "99990"
    assert over.json()["Message"]
    limited.switches = Switches(burst_retry_after=None, burst_body="text")
    silent = send(limited, "Instance")
    assert "Retry-After" not in silent.headers
    assert silent.headers["Content-Type"].startswith("text/plain")
    stopwatch.seconds += 1
    assert send(limited, "Instance").status_code == 200


def test_daily_quota_is_refused_and_renewed(limited, stopwatch):
    limited.switches = Switches(rate=None, quota=3)
    assert [send(limited, "Instance").status_code for _ in range(4)] == [200, 200, 200, 429]
    over = send(limited, "Instance")
    assert over.headers["X-RateLimit-Remaining"] == "0"
    assert "Retry-After" not in over.headers
    limited.switches = Switches(rate=None, quota=3, daily_retry_after=3_600)
    assert send(limited, "Instance").headers["Retry-After"] == "3600"
    stopwatch.seconds += 86_399
    assert send(limited, "Instance").status_code == 429
    stopwatch.seconds += 1
    assert send(limited, "Instance").status_code == 200


def test_day_can_end_at_midnight():
    times = [datetime(2026, 11, 2, 23, 59, 59, tzinfo=UTC)]
    limits = Limits(clock=lambda: times[0])
    switches = Switches(rate=None, quota=1, daily_reset="midnight")
    assert [limits.admit(switches) for _ in range(2)] == ["ok", "daily"]
    times[0] = datetime(2026, 11, 3, tzinfo=UTC)
    assert limits.admit(switches) == "ok"


def test_no_quota_never_runs_out():
    limits = Limits()
    limits.used += 200_000
    switches = Switches(rate=None, quota=None)
    assert limits.admit(switches) == "ok"
    assert limits.headers(switches)["X-RateLimit-Remaining"] == "1"
