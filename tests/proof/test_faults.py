"""Trouble at every page of a walk: the run is done and equal, or stops honestly and a later run completes it."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from pipelines.engine.report import Report
from pipelines.sandbox import Fault, Store
from pipelines.sandbox.api.messages import Request, Response
from pipelines.sandbox.http import service
from pipelines.sandbox.switches import Switches
from sources.insightly.api.client import MAX_ATTEMPTS, Client
from sources.insightly.api.rate_limit import RateLimiter
from sources.insightly.state.times import parse
from tests.support.crm import OPEN, Crm, isolated_crm
from tests.support.expected import Row, expected, known

MakeCrm = Callable[..., Crm]
SIZE = 10
"""Rows a page; the 50 notes are six pages."""
OFFSETS = {"first": 0, "middle": 18, "last": 45}
PATHS = {"first walk": "Notes", "incremental walk": "Notes/Search"}
HOUR = 3600


@dataclass(frozen=True)
class Trouble:
    """A fault, the exit code of a run that meets it at every try (`at_once`: is not to try again), and what it says."""

    kind: str
    code: int
    says: str = ""
    retry_after: float | None = None
    counter: bool = True
    at_once: bool = False
    seconds: float = 0.0

    def __str__(self) -> str:
        told = self.retry_after or self.seconds
        return f"{self.kind}{f' {told:g} s' if told else ''}{'' if self.counter else ' uncounted'}"

    def at(self, path: str, offset: int, times: int | None = None) -> Fault:
        """The fault at the page of that offset."""
        facts = {"seconds": self.seconds, "retry_after": self.retry_after, "counter": self.counter}
        return Fault(self.kind, page_of(path, offset), times=times, **facts)


REFUSED = [
    *(Trouble("burst", 1, "429", after) for after in (None, 2)),
    *(Trouble("burst", 3, "429", after, counter=False) for after in (None, 2)),
    *(Trouble("daily", 3, "day", after, at_once=True) for after in (None, HOUR)),
    Trouble("daily", 3, "day", counter=False),
    Trouble("daily", 3, "day", HOUR, counter=False, at_once=True),
]
BROKEN = [
    *(Trouble(status, 1, status) for status in ("500", "502", "503", "504")),
    Trouble("slow", 1, "timed out", seconds=0.6),
    *(Trouble(kind, 1, "no complete response") for kind in ("reset", "cut")),
    *(Trouble(kind, 1, "not JSON") for kind in ("invalid_json", "html")),
]
ODD = [Trouble("slow", 0, seconds=0.05), *(Trouble(kind, 0) for kind in ("content_type", "duplicate", "unsorted"))]
EVERY = [*REFUSED, *BROKEN, *ODD]
TYPICAL = [
    trouble
    for trouble in EVERY
    if trouble.kind in ("503", "reset", "cut", "html", "duplicate", "unsorted")
    or (trouble.kind in ("burst", "daily") and (trouble.retry_after == HOUR) != trouble.counter)
]
NO_LISTS = [b'"text"', b"null", b"", b"0", b"[1]", b"[null]", b"[[]]", b"[{}]", b"[]", b'{"A":1}', b"<p>", b'[{"A":']
PASSING = [trouble for trouble in EVERY if not trouble.at_once]


def page_of(path: str, *offsets: int) -> str:
    """Matches the calls for the pages at `offsets`."""
    return rf"regex:^{path}\?(.*&)?skip=({'|'.join(map(str, offsets))})(&|$)"


def some_long(cases: list[Any], short: Callable[..., bool]) -> list[Any]:
    """The cases as parameters; those that are not `short` belong to the long tests."""
    return [case if short(*case) else pytest.param(*case, marks=pytest.mark.sample(0)) for case in cases]


@dataclass(frozen=True)
class Loaded:
    """A database into which the account was synced once, and the watermark that it holds."""

    database: Path
    watermark: str


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the client would have made; none is slept."""
    pauses: list[float] = []
    monkeypatch.setitem(Client.__init__.__kwdefaults__, "sleep", pauses.append)
    monkeypatch.setattr(RateLimiter, "hold", lambda rate_limiter, seconds: pauses.append(seconds))
    return pauses


@pytest.fixture
def wait_less(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Has the client wait less than half a second for an answer."""
    return lambda: monkeypatch.setitem(Client.__init__.__kwdefaults__, "timeout", (2.0, 0.4))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    with isolated_crm(tmp_path_factory.mktemp("loaded")) as crm:
        watermark = crm.sync_done("notes", "lead_sources", "tags").entities["notes"].watermark
    assert watermark is not None
    return Loaded(crm.database, watermark)


def before(crm: Crm, loaded: Loaded, walk: str) -> str | None:
    """Sets the scene of a walk over all notes, and returns the watermark held."""
    if walk == "first walk":
        return None
    shutil.copy(loaded.database, crm.database)
    crm.clock.advance(2)
    for key in crm.sandbox.store.tables["notes"].keys:
        crm.sandbox.store.update("notes", key, {"TITLE": "changed"})
    return loaded.watermark


def notes(crm: Crm) -> list[Row]:
    return list(map(known, crm.table("notes"))) if crm.database.exists() and crm.columns("notes") else []


def asked(crm: Crm) -> list[int]:
    """The offsets of the last run's calls for notes."""
    return [int(call.query["skip"]) for call in crm.sandbox.log if call.path in ("/Notes", "/Notes/Search")]


def assert_no_further_than_read(crm: Crm, report: Report, old: list[Row], held: str | None) -> None:
    """Asserts that a run which was not done left the rows as they were or as they are, and the watermark as it was."""
    assert report.entities["notes"].watermark == held
    assert report.calls == crm.sandbox.calls()
    now, fresh = notes(crm), list(map(known, expected(crm.sandbox, "notes")[0]))
    assert len({row["note_id"] for row in now}) == len(now) >= len(old)
    assert all(row in old or row in fresh for row in now)


# Answers that are of no use


@pytest.mark.parametrize(
    ("troubles", "walk"),
    some_long(
        [(troubles, walk) for walk in PATHS for troubles in (PASSING, *([trouble] for trouble in PASSING))],
        lambda troubles, walk: troubles == PASSING,
    ),
    ids=lambda value: value if isinstance(value, str) else "all" if len(value) > 1 else str(value[0]),
)
def test_trouble_that_passes_is_not_seen(
    crm: Crm, loaded: Loaded, troubles: list[Trouble], walk: str, naps: list[float], wait_less: Callable[[], None]
) -> None:
    """Though trouble of one kind meets every page once, or trouble of each kind one page."""
    if "slow" in {trouble.kind for trouble in troubles}:
        wait_less()
    held = before(crm, loaded, walk)
    size, kinds = (SIZE, cycle(troubles)) if len(troubles) == 1 else (3, troubles)
    met = list(zip(range(0, 50, size - 1), kinds, strict=False))
    crm.sandbox.faults.add(*(trouble.at(PATHS[walk], offset, times=1) for offset, trouble in met))
    # Pages refused one after another without a counter are the day's end, so each is to be asked for again at once.
    threads = 8 if troubles[0].counter else 1
    report = crm.sync_done("notes", page_size=size, max_connections=threads)
    assert report.calls == crm.sandbox.calls()
    assert (report.entities["notes"].watermark or "") > (held or "")
    assert len(naps) >= sum(trouble.code != 0 for _, trouble in met)
    assert {trouble.retry_after for _, trouble in met} - {None} <= set(naps)
    crm.assert_equal("notes")


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("trouble", "walk", "page"),
    some_long(
        [(trouble, walk, page) for trouble in EVERY for walk in PATHS for page in OFFSETS],
        lambda trouble, walk, page: (
            trouble in TYPICAL
            if (walk, page) == ("incremental walk", "middle")
            else (walk, page) == ("first walk", "last") and trouble.kind in ("503", "duplicate")
        ),
    ),
    ids=str,
)
def test_trouble_that_lasts_ends_the_run_and_a_later_one_goes_on(
    crm: Crm, loaded: Loaded, trouble: Trouble, walk: str, page: str, wait_less: Callable[[], None]
) -> None:
    if trouble.kind == "slow":
        wait_less()
    held = before(crm, loaded, walk)
    old, offset = notes(crm), OFFSETS[page]
    crm.sandbox.faults.add(trouble.at(PATHS[walk], offset))
    report = crm.sync("notes", page_size=SIZE)
    assert report.exit_code == trouble.code
    if trouble.code:
        ended = {1: ("failed", "failed"), 3: ("stopped", "partial")}
        assert (report.status, report.entities["notes"].state) == ended[trouble.code]
        assert trouble.says in (report.reason or "")
        assert asked(crm).count(offset) == (1 if trouble.at_once else tries(trouble))
        assert_no_further_than_read(crm, report, old, held)
        crm.sandbox.faults.clear()
        crm.clock.advance(25)
        report = crm.sync_done("notes", page_size=SIZE)
        assert min(asked(crm)) == offset
    assert (report.entities["notes"].watermark or "") > (held or "")
    crm.assert_equal("notes")


def tries(trouble: Trouble) -> int:
    if trouble.kind in ("burst", "daily"):
        return MAX_ATTEMPTS["burst" if trouble.counter else "unexplained"]
    return MAX_ATTEMPTS["malformed" if "JSON" in trouble.says else "server error"]


# The day's end


@pytest.mark.sample(1)
@pytest.mark.parametrize("counter", [True, False], ids=["counted", "uncounted"])
def test_the_days_end_costs_a_handful_of_calls_and_the_next_day_goes_on(make_crm: MakeCrm, counter: bool) -> None:
    """It comes upon eight calls in flight; without a counter, four more find out that it is no burst."""
    crm = make_crm(switches=replace(OPEN, latency=0.05))
    names = ("notes", "contacts", "leads")
    crm.sandbox.faults.add(Fault("daily", nth=16, times=None, counter=counter))
    stopped = crm.sync(*names, page_size=4)
    assert (stopped.status, stopped.exit_code) == ("stopped", 3)
    assert "day" in (stopped.reason or "")
    assert (
        1 <= sum(call.status == 429 for call in crm.sandbox.log) <= (8 if counter else 8 + MAX_ATTEMPTS["unexplained"])
    )
    held = {name: crm.count(name) if crm.columns(name) else 0 for name in names}
    assert sum(held.values()) > 0

    crm.sandbox.switches = OPEN
    crm.sandbox.faults.clear()
    crm.clock.advance(25)
    report = crm.sync_done(*names, page_size=SIZE)
    assert {n: e.rows for n, e in report.entities.items()} == {n: crm.sandbox.store.count(n) - held[n] for n in names}
    crm.assert_equal(*names)


# Rows that come and go


@pytest.mark.sample(0)
@pytest.mark.parametrize(
    ("kind", "walk", "page"),
    some_long(
        [(kind, walk, page) for kind in ("create", "delete_before") for walk in PATHS for page in OFFSETS],
        lambda kind, walk, page: page == ("middle" if walk == "first walk" else "last"),
    ),
    ids=str,
)
def test_rows_that_come_and_go_during_the_walk_lose_no_other(
    crm: Crm, loaded: Loaded, kind: str, walk: str, page: str
) -> None:
    before(crm, loaded, walk)
    crm.sandbox.faults.add(Fault(kind, page_of(PATHS[walk], OFFSETS[page]), count=SIZE + 3))
    crm.sync_done("notes", page_size=SIZE)
    # What came behind the walk is stamped after its start, so it is the next run that has it.
    crm.sync_done("notes", page_size=SIZE)
    crm.assert_equal("notes", deleted=True)


# Clocks


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("minutes", "date"),
    some_long(
        [(-30, True), (30, True), (-4, False), (4, False), (30, False)], lambda minutes, date: minutes in (-30, -4)
    ),
)
def test_a_clock_that_is_minutes_off_loses_no_change(make_crm: MakeCrm, minutes: int, date: bool) -> None:
    """Without Date the lookback covers a service whose clock is behind ours, and no more than the lookback."""
    switches = replace(OPEN, clock_skew_seconds=60 * minutes, date_header=date)
    crm = make_crm(switches=switches, clock=lambda: datetime.now(UTC))

    def change(store: Store) -> None:
        store.update("notes", store.tables["notes"].keys[0], {"TITLE": "changed behind the walk"})

    crm.sandbox.faults.add(Fault("call", page_of("Notes", OFFSETS["last"]), action=change))
    report = crm.sync_done("notes", page_size=SIZE)
    if date:
        early = datetime.now(UTC) + timedelta(minutes=minutes) - parse(report.entities["notes"].watermark or "")
        assert timedelta(minutes=5) <= early < timedelta(minutes=6)
    change(crm.sandbox.store)
    crm.sync_done("notes", page_size=SIZE)
    crm.assert_equal("notes")


# What is not there to be read


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("kind", "walk"),
    some_long(
        [(kind, walk) for kind in ("forbidden", "missing") for walk in PATHS],
        lambda kind, walk: (kind, walk) in [("forbidden", "incremental walk"), ("missing", "first walk")],
    ),
)
def test_a_permission_lost_in_the_middle_of_a_walk_keeps_rows_and_watermark(
    crm: Crm, loaded: Loaded, kind: str, walk: str
) -> None:
    names, held, old = ("notes", "lead_sources"), before(crm, loaded, walk), notes(crm)
    crm.sandbox.faults.add(Fault(kind, page_of(PATHS[walk], 18, 27, 36, 45), times=None))
    for named in (False, True):
        report = crm.sync(*(names if named else ()), entities=list(names), page_size=SIZE)
        assert (report.exit_code, report.status) == ((1, "failed") if named else (0, "done"))
        assert (report.entities["notes"].state, report.entities["lead_sources"].state) == ("skipped", "ok")
        assert {"forbidden": "403", "missing": "404"}[kind] in (report.entities["notes"].reason or "")
        assert_no_further_than_read(crm, report, old, held)
    crm.sandbox.faults.clear()
    crm.sync_done(*names, page_size=SIZE)
    crm.assert_equal(*names)


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("body", "page"),
    some_long(
        [(body, page) for body in NO_LISTS for page in ("first", "middle")],
        lambda body, page: body == b"null" or (page == "first" and body in (b"", b"[1]", b"[]")),
    ),
    ids=lambda value: value if isinstance(value, str) else value.decode() or "nothing",
)
def test_a_200_that_is_no_list_is_no_empty_table(
    crm: Crm, loaded: Loaded, body: bytes, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From that page on; `[]` is none because its X-Total-Count says otherwise."""
    names = ("notes", "lead_sources", "tags")
    held = before(crm, loaded, "incremental walk")
    old, references = notes(crm), [crm.table("lead_sources"), crm.table("tags")]
    good = service.handle

    def spoiled(request: Request, store: Store, switches: Switches) -> Response:
        made = good(request, store, switches)
        return replace(made, body=body) if int(request.query.get("skip", -1)) >= OFFSETS[page] else made

    with monkeypatch.context() as patch:
        patch.setattr(service, "handle", spoiled)
        report = crm.sync(*names, page_size=SIZE)
    assert (report.status, report.exit_code) == ("failed", 1)
    failed = {name: entity.reason or "" for name, entity in report.entities.items() if entity.state == "failed"}
    assert set(failed) == (set(names) if page == "first" else {"notes"})
    assert all(re.search("expected a|not JSON|a row without|came to no end", reason) for reason in failed.values())
    assert_no_further_than_read(crm, report, old, held)
    assert [crm.table("lead_sources"), crm.table("tags")] == references
    crm.sync_done(*names, page_size=SIZE)
    crm.assert_equal(*names)


@pytest.mark.sample(0)
def test_a_failure_says_whether_another_try_may_help(crm: Crm) -> None:
    crm.sandbox.faults.add(Fault("object", match="Notes*"))
    later = crm.sync("notes", "lead_sources")
    crm.sandbox.switches = replace(OPEN, forbidden=frozenset({"products"}))
    never, wrong = crm.sync("products"), crm.sync("notes", api_key="99999999-9999-9999-9999-999999999999")
    assert [(report.exit_code, report.transient) for report in (later, never, wrong)] == [
        (1, True),
        (1, False),
        (1, False),
    ]
