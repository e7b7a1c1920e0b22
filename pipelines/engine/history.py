"""Versions of records: `<entity>_history` is updated from the entity's table, by SQL, in one transaction.

dlt's scd2 strategy compares a load package with the versions: a record that comes twice in a package gets two open
versions, rows that were loaded before get none, and a deletion that a sweep marks is not seen. Here the entity's table
is compared with the open versions, so the next run completes whatever was interrupted.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import dlt

from pipelines.destinations.dataset import Dataset
from pipelines.destinations.system_tables import HISTORIES, description_of, ensure_table
from sources.insightly.entities import ENTITIES, UNVERSIONED, Entity
from sources.insightly.errors import BadSetting
from sources.insightly.resources.describe import describe_table
from sources.insightly.result import MAX_CHANGED_KEYS
from sources.insightly.rows.naming import DELETED_AT, VALID_FROM, VALID_TO, VARIANT, history_table

from .runner import Runner

DECLARED = ("name", "data_type", "precision", "scale", "timezone", "nullable", "description")
"""What a history's column takes over from the entity's column."""
Execute = Callable[..., list[Any]]


@contextmanager
def maintained(runner: Runner) -> Iterator[None]:
    """Updates the histories before and after the rows of a run are loaded.

    The update before completes what an earlier run left. If an error ends the run, the next run completes this one.

    Raises:
        BadSetting: the destination is made of files, or a history's table exists and is not a history.
    """
    entities = [ENTITIES[name] for name in runner.context.settings.history or ()]
    if entities:
        runner.target.require_sql("sources.insightly.history keeps versions in an SQL database")
    for entity in entities:
        _update(runner, entity)
    yield
    for entity in entities:
        _update(runner, entity)


def _update(runner: Runner, entity: Entity) -> None:
    result, state = runner.context.result(entity.name), runner.states().get(entity.name, {})
    mask, changed_keys = runner.context.settings.privacy.mask(entity), result.changed_keys
    result.changed_keys = None
    # Values that are not masked yet are not copied into a history.
    if not runner.dataset.table_exists(entity.name) or state.get("mask", "") != mask.fingerprint:
        return
    history, masked = _History(runner.pipeline, runner.dataset, entity), tuple(mask.rules.get(entity.name, ()))
    if history.prepare():
        result.notes.append(f"{history.table} is new: it keeps versions of {entity.name}")
    before = history.read_state()
    remasked = set[str]() if before.mask == mask.fingerprint else {*before.masked, *masked}
    if changed_keys:
        history.update(changed_keys if len(changed_keys) <= MAX_CHANGED_KEYS else None, remasked)
    keys_known = changed_keys is not None or before.followed_at is not None
    if not (keys_known and history.counts_match()):
        history.update(None, remasked)
    result.changed_keys = set()
    # Until a full refresh has ended, some values are still masked as they were before the settings changed.
    after = before if "again" in state else replace(before, mask=mask.fingerprint, masked=masked)
    if before.followed_at is None or after != before:
        history.write_state(after)


@dataclass(frozen=True)
class _State:
    """A row of `_histories`: the mask of the values, and the columns that it changes.

    `followed_at` is when the history was last up to date; None if rows were loaded since.
    """

    mask: str = ""
    masked: tuple[str, ...] = ()
    followed_at: datetime | None = None


class _History:
    """The history of one entity, and the SQL that updates it from the entity's table."""

    def __init__(self, pipeline: dlt.Pipeline, dataset: Dataset, entity: Entity) -> None:
        self.pipeline, self.dataset, self.entity = pipeline, dataset, entity
        self.table = history_table(entity)
        self.columns = {  # without a sweep's mark and the columns that dlt adds
            name: {hint: column[hint] for hint in DECLARED if hint in column}
            for name, column in self._columns_of(entity.name).items()
            if "data_type" in column and name != DELETED_AT and not name.startswith("_dlt_")
        }
        self.key = dataset.column(entity.key[0])
        self.valid_from, self.valid_to, self.deleted_at = map(dataset.column, (VALID_FROM, VALID_TO, DELETED_AT))
        self.is_open = f"{self.valid_to} is null"
        self.is_live = f"r.{self.key} is not null and r.{self.deleted_at} is null"

    def prepare(self) -> bool:
        """Creates the tables, or adds the columns that the entity's table has got. Returns True if the history is new.

        Raises:
            BadSetting: the table exists and is not a history.
        """
        existing = self._columns_of(self.table)
        if existing and VALID_TO not in existing:
            fix = f"its table {self.table} exists and is not a history: rename the table or keep no history of it"
            raise BadSetting("sources.insightly.history", self.entity.name, fix)
        ensure_table(self.pipeline, HISTORIES)
        if self.columns.keys() - existing.keys():
            from dlt.common.libs.pyarrow import columns_to_arrow

            columns: dict[str, Any] = dict(self.columns)
            for name in (VALID_FROM, VALID_TO):
                columns[name] = {"name": name, "data_type": "timestamp", "nullable": name == VALID_TO}
            empty = columns_to_arrow(columns, self.pipeline.destination.capabilities(), "UTC").empty_table()

            own = {(self.table, name): facts.get("description", "") for name, facts in columns.items()}

            def tables() -> Iterator[Any]:
                yield empty
                describe_table(dlt.current.source_schema(), self.table, description_of, own)

            self.pipeline.run(dlt.resource(tables, name=self.table, columns=columns, write_disposition="append"))
        return not existing

    def read_state(self) -> _State:
        sql = "select mask, masked, followed_at from {} where entity = %s"
        for mask, masked, followed_at in self.dataset.execute(HISTORIES, sql, self.entity.name):
            return _State(mask or "", tuple(filter(None, (masked or "").split())), followed_at)
        return _State()

    def write_state(self, state: _State) -> None:
        """Writes that the history is up to date."""
        row = {"entity": self.entity.name, "mask": state.mask, "masked": " ".join(state.masked)}
        with self.dataset.transaction():
            self.dataset.execute(HISTORIES, "delete from {} where entity = %s", self.entity.name)
            self.dataset.append(HISTORIES, [{**row, "followed_at": datetime.now(UTC)}])

    def counts_match(self) -> bool:
        """True if there are as many open versions as live records."""
        live = f"select count(*) from {self._records} where {self.deleted_at} is null"
        open_ = f"select count(*) from {self._versions} where {self.is_open}"
        (counts,) = self.dataset.query(f"select ({live}) as live_records, ({open_}) as open_versions")
        return len(set(counts.values())) == 1

    def update(self, keys: Collection[Any] | None, remasked: Collection[str]) -> None:
        """Ends the versions of records that changed or were deleted, and begins versions of records without one.

        Args:
            keys: of the records to compare; None for all.
            remasked: columns whose values are masked in another way than before; they change in the open versions.
        """
        where = "" if keys is None else f" where {self.key} in ({', '.join(str(int(key)) for key in keys)})"
        records, versions = f"(select * from {self._records}{where})", f"(select * from {self._versions}{where})"
        pairs = f"{versions} v left join {records} r on r.{self.key} = v.{self.key} where v.{self.is_open}"
        with self.dataset.transaction() as execute:
            now = self.dataset.version_timestamp(self.table)
            self._end_versions(execute, now, pairs, self._versioned(remasked))
            self._mask_again(execute, pairs, [name for name in self.columns if name in remasked])
            self._begin_versions(execute, now, records)

    def _mask_again(self, execute: Execute, pairs: str, names: Sequence[str]) -> None:
        if names:
            values = ", ".join(map(self._value_of_record, names))
            changed = f"select v.{self.key} from {pairs} and {self.is_live} and ({self._differ(names)})"
            execute(f"update {self._versions} set {values} where {self.is_open} and {self.key} in ({changed})")

    def _end_versions(self, execute: Execute, now: datetime, pairs: str, names: Sequence[str]) -> None:
        ended = f"select v.{self.key} from {pairs} and (not ({self.is_live}) or {self._differ(names)})"
        update = f"update {self._versions} set {self.valid_to} = %s where {self.is_open} and {self.key} in ({ended})"
        execute(update, now)

    def _begin_versions(self, execute: Execute, now: datetime, records: str) -> None:
        names = ", ".join(map(self.dataset.column, self.columns))
        open_ = f"select {self.key} as open_key from {self._versions} where {self.is_open}"
        missing = f"{records} r left join ({open_}) v on v.open_key = r.{self.key}"
        missing += f" where v.open_key is null and r.{self.deleted_at} is null"
        execute(f"insert into {self._versions} ({names}, {self.valid_from}) select {names}, %s from {missing}", now)

    def _versioned(self, remasked: Collection[str]) -> Sequence[str]:
        """The columns whose changes make a version."""
        excluded = {*map(self.dataset.normalize, (self.entity.key[0], *UNVERSIONED))}
        return [name for name in self.columns if name not in remasked and name.removesuffix(VARIANT) not in excluded]

    def _differ(self, names: Sequence[str]) -> str:
        """A condition in SQL without `is distinct from`, which some destinations lack."""
        pairs = [(f"v.{self.dataset.column(name)}", f"r.{self.dataset.column(name)}") for name in names]
        return " or ".join(
            f"{old} <> {new} or ({old} is null and {new} is not null) or ({old} is not null and {new} is null)"
            for old, new in pairs or [("0", "0")]
        )

    def _value_of_record(self, name: str) -> str:
        column = self.dataset.column(name)
        records = f"(select {self.key} as record_key, {column} as record_value from {self._records})"
        return f"{column} = (select record_value from {records} r where r.record_key = {self.key})"

    def _columns_of(self, table: str) -> Mapping[str, Any]:
        tables: Mapping[str, Any] = self.pipeline.default_schema.tables
        columns: Mapping[str, Any] = tables.get(table, {}).get("columns", {})
        return columns

    @property
    def _records(self) -> str:
        return self.dataset.table_name(self.entity.name)

    @property
    def _versions(self) -> str:
        return self.dataset.table_name(self.table)
