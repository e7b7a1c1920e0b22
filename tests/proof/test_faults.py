"""Faults at every page of a walk: the run succeeds, or it reports the failure and a later run completes it."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from pipelines.commands.sweep import sweep
from pipelines.engine.report import Report
from pipelines.sandbox import Fault, Store
from pipelines.sandbox.api.exchange import Request, Response
from pipelines.sandbox.http import service
from pipelines.sandbox.switches import Switches
from sources.insightly.api import bounds
from sources.insightly.api.client import MAX_ATTEMPTS, Client
from sources.insightly.api.rate_limit import RateLimiter
from sources.insightly.paging.probe import grid
from sources.insightly.state.request import ReadRequest
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
class ExpectedFault:
    """A fault, with the exit code and the message of a run that meets it at every try; `at_once`: without a retry."""

    kind: str
    code: int
    message: str = ""
    retry_after: float | None = None
    counter: bool = True
    at_once: bool = False
    seconds: float = 0.0

    def __str__(self) -> str:
        wait = self.retry_after or self.seconds
        return f"{self.kind}{f' {wait:g} s' if wait else ''}{'' if self.counter else ' uncounted'}"

    def at(self, path: str, offset: int, times: int | None = None) -> Fault:
        """The fault at the page of that offset."""
        facts = {"seconds": self.seconds, "retry_after": self.retry_after, "counter": self.counter}
        return Fault(self.kind, page_of(path, offset), times=times, **facts)


REFUSED = [
    *(ExpectedFault("burst", 1, "429", after) for after in (None, 2)),
    *(ExpectedFault("burst", 3, "429", after, counter=False) for after in (None, 2)),
    *(ExpectedFault("daily", 3, "day", after, at_once=True) for after in (None, HOUR)),
    ExpectedFault("daily", 3, "day", counter=False),
    ExpectedFault("daily", 3, "day", HOUR, counter=False, at_once=True),
]
BROKEN = [
    *(ExpectedFault(status, 1, status) for status in ("500", "502", "503", "504")),
    ExpectedFault("slow", 1, "timed out", seconds=0.6),
    *(ExpectedFault(kind, 1, "no complete response") for kind in ("reset", "cut")),
    *(ExpectedFault(kind, 1, "not JSON") for kind in ("invalid_json", "html")),
]
ODD = [
    ExpectedFault("slow", 0, seconds=0.05),
    *(ExpectedFault(kind, 0) for kind in ("content_type", "duplicate", "unsorted")),
]
EVERY = [*REFUSED, *BROKEN, *ODD]
TYPICAL = [
    fault
    for fault in EVERY
    if fault.kind in ("503", "reset", "cut", "html", "duplicate", "unsorted")
    or (fault.kind in ("burst", "daily") and (fault.retry_after == HOUR) != fault.counter)
]
NO_LISTS = [b'"text"', b"null", b"", b"0", b"[1]", b"[null]", b"[[]]", b"[{}]", b"[]", b'{"A":1}', b"<p>", b'[{"A":']
PASSING = [fault for fault in EVERY if not fault.at_once]


def page_of(path: str, *offsets: int) -> str:
    """Matches the calls for the pages at `offsets`."""
    return rf"regex:^{path}\?(.*&)?skip=({'|'.join(map(str, offsets))})(&|$)"


def mark_long(cases: list[Any], short: Callable[..., bool]) -> list[Any]:
    """The cases as parameters; the long tests alone have those that are not `short`."""
    return [case if short(*case) else pytest.param(*case, marks=pytest.mark.sample(0)) for case in cases]


@dataclass(frozen=True)
class Loaded:
    """A database after the first sync of the account, and its watermark."""

    database: Path
    watermark: str


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Records the pauses of the client in place of sleeping."""
    slept: list[float] = []
    monkeypatch.setitem(Client.__init__.__kwdefaults__, "sleep", slept.append)
    monkeypatch.setattr(RateLimiter, "hold", lambda rate_limiter, seconds: slept.append(seconds))
    return slept


@pytest.fixture
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes the client time out after less than half a second."""
    return lambda: monkeypatch.setitem(Client.__init__.__kwdefaults__, "timeout", (2.0, 0.4))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    with isolated_crm(tmp_path_factory.mktemp("loaded")) as crm:
        watermark = crm.sync_done("notes", "lead_sources", "tags").entities["notes"].watermark
    assert watermark is not None
    return Loaded(crm.database, watermark)


def prepare_walk(crm: Crm, loaded: Loaded, walk: str) -> str | None:
    """Prepares a walk over all notes, and returns the watermark before it."""
    if walk == "first walk":
        return None
    shutil.copy(loaded.database, crm.database)
    crm.clock.advance(2)
    for key in crm.sandbox.store.tables["notes"].keys:
        crm.sandbox.store.update("notes", key, {"TITLE": "changed"})
    return loaded.watermark


def notes(crm: Crm) -> list[Row]:
    return list(map(known, crm.table("notes"))) if crm.database.exists() and crm.columns("notes") else []


def requested_offsets(crm: Crm) -> list[int]:
    """The offsets of the last run's requests for notes."""
    return [int(call.query["skip"]) for call in crm.sandbox.log if call.path in ("/Notes", "/Notes/Search")]


def assert_rows_and_watermark_kept(crm: Crm, report: Report, old: list[Row], watermark: str | None) -> None:
    """Asserts that a failed run kept the watermark, and that each row is as before or as in the account."""
    assert report.entities["notes"].watermark == watermark
    assert report.calls == crm.sandbox.calls()
    now, current = notes(crm), list(map(known, expected(crm.sandbox, "notes")[0]))
    assert len({row["note_id"] for row in now}) == len(now) >= len(old)
    assert all(row in old or row in current for row in now)


# Unusable responses


@pytest.mark.parametrize(
    ("faults", "walk"),
    mark_long(
        [(faults, walk) for walk in PATHS for faults in (PASSING, *([fault] for fault in PASSING))],
        lambda faults, walk: faults == PASSING,
    ),
    ids=lambda value: value if isinstance(value, str) else "all" if len(value) > 1 else str(value[0]),
)
def test_sync_retries_faults_that_pass(
    crm: Crm,
    loaded: Loaded,
    faults: list[ExpectedFault],
    walk: str,
    pauses: list[float],
    short_timeout: Callable[[], None],
) -> None:
    """Faults of one kind hit every page once, or faults of each kind hit one page each."""
    if "slow" in {fault.kind for fault in faults}:
        short_timeout()
    watermark = prepare_walk(crm, loaded, walk)
    size, kinds = (SIZE, cycle(faults)) if len(faults) == 1 else (3, faults)
    hits = list(zip(range(0, 50, size - 1), kinds, strict=False))
    crm.sandbox.faults.add(*(fault.at(PATHS[walk], offset, times=1) for offset, fault in hits))
    # Several 429 in a row without a counter mean a spent day, so each page must be requested again at once.
    threads = 8 if faults[0].counter else 1
    report = crm.sync_done("notes", page_size=size, max_connections=threads)
    assert report.calls == crm.sandbox.calls()
    assert (report.entities["notes"].watermark or "") > (watermark or "")
    requested = set(requested_offsets(crm))
    # A page that takes too long is requested again for fewer rows, so the pages behind it may have other offsets.
    shortened = min((offset for offset, fault in hits if fault.kind in ("504", "slow")), default=50)
    assert {offset for offset, _ in hits if offset <= shortened} <= requested
    assert len(pauses) >= sum(fault.code != 0 for offset, fault in hits if offset in requested)
    assert {fault.retry_after for _, fault in hits} - {None} <= set(pauses)
    crm.assert_equal("notes")


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("fault", "walk", "page"),
    mark_long(
        [(fault, walk, page) for fault in EVERY for walk in PATHS for page in OFFSETS],
        lambda fault, walk, page: (
            fault in TYPICAL
            if (walk, page) == ("incremental walk", "middle")
            else (walk, page) == ("first walk", "last") and fault.kind in ("503", "duplicate")
        ),
    ),
    ids=str,
)
def test_lasting_fault_ends_the_run_and_a_later_run_completes_it(
    crm: Crm, loaded: Loaded, fault: ExpectedFault, walk: str, page: str, short_timeout: Callable[[], None]
) -> None:
    if fault.kind == "slow":
        short_timeout()
    watermark = prepare_walk(crm, loaded, walk)
    old, offset = notes(crm), OFFSETS[page]
    crm.sandbox.faults.add(fault.at(PATHS[walk], offset))
    report = crm.sync("notes", page_size=SIZE)
    assert report.exit_code == fault.code
    if fault.code:
        ended = {1: ("failed", "failed"), 3: ("stopped", "partial")}
        assert (report.status, report.entities["notes"].state) == ended[fault.code]
        assert fault.message in (report.reason or "")
        assert requested_offsets(crm).count(offset) == (1 if fault.at_once else tries(fault))
        assert_rows_and_watermark_kept(crm, report, old, watermark)
        crm.sandbox.faults.clear()
        crm.clock.advance(25)
        report = crm.sync_done("notes", page_size=SIZE)
        assert min(requested_offsets(crm)) == offset
    assert (report.entities["notes"].watermark or "") > (watermark or "")
    crm.assert_equal("notes")


def tries(fault: ExpectedFault) -> int:
    if fault.kind in ("burst", "daily"):
        return MAX_ATTEMPTS["burst" if fault.counter else "unexplained"]
    return MAX_ATTEMPTS["malformed" if "JSON" in fault.message else "server error"]


# Pages that are too large


@pytest.mark.sample(1)
@pytest.mark.parametrize("walk", ["Contacts", "Emails"])
def test_page_too_large_is_halved_and_the_size_kept(crm: Crm, walk: str) -> None:
    """Of a list with a cursor and of one without; the checkpoint stays, and so does the size, in the next run too."""
    crm.sandbox.faults.add(Fault("504", rf"regex:^{walk}\?.*top=(1[1-9]|[2-9]\d)&", times=None))
    name, rows = walk.lower(), crm.sandbox.store.count(walk.lower())
    pages = len(grid(rows, 10))
    stopped = crm.sync(name, page_size=40, chunk_calls=2, max_calls=6)
    assert (stopped.exit_code, tops(crm)[:4]) == (3, [40, 20, 10, 10])
    left = pages - tops(crm).count(10)
    crm.sync_done(name, page_size=40, chunk_calls=2)
    assert tops(crm) == [10] * left
    crm.assert_equal(name)
    # A later walk of the whole list tries twice the size.
    crm.sync_done(name, page_size=40, request=ReadRequest(full=True))
    assert tops(crm) == [20] + [10] * pages
    crm.sandbox.faults.clear()
    crm.sync_done(name, page_size=40, request=ReadRequest(full=True))
    assert set(tops(crm)) == {20}


@pytest.mark.sample(2)
@pytest.mark.parametrize("kind", ["504", "500", "invalid_json", "slow"])
def test_list_gets_through_though_only_pages_of_ten_rows_succeed(
    crm: Crm, kind: str, short_timeout: Callable[[], None]
) -> None:
    if kind == "slow":
        short_timeout()
    crm.sandbox.faults.add(Fault(kind, r"regex:^Contacts\?.*top=(1[1-9]|[2-9]\d|\d{3,})&", times=None))
    crm.sync_done("contacts", page_size=500)
    assert max(tops(crm)) == 500
    crm.assert_equal("contacts")


def test_sweep_of_pages_too_large_compares_every_id(crm: Crm) -> None:
    crm.first_sync("contacts")
    for key in crm.sandbox.store.tables["contacts"].keys[5:30:7]:
        crm.sandbox.store.delete("contacts", key)
    crm.sandbox.faults.add(Fault("504", r"regex:^Contacts\?.*top=40&", times=None))
    report = sweep(crm.settings(page_size=40), crm.target, ["contacts"])
    assert (report.exit_code, report.entities["contacts"].deleted) == (0, 4)


def test_record_too_large_is_named_and_the_ones_before_are_kept(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = crm.sandbox.store.tables["notes"].keys
    crm.sandbox.store.update("notes", keys[23], {"BODY": "x" * 300_000})
    monkeypatch.setattr(bounds, "MAX_BYTES", 200_000)
    report = crm.sync("notes", "lead_sources", page_size=SIZE)
    assert (report.exit_code, report.transient, report.entities["lead_sources"].state) == (1, False, "ok")
    reason = str(report.entities["notes"].reason)
    assert "the 2 records from skip=22 on have more than 200,000 bytes" in reason
    assert reason.endswith(f"The last record read has the NOTE_ID {keys[22]}")
    assert crm.count("notes") == 23
    crm.sandbox.store.update("notes", keys[23], {"BODY": "short"})
    crm.sync_done("notes", page_size=SIZE)
    crm.assert_equal("notes")


def tops(crm: Crm) -> list[int]:
    """The sizes of the pages that the last run requested."""
    return [int(call.query["top"]) for call in crm.sandbox.log if "skip" in call.query]


# The day's end


@pytest.mark.sample(1)
@pytest.mark.parametrize("counter", [True, False], ids=["counted", "uncounted"])
def test_spent_quota_stops_the_run_and_the_next_day_resumes_it(make_crm: MakeCrm, counter: bool) -> None:
    """Eight requests are in flight; without a counter, four more show that it is no burst."""
    crm = make_crm(switches=replace(OPEN, latency=0.05))
    names = ("notes", "contacts", "leads")
    # After the pages that are requested ahead, behind which the definitions of the first entity may come.
    crm.sandbox.faults.add(Fault("daily", nth=30, times=None, counter=counter))
    stopped = crm.sync(*names, page_size=4)
    assert (stopped.status, stopped.exit_code) == ("stopped", 3)
    assert "day" in (stopped.reason or "")
    assert (
        1 <= sum(call.status == 429 for call in crm.sandbox.log) <= (8 if counter else 8 + MAX_ATTEMPTS["unexplained"])
    )
    loaded = {name: crm.count(name) if crm.columns(name) else 0 for name in names}
    assert sum(loaded.values()) > 0

    crm.sandbox.switches = OPEN
    crm.sandbox.faults.clear()
    crm.clock.advance(25)
    report = crm.sync_done(*names, page_size=SIZE)
    assert {n: e.rows for n, e in report.entities.items()} == {n: crm.sandbox.store.count(n) - loaded[n] for n in names}
    crm.assert_equal(*names)


# Rows that appear and disappear


@pytest.mark.sample(0)
@pytest.mark.parametrize(
    ("kind", "walk", "page"),
    mark_long(
        [(kind, walk, page) for kind in ("create", "delete_before") for walk in PATHS for page in OFFSETS],
        lambda kind, walk, page: page == ("middle" if walk == "first walk" else "last"),
    ),
    ids=str,
)
def test_walk_loses_no_row_while_others_come_and_go(crm: Crm, loaded: Loaded, kind: str, walk: str, page: str) -> None:
    prepare_walk(crm, loaded, walk)
    crm.sandbox.faults.add(Fault(kind, page_of(PATHS[walk], OFFSETS[page]), count=SIZE + 3))
    crm.sync_done("notes", page_size=SIZE)
    # A row created behind the walk has a date after its start, so the next run reads it.
    crm.sync_done("notes", page_size=SIZE)
    crm.assert_equal("notes", deleted=True)


# Clocks


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("minutes", "date"),
    mark_long(
        [(-30, True), (30, True), (-4, False), (4, False), (30, False)], lambda minutes, date: minutes in (-30, -4)
    ),
)
def test_clock_skew_loses_no_change(make_crm: MakeCrm, minutes: int, date: bool) -> None:
    """Without a Date header the lookback covers a slow clock of the service, up to its own length.

    A watermark is not later than this machine's clock allows: it may be the service's that is wrong.
    """
    switches = replace(OPEN, clock_skew_seconds=60 * minutes, date_header=date)
    crm = make_crm(switches=switches, clock=lambda: datetime.now(UTC))

    def change(store: Store) -> None:
        store.update("notes", store.tables["notes"].keys[0], {"TITLE": "changed behind the walk"})

    crm.sandbox.faults.add(Fault("call", page_of("Notes", OFFSETS["last"]), action=change))
    report = crm.sync_done("notes", page_size=SIZE)
    if date:
        early = datetime.now(UTC) + timedelta(minutes=min(minutes, 0)) - parse(report.entities["notes"].watermark or "")
        assert timedelta(minutes=5) <= early < timedelta(minutes=6)
    change(crm.sandbox.store)
    crm.sync_done("notes", page_size=SIZE)
    crm.assert_equal("notes")


def edit(crm: Crm, at: int) -> None:
    table = crm.sandbox.store.tables["notes"]
    crm.sandbox.store.update("notes", table.keys[at], {"TITLE": f"edited {at}"})


@pytest.mark.sample(1)
@pytest.mark.parametrize("hours", [1, 22, 24 * 365 * 30])
def test_date_that_was_wrong_once_hides_no_edit(make_crm: MakeCrm, hours: int) -> None:
    crm = make_crm(clock=lambda: datetime.now(UTC))
    crm.sandbox.switches = replace(OPEN, clock_skew_seconds=hours * HOUR)
    crm.sync_done("notes")
    crm.sandbox.switches = OPEN
    edit(crm, 3)
    report = crm.sync_done("notes")
    assert parse(report.entities["notes"].watermark or "") <= datetime.now(UTC)
    crm.assert_equal("notes")


@pytest.mark.sample(0)
def test_watermark_in_the_future_is_reported_and_corrected(make_crm: MakeCrm, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an earlier version, or a wrong clock of this machine, has left it; the walk back takes two runs."""
    crm = make_crm(clock=lambda: datetime.now(UTC))
    with monkeypatch.context() as patch:
        patch.setattr(Client, "_excess", lambda *_: 0.0)
        crm.sandbox.switches = replace(OPEN, clock_skew_seconds=2 * HOUR)
        ahead = crm.sync_done("notes").entities["notes"].watermark or ""
        assert parse(ahead) > datetime.now(UTC)
    crm.sandbox.switches = OPEN
    edit(crm, 3)
    crm.sync("notes", page_size=SIZE, chunk_calls=2, max_calls=3)
    report = crm.sync_done("notes", page_size=SIZE).entities["notes"]
    assert ahead in " ".join(report.schema_changes)
    assert parse(report.watermark or "") <= datetime.now(UTC)
    crm.assert_equal("notes")
    assert requested_offsets(crm)[0] > 0
    crm.sync_done("notes", page_size=SIZE)
    assert [call.path for call in crm.sandbox.log] == ["/Notes/Search"]


@pytest.mark.sample(0)
def test_full_sync_resets_only_a_watermark_in_the_future(make_crm: MakeCrm, monkeypatch: pytest.MonkeyPatch) -> None:
    crm = make_crm(clock=lambda: datetime.now(UTC))
    full = ReadRequest(full=True)
    with monkeypatch.context() as patch:
        patch.setattr(Client, "_excess", lambda *_: 0.0)
        crm.sandbox.switches = replace(OPEN, clock_skew_seconds=2 * HOUR)
        assert parse(crm.sync_done("notes").entities["notes"].watermark or "") > datetime.now(UTC)
    crm.sandbox.switches = OPEN
    reset = crm.sync_done("notes", request=full, lookback_seconds=1).entities["notes"].watermark or ""
    assert parse(reset) <= datetime.now(UTC)
    assert (crm.sync_done("notes", request=full, lookback_seconds=600).entities["notes"].watermark or "") == reset


# Refused and malformed lists


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("kind", "walk"),
    mark_long(
        [(kind, walk) for kind in ("forbidden", "missing") for walk in PATHS],
        lambda kind, walk: (kind, walk) in [("forbidden", "incremental walk"), ("missing", "first walk")],
    ),
)
def test_lost_permission_keeps_rows_and_watermark(crm: Crm, loaded: Loaded, kind: str, walk: str) -> None:
    names, watermark, old = ("notes", "lead_sources"), prepare_walk(crm, loaded, walk), notes(crm)
    crm.sandbox.faults.add(Fault(kind, page_of(PATHS[walk], 18, 27, 36, 45), times=None))
    for named in (False, True):
        report = crm.sync(*(names if named else ()), entities=list(names), page_size=SIZE)
        assert (report.exit_code, report.status) == ((1, "failed") if named else (0, "done"))
        assert (report.entities["notes"].state, report.entities["lead_sources"].state) == ("skipped", "ok")
        assert {"forbidden": "403", "missing": "404"}[kind] in (report.entities["notes"].reason or "")
        assert_rows_and_watermark_kept(crm, report, old, watermark)
    crm.sandbox.faults.clear()
    crm.sync_done(*names, page_size=SIZE)
    crm.assert_equal(*names)


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("body", "page"),
    mark_long(
        [(body, page) for body in NO_LISTS for page in ("first", "middle")],
        lambda body, page: body == b"null" or (page == "first" and body in (b"", b"[1]", b"[]")),
    ),
    ids=lambda value: value if isinstance(value, str) else value.decode() or "nothing",
)
def test_malformed_200_does_not_empty_the_table(
    crm: Crm, loaded: Loaded, body: bytes, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From that page on. Rows of a list that is `[]` twice may be hidden, whatever its total."""
    names = ("notes", "lead_sources", "tags")
    watermark = prepare_walk(crm, loaded, "incremental walk")
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
    hidden = body == b"[]" and page == "first"
    assert set(failed) == ({"lead_sources", "tags"} if hidden else set(names) if page == "first" else {"notes"})
    words = "no longer listed" if hidden else "expected a|not JSON|a row without|did not end"
    assert all(re.search(words, reason) for reason in failed.values())
    if hidden:
        assert any("and lists 0" in note for note in report.entities["notes"].schema_changes)
    assert_rows_and_watermark_kept(crm, report, old, watermark)
    assert [crm.table("lead_sources"), crm.table("tags")] == references
    crm.sync_done(*names, page_size=SIZE)
    crm.assert_equal(*names)


@pytest.mark.sample(0)
def test_failure_says_whether_a_retry_may_help(crm: Crm) -> None:
    crm.sandbox.faults.add(Fault("object", match="Notes*"))
    later = crm.sync("notes", "lead_sources")
    crm.sandbox.switches = replace(OPEN, forbidden=frozenset({"products"}))
    never, wrong = crm.sync("products"), crm.sync("notes", api_key="99999999-9999-9999-9999-999999999999")
    assert [(report.exit_code, report.transient) for report in (later, never, wrong)] == [
        (1, True),
        (1, False),
        (1, False),
    ]
