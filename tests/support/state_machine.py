"""A state machine: random edits, faults and kills, and a destination that must equal the account after them."""

import gc
import importlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import duckdb
import pytest
from dlt.common.versioned_state import decompress_state
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pipelines.commands.sweep import sweep
from pipelines.commands.sync import sync
from pipelines.commands.verify import verify
from pipelines.destinations.target import NothingSynced, Target
from pipelines.engine.report import Report
from pipelines.sandbox import Fault, Sandbox, Store
from pipelines.sandbox.store.shapes import LINKED, MAIN
from sources.insightly import ENTITIES
from sources.insightly.config.settings import resolve_settings
from sources.insightly.state.request import ReadRequest
from tests.support.crm import OPEN, Clock, attached, contents_of, isolate, read
from tests.support.expected import assert_equal, normalize

NAMES = ("contacts", "organisations", "leads", "notes", "opportunities", "tasks", "tags", "lead_sources", "emails")
EDITED = [name for name in NAMES if name != "tags"]
TEXTS = {
    "contacts": "TITLE",
    "organisations": "PHONE",
    "leads": "TITLE",
    "notes": "TITLE",
    "opportunities": "OPPORTUNITY_DETAILS",
    "tasks": "DETAILS",
    "lead_sources": "LEAD_SOURCE",
    "emails": "SUBJECT",
}
CUSTOM: dict[str, tuple[str, tuple[Any, ...]]] = {
    "contacts": ("Newsletter__c", (True, False, None)),
    "organisations": ("Renewal_Review__c", ("2026-02-03 04:05:06", None)),
    "leads": ("Budget__c", (1.5, 2_000, None)),
    "opportunities": ("Decision_Date__c", ("2026-02-03 00:00:00", None)),
    "tasks": ("Billable__c", (True, False)),
}
WORDS = ("", "plain", "né à Zürich 😀", "two\nlines", "x" * 300, None)
TAGS = ((), ("a",), ("a", "b"), ("b", "c"), ("a", "b", "c", "Zürich & Söhne"))

EDITS = (
    "create", "create", "edit", "edit", "custom", "delete", "delete", "delete_block", "hide", "restore", "restore_new",
    "retag", "link", "unlink", "empty", "retag_undated", "edit_undated", "link_undated",
)  # fmt: skip
POINTS = (
    "sources.insightly.api.client.Client._attempt",
    "dlt.normalize.normalize.Normalize.run",
    "dlt.load.load.Load.run",
    "dlt.load.load.Load.complete_jobs",
    "dlt.load.load.Load.complete_package",
    "pipelines.destinations.dataset.Dataset.mark_deleted",
    "pipelines.destinations.dataset.Dataset.record_restored",
    "pipelines.destinations.dataset.Dataset._key",
    "pipelines.engine.runner.write_run",
)
"""Where to kill a run: requests, normalize, before, during and at the end of a load, and around the project's SQL."""

Edit = tuple[str, int, int, int]
edits = st.tuples(st.sampled_from(EDITS), st.integers(0, 6), st.integers(0, 60), st.integers(0, 8))
commands = st.sampled_from(("sync", "sync", "sync", "full", "sweep", "sweep --tags", "sweep --thorough"))
chosen = st.one_of(st.none(), st.integers(0, 3))
run_options = st.fixed_dictionaries(
    {
        "page_size": st.sampled_from((5, 7, 3, 500)),
        "chunk_calls": st.sampled_from((50, 2, 3)),
        "max_connections": st.sampled_from((1, 3)),
        "lookback_seconds": st.sampled_from((1, 300)),
    }
)
PASSING = ("500", "503", "reset", "cut", "invalid_json", "html", "burst", "daily")
DISTURBING = ("delete_before", "create", "touch_same_second", "duplicate", "unsorted", "object", "forbidden", "missing")


class Killed(BaseException):
    """Ends a run at once; no `except Exception` catches it."""


@dataclass
class AccountHistory:
    """What happened to the account that its store does not show."""

    deleted: dict[tuple[str, int], Any] = field(default_factory=dict)
    """Deleted and hidden records, as they were."""
    hidden: set[tuple[str, int]] = field(default_factory=set)
    last_missing: dict[tuple[str, int], int] = field(default_factory=dict)
    """The last step in which a record was missing, even briefly."""
    silent: set[str] = field(default_factory=set)
    """Entities with a change that neither syncs nor sweeps can see."""


@contextmanager
def kill_at_call(point: str, nth: int) -> Iterator[None]:
    """From its `nth` call on, a function of the product raises Killed, as a dead process does nothing more."""
    owner, _, name = point.rpartition(".")
    try:
        holder: Any = importlib.import_module(owner)
    except ModuleNotFoundError:
        module, _, kind = owner.rpartition(".")
        holder = getattr(importlib.import_module(module), kind)
    real, seen = getattr(holder, name), [0]

    def die(*arguments: Any, **named: Any) -> Any:
        seen[0] += 1
        if seen[0] >= nth:
            raise Killed
        return real(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(holder, name, die)
        yield


class SyncMachine(RuleBasedStateMachine):
    def __init__(self, root: Path) -> None:
        super().__init__()
        self.folder = Path(mkdtemp(dir=root))
        self.patch = pytest.MonkeyPatch()
        isolate(self.folder, self.patch)
        self.patch.setattr("sources.insightly.api.client.MAX_WAIT", 0.001)
        self.clock, self.history, self.step, self.unchecked = Clock(), AccountHistory(), 0, False
        self.names: tuple[str, ...] = ()
        self.forbidden: frozenset[str] = frozenset()
        self.marks: dict[tuple[str, int], int] = {}
        self.watermarks: dict[str, str] = {}
        self.sandbox: Sandbox | None = None

    @property
    def store(self) -> Store:
        assert self.sandbox is not None
        return self.sandbox.store

    @property
    def target(self) -> Target:
        return Target(database=str(self.folder / "crm.duckdb"))

    @initialize(
        names=st.lists(st.sampled_from(NAMES), min_size=2, max_size=4, unique=True),
        embedded=st.sampled_from((True, True, False)),
        brief=st.sampled_from(("missing", "null", "empty")),
        skew=st.sampled_from((0, 3600, -3600)),
        deletions=st.sampled_from(("mark", "mark", "remove")),
        total_error=st.sampled_from((0, 0, 1, -1, 1_000_000)),
    )
    def open(self, names: list[str], embedded: bool, brief: Any, skew: int, deletions: str, total_error: int) -> None:
        self.names = tuple(sorted(names, key=NAMES.index))
        self.deletions = deletions
        self.switches = replace(
            OPEN, embed_tags=embedded, brief_style=brief, clock_skew_seconds=skew, total_error=total_error
        )
        self.sandbox = Sandbox(contents=contents_of(0.02), switches=self.switches, clock=self.clock).start()
        for name in EDITED:
            for row in self.store.rows(name) if ENTITIES[name].tagged else ():
                tags = sorted(tag["TAG_NAME"] for tag in row["TAGS"])
                self.store.set_tags(name, row[ENTITIES[name].key[0]], tags, touch=False)

    # The account

    @rule(changes=st.lists(edits, min_size=1, max_size=6))
    def edit(self, changes: list[Edit]) -> None:
        for change in changes:
            self.apply(change)

    @rule(changes=st.lists(edits, min_size=1, max_size=4), entity=st.integers(0, 3), nth=st.integers(1, 5))
    def edit_during_the_next_run(self, changes: list[Edit], entity: int, nth: int) -> None:
        def act(store: Store) -> None:
            for change in changes:
                self.apply(change)

        self.add_fault(Fault("call", match=f"{ENTITIES[self.name(entity)].path}*", nth=nth, action=act))

    @rule(seconds=st.sampled_from((1, 60, 3_600, 90_000)))
    def advance(self, seconds: int) -> None:
        self.clock.now += timedelta(seconds=seconds)

    @rule(entity=st.integers(0, 3), during=st.booleans())
    def take_or_give_permission(self, entity: int, during: bool) -> None:
        name = self.name(entity)

        def act(_: Any = None) -> None:
            self.forbidden ^= {name}
            self.apply_permissions()

        if during:
            self.add_fault(Fault("call", match=f"{ENTITIES[name].path}*", nth=2, action=act))
        else:
            act()

    # The service

    @rule(kind=st.sampled_from(PASSING), nth=st.integers(1, 12), times=st.sampled_from((1, 2, 30)))
    def trouble(self, kind: str, nth: int, times: int) -> None:
        self.add_fault(Fault(kind, nth=nth, times=times))

    @rule(
        kind=st.sampled_from(DISTURBING),
        entity=st.integers(0, 3),
        search=st.booleans(),
        nth=st.integers(1, 4),
        times=st.sampled_from((1, 3)),
    )
    def disturb(self, kind: str, entity: int, search: bool, nth: int, times: int) -> None:
        name = self.name(entity)
        path = ENTITIES[name].path + ("/Search" if search and name in EDITED else "")
        if kind == "delete_before" and name in EDITED:

            def delete(store: Store) -> None:
                self.delete(name, store.tables[name].keys[:2])

            self.add_fault(Fault("call", match=path, nth=nth, times=times, action=delete))
        else:
            self.add_fault(Fault(kind, match=path, nth=nth, times=times, count=2))

    @rule()
    def calm(self) -> None:
        self.end_faults()

    @rule(calls=st.integers(0, 12))
    def nearly_spend_the_day(self, calls: int) -> None:
        assert self.sandbox is not None
        self.switches = replace(self.switches, quota=calls)
        self.sandbox.limits.reset()
        self.apply_permissions()

    @rule()
    def next_day(self) -> None:
        assert self.sandbox is not None
        self.switches = replace(self.switches, quota=OPEN.quota)
        self.clock.advance(24)
        self.sandbox.limits.reset()
        self.apply_permissions()

    # The runs

    @rule(command=commands, only=chosen, options=run_options)
    def run(self, command: str, only: int | None, options: dict[str, Any]) -> None:
        self.log_report(self.command(command, only, options))

    @rule(command=commands, only=chosen, options=run_options)
    def run_again(self, command: str, only: int | None, options: dict[str, Any]) -> None:
        self.log_report(self.command(command, only, options))

    @rule(options=run_options, calls=st.integers(0, 9), full=st.booleans())
    def run_with_few_calls(self, options: dict[str, Any], calls: int, full: bool) -> None:
        report = self.command("full" if full else "sync", None, {**options, "max_calls": calls})
        assert report is None or report.calls <= calls
        self.log_report(report)

    @rule(
        command=commands,
        only=chosen,
        options=run_options,
        point=st.sampled_from(POINTS),
        nth=st.integers(1, 6),
        lost=st.booleans(),
    )
    def kill(self, command: str, only: int | None, options: dict[str, Any], point: str, nth: int, lost: bool) -> None:
        gc.freeze()  # Then only what this run leaves behind, such as connections, is looked at.
        try:
            with kill_at_call(point, nth):
                self.log_report(self.command(command, only, options))
        except Killed:
            self.history.silent |= self.pending_silent
            note("killed")
        gc.collect()
        gc.unfreeze()
        if lost:
            self.lose_the_folder()

    @rule()
    def lose_the_folder(self) -> None:
        shutil.rmtree(self.folder / "dlt", ignore_errors=True)

    # Invariants

    @invariant()
    def check_tables(self) -> None:
        if self.unchecked:
            self.unchecked = False
            with attached(self.folder / "crm.duckdb") as connection:
                self.assert_consistent(connection)

    def teardown(self) -> None:
        try:
            if self.sandbox is not None and self.names:
                self.finish()
        finally:
            if self.sandbox is not None:
                self.sandbox.stop()
            self.patch.undo()
            shutil.rmtree(self.folder, ignore_errors=True)

    def finish(self) -> None:
        assert self.sandbox is not None
        self.end_faults()
        self.forbidden = frozenset()
        self.next_day()
        self.step += 1
        options = {"page_size": 7}
        report = self.command("sync", None, options)
        self.assert_success(self.command("sweep", None, options, thorough=True, tags=True, force=True))
        if report is not None and "max_deleted_share" in str(report.reason):
            report = self.command("sync", None, options)  # the last row of a replaced list was deleted
        self.assert_success(report)
        if again := sorted(self.history.silent & {*self.names}):
            self.assert_success(sync(self.settings(**options), self.target, again, ReadRequest(full=True)))
        with attached(self.target.path) as connection:
            self.assert_consistent(connection)
            self.assert_deletions_match(connection)
        for name in self.names:
            assert_equal(partial(read, self.target.path), self.sandbox, name, deleted=True)
        proof = verify(self.settings(), self.target, self.names, full=True)
        self.assert_success(proof)
        for name, entity in proof.entities.items():
            assert entity.facts["proved"], name
            assert not entity.facts["newer"], name

    # Helpers

    def name(self, index: int) -> str:
        return self.names[index % len(self.names)]

    def settings(self, **options: Any) -> Any:
        assert self.sandbox is not None
        account = {"api_key": self.sandbox.key, "base_url": self.sandbox.url, "requests_per_second": 1000}
        return resolve_settings(**account, deletions=self.deletions, **options)

    def command(self, command: str, only: int | None, options: dict[str, Any], **how: Any) -> Report | None:
        self.step += 1
        self.clock.now += timedelta(seconds=1)
        names = self.names if only is None else (self.name(only),)
        config, self.unchecked = self.settings(**options), True
        self.pending_silent = self.history.silent & {*names} if command == "full" else set[str]()
        self.history.silent -= self.pending_silent
        try:
            if command in ("sync", "full"):
                report = sync(config, self.target, names, ReadRequest(full=command == "full"))
            else:
                how = how or {"thorough": command.endswith("thorough"), "tags": command.endswith("tags")}
                report = sweep(config, self.target, names, **how)
        except NothingSynced:
            self.unchecked = False
            return None
        self.history.silent |= {name for name in self.pending_silent if report.entities[name].state != "ok"}
        return report

    def log_report(self, report: Report | None) -> None:
        if report is not None:
            note(f"{report.exit_code} {report.reason} { {n: e.state for n, e in report.entities.items()} }")

    def assert_success(self, report: Report | None) -> None:
        assert report is not None
        states = {name: (entity.state, entity.reason) for name, entity in report.entities.items()}
        assert (report.exit_code, report.reason) == (0, None), (states, report.entities)

    def apply_permissions(self) -> None:
        assert self.sandbox is not None
        self.sandbox.switches = replace(self.switches, forbidden=self.forbidden)

    def add_fault(self, fault: Fault) -> None:
        assert self.sandbox is not None
        self.sandbox.faults.add(fault)

    def end_faults(self) -> None:
        assert self.sandbox is not None
        self.sandbox.faults.clear()
        for entity, key in self.history.hidden:
            self.add_fault(Fault("forbidden", match=f"{ENTITIES[entity].path}/{key}", times=None))

    def delete(self, entity: str, keys: list[int], hidden: bool = False) -> None:
        with self.store.lock:
            for key in list(keys):
                self.history.deleted[entity, key] = self.store.get(entity, key)
                self.history.last_missing[entity, key] = self.step
                self.store.delete(entity, key)
                if hidden:
                    self.history.hidden.add((entity, key))
                    self.add_fault(Fault("forbidden", match=f"{ENTITIES[entity].path}/{key}", times=None))

    def apply(self, change: Edit) -> None:
        """Makes one edit; its numbers select modulo the records that exist, which a run may have changed."""
        kind, index, number, value = change
        editable = [name for name in self.names if name in EDITED] or ["contacts"]
        entity = editable[index % len(editable)]
        with self.store.lock:
            keys = self.store.tables[entity].keys
            if kind in ("restore", "restore_new"):
                self.restore(entity, number, kind == "restore_new")
            elif kind == "create":
                self.create(entity, value)
            elif keys:
                self.edit_one(kind, entity, keys[number % len(keys)], value)

    def create(self, entity: str, value: int) -> None:
        arrays = {name for name in ENTITIES[entity].arrays if name == "TAGS"}
        fields: dict[str, Any] = {TEXTS[entity]: WORDS[value % len(WORDS)]}
        if arrays:
            fields["TAGS"] = [{"TAG_NAME": name} for name in TAGS[value % len(TAGS)]]
        self.store.create(entity, fields)

    def restore(self, entity: str, number: int, new: bool) -> None:
        deleted = sorted(key for name, key in self.history.deleted if name == entity)
        if not deleted:
            return
        key = deleted[number % len(deleted)]
        record = self.history.deleted.pop((entity, key))
        self.history.last_missing[entity, key] = self.step
        self.history.hidden.discard((entity, key))
        if new and "DATE_UPDATED_UTC" in record:
            record["DATE_UPDATED_UTC"] = self.store.now()
        elif ENTITIES[entity].read == "incremental" and self.loaded_date(entity, key) not in (
            None,
            record["DATE_UPDATED_UTC"],
        ):
            # The loaded row is live and older, and the restored date may be before the watermark.
            self.history.silent.add(entity)
        self.store.put_raw(entity, record)

    def edit_one(self, kind: str, entity: str, key: int, value: int) -> None:
        facts, dated = ENTITIES[entity], not kind.endswith("_undated")
        if not dated and kind != "retag_undated" and facts.read == "incremental":
            self.history.silent.add(entity)
        if kind in ("delete", "hide") or (kind == "delete_block" and value > 4):
            self.delete(entity, [key], hidden=kind == "hide" and facts.get is not None)
        elif kind == "delete_block":
            keys = self.store.tables[entity].keys
            first = keys.index(key)
            self.delete(entity, keys[first : first + 2 * value + 2])
        elif kind.startswith("edit"):
            self.store.update(entity, key, {TEXTS[entity]: WORDS[value % len(WORDS)]}, touch=dated)
        elif kind == "custom" and entity in CUSTOM:
            name, values = CUSTOM[entity]
            row = self.store.get(entity, key) or {}
            others = [item for item in row["CUSTOMFIELDS"] if item["FIELD_NAME"] != name]
            item = {"FIELD_NAME": name, "FIELD_VALUE": values[value % len(values)], "CUSTOM_FIELD_ID": name}
            self.store.update(entity, key, {"CUSTOMFIELDS": others if value > 6 else [*others, item]})
        elif kind.startswith("retag") and facts.tagged:
            self.store.set_tags(entity, key, TAGS[value % len(TAGS)], touch=dated)
        elif kind == "empty":
            self.store.update(entity, key, {array: [] for array in facts.arrays})
        elif kind.startswith("link") and "LINKS" in facts.arrays:
            others = self.store.tables["contacts"].keys
            if others and entity in LINKED.values():
                self.store.add_link(entity, key, "Contact", others[value % len(others)], touch=dated)
                if not dated and entity in MAIN:
                    self.history.silent.add("contacts")
        elif kind == "unlink" and "LINKS" in facts.arrays:
            links = (self.store.get(entity, key) or {})["LINKS"]
            if links:
                self.store.change_links(entity, key, links[value % len(links)]["LINK_ID"], None)

    def loaded_date(self, entity: str, key: int) -> str | None:
        """DATE_UPDATED_UTC of a live row in the destination."""
        facts = ENTITIES[entity]
        if not self.target.exists():
            return None
        sql = (
            f"select strftime(date_updated_utc at time zone 'UTC', '%Y-%m-%d %H:%M:%S') from insightly.{entity} "
            f"where {normalize(facts.key[0])} = {key} and _deleted_at is null"
        )
        with attached(self.target.path) as connection:
            try:
                rows = connection.execute(sql).fetchall()
            except duckdb.CatalogException:
                return None
        return str(rows[0][0]) if rows else None

    # Assertions

    def assert_consistent(self, connection: duckdb.DuckDBPyConnection) -> None:
        tables = {
            name
            for (name,) in connection.execute(
                "select table_name from information_schema.tables where table_schema = 'insightly'"
            ).fetchall()
        }
        for name in self.names:
            facts = ENTITIES[name]
            keys = [normalize(part) for part in facts.key]
            for table, own in {
                name: keys,
                **{f"{name}__{a.lower()}": [*keys, "list_idx"] for a in facts.arrays},
            }.items():
                if table in tables:
                    listed = ", ".join(own)
                    sql = f"select {listed} from insightly.{table} group by {listed} having count(*) > 1"
                    assert connection.execute(sql).fetchall() == [], table
            if facts.swept and name in tables:
                self.assert_marks(connection, name, "deletions" in tables)
        if "_dlt_pipeline_state" in tables:
            self.assert_watermarks(connection)

    def assert_marks(self, connection: duckdb.DuckDBPyConnection, name: str, ledger: bool) -> None:
        key = normalize(ENTITIES[name].key[0])
        rows = connection.execute(f"select {key}, _deleted_at is not null from insightly.{name}").fetchall()
        marked = {id_ for id_, deleted in rows if deleted}
        opened: list[int] = []
        if ledger:
            sql = f"select record_id from insightly.deletions where entity = '{name}' and restored_at is null"
            opened = sorted(id_ for (id_,) in connection.execute(sql).fetchall())
        assert len(opened) == len(set(opened)), (name, "a deletion is twice in the ledger")
        if self.deletions == "mark":
            assert marked <= set(opened), (name, "a mark without a row in the ledger")
        else:
            assert not marked, name
            marked = set(opened) - {id_ for id_, _ in rows}
        for id_ in marked:
            since = self.marks.setdefault((name, id_), self.step)
            last_missing = self.history.last_missing.get((name, id_), -1)
            if (name, id_) not in self.history.deleted and since > last_missing:
                raise AssertionError(f"{name} {id_} was marked deleted in step {since}, last missing in {last_missing}")
        for name_, id_ in list(self.marks):
            if name_ == name and id_ not in marked:
                del self.marks[name_, id_]

    def assert_watermarks(self, connection: duckdb.DuckDBPyConnection) -> None:
        sql = (
            "select s.state from insightly._dlt_pipeline_state s join insightly._dlt_loads l "
            "on l.load_id = s._dlt_load_id where l.status = 0 order by l.load_id desc limit 1"
        )
        resources: dict[str, Any] = {}
        for (state,) in connection.execute(sql).fetchall():
            resources = decompress_state(state)["sources"]["insightly"].get("resources", {})
        for name in self.names:
            watermark = resources.get(name, {}).get("incremental", {}).get("DATE_UPDATED_UTC", {}).get("last_value")
            before = self.watermarks.get(name)
            assert before is None or (watermark is not None and watermark >= before), (name, before, watermark)
            if watermark is not None:
                self.watermarks[name] = watermark

    def assert_deletions_match(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Asserts that deleted records, and no others, are marked, each with one open row in the ledger."""
        for name in (name for name in self.names if ENTITIES[name].swept):
            key = normalize(ENTITIES[name].key[0])
            rows = dict(connection.execute(f"select {key}, _deleted_at is not null from insightly.{name}").fetchall())
            live = set(self.store.tables[name].keys)
            assert {id_ for id_, deleted in rows.items() if not deleted} == live, name
            sql = f"select record_id from insightly.deletions where entity = '{name}' and restored_at is null"
            opened = [id_ for (id_,) in connection.execute(sql).fetchall()]
            assert len(opened) == len(set(opened)), name
            assert not live & set(opened), (name, "is live again, but open in the ledger")
            if self.deletions == "mark":
                assert {id_ for id_, deleted in rows.items() if deleted} == set(opened), name


COMMON = settings(
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    # A history takes seconds, so a failure is reported as found; add Phase.shrink for a shorter one.
    phases=[Phase.generate],
    report_multiple_bugs=False,
)
