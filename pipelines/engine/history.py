"""Versions of records: `<entity>_history` follows the entity's table, in SQL, one transaction a time.

dlt's scd2 strategy would compare a package with the versions: a record that comes twice in one has two open versions,
what was loaded before cannot be begun with, and a mark that a sweep sets is not seen. Here the table alone is compared
with the open versions, so whatever was cut off is made up for by the next run.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import dlt
from dlt.common.libs.pyarrow import columns_to_arrow

from pipelines.destinations.dataset import Dataset
from pipelines.destinations.system_tables import HISTORIES, ensure_table
from sources.insightly.context import FEW
from sources.insightly.entities import ENTITIES, UNVERSIONED, Entity
from sources.insightly.errors import BadSetting
from sources.insightly.rows.naming import DELETED_AT, VALID_FROM, VALID_TO, VARIANT, history_table

from .runner import Runner

Columns = Mapping[str, Mapping[str, Any]]
Run = Callable[..., list[Any]]


@contextmanager
def kept(runner: Runner) -> Iterator[None]:
    """Has the histories follow what is loaded: first what an earlier run left, then what is loaded meanwhile.

    Where an error ends the run, the next one begins with what this one leaves.

    Raises:
        BadSetting: the destination is made of files, or a table has the name of a history.
    """
    entities = [ENTITIES[name] for name in runner.context.settings.history or ()]
    if entities:
        runner.target.require_sql("sources.insightly.history keeps versions in an SQL database")
    for entity in entities:
        _follow(runner, entity)
    yield
    for entity in entities:
        _follow(runner, entity)


def _follow(runner: Runner, entity: Entity) -> None:
    state, mask = runner.states().get(entity.name, {}), runner.context.mask(entity)
    fresh = runner.context.changed_keys.pop(entity.name, None)
    # What is still to be concealed is not copied to where it never was.
    if not runner.dataset.table_exists(entity.name) or state.get("mask", "") != mask.fingerprint:
        return
    history, masked = _History(runner.pipeline, runner.dataset, entity), tuple(mask.rules.get(entity.name, ()))
    if history.prepare():
        runner.context.result(entity.name).notes.append(f"{history.table} begins: versions of {entity.name}")
    then = history.note()
    restated = set[str]() if then.mask == mask.fingerprint else {*then.masked, *masked}
    if fresh:
        history.follow(fresh if len(fresh) <= FEW else None, restated)
    known = fresh is not None or then.followed_at is not None
    if not (known and history.is_level()):
        history.follow(None, restated)
    runner.context.changed_keys[entity.name] = set()
    # Until everything is read again, some values are told as they were before the settings changed.
    now = then if "again" in state else replace(then, mask=mask.fingerprint, masked=masked)
    if then.followed_at is None or now != then:
        history.write(now)


def _bound(name: str) -> Mapping[str, Any]:
    return {"name": name, "data_type": "timestamp", "nullable": name == VALID_TO}


@dataclass(frozen=True)
class _Note:
    """What `_histories` tells of a history: under which mask values are told, and of which columns.

    `followed_at` is when it was level with its table; None where rows were loaded since.
    """

    mask: str = ""
    masked: tuple[str, ...] = ()
    followed_at: datetime | None = None


class _History:
    """The history of one entity, and the SQL that brings it level with the entity's table."""

    def __init__(self, pipeline: dlt.Pipeline, dataset: Dataset, entity: Entity) -> None:
        self.pipeline, self.dataset, self.entity = pipeline, dataset, entity
        self.table = history_table(entity)
        self.columns = self._columns()
        self.key = dataset.column(entity.key[0])
        self.from_, self.to, self.deleted = map(dataset.column, (VALID_FROM, VALID_TO, DELETED_AT))

    def prepare(self) -> bool:
        """Makes the tables, or the columns that the entity's table has since; True where the history is new.

        Raises:
            BadSetting: a table of that name is something else.
        """
        held = self._schema.get(self.table, {}).get("columns", {})
        if held and VALID_TO not in held:
            raise BadSetting(
                "sources.insightly.history", self.entity.name, f"its table {self.table} would be that of something else"
            )
        ensure_table(self.pipeline, HISTORIES)
        if self.columns.keys() - held.keys():
            columns: Any = {**self.columns, VALID_FROM: _bound(VALID_FROM), VALID_TO: _bound(VALID_TO)}
            empty = columns_to_arrow(columns, self.pipeline.destination.capabilities(), "UTC").empty_table()
            self.pipeline.run(dlt.resource([empty], name=self.table, columns=columns, write_disposition="append"))
        return not held

    def note(self) -> _Note:
        """What is noted of the history."""
        sql = "select mask, concealed, followed_at from {} where entity = %s"
        for mask, masked, followed_at in self.dataset.execute(HISTORIES, sql, self.entity.name):
            return _Note(mask or "", tuple(filter(None, (masked or "").split())), followed_at)
        return _Note()

    def write(self, note: _Note) -> None:
        """Notes that the history is level with its table."""
        table, told = self.dataset.table_name(HISTORIES), (self.entity.name, note.mask, " ".join(note.masked))
        with self.dataset.transaction() as run:
            run(f"delete from {table} where entity = %s", self.entity.name)
            insert = f"insert into {table} (entity, mask, concealed, followed_at) values (%s, %s, %s, %s)"
            run(insert, *told, datetime.now(UTC))

    def is_level(self) -> bool:
        """Whether there are as many open versions as live records."""
        live = f"select count(*) from {self._own} where {self.deleted} is null"
        open_ = f"select count(*) from {self._versions} where {self._is_open}"
        (counts,) = self.dataset.query(f"select ({live}) as live_records, ({open_}) as open_versions")
        return len(set(counts.values())) == 1

    def follow(self, keys: Collection[Any] | None, restated: Collection[str]) -> None:
        """Ends the versions whose records changed or went, and opens those of records that have none.

        Args:
            keys: of the records to compare; None for all.
            restated: columns of which the same values are told in another way; they change in the open versions.
        """
        where = "" if keys is None else f" where {self.key} in ({', '.join(str(int(key)) for key in keys)})"
        records, versions = f"(select * from {self._own}{where})", f"(select * from {self._versions}{where})"
        pairs = f"{versions} v left join {records} r on r.{self.key} = v.{self.key} where v.{self.to} is null"
        with self.dataset.transaction() as run:
            at = self.dataset.version_timestamp(self.table)
            self._end(run, at, pairs, self._counted(restated))
            self._restate(run, pairs, [name for name in self.columns if name in restated])
            self._begin(run, at, records)

    def _restate(self, run: Run, pairs: str, names: Sequence[str]) -> None:
        if names:
            told = ", ".join(self._as_in_the_record(name) for name in names)
            differ = f"select v.{self.key} from {pairs} and {self._is_live} and ({self._differ(names)})"
            run(f"update {self._versions} set {told} where {self._is_open} and {self.key} in ({differ})")

    def _end(self, run: Run, at: datetime, pairs: str, names: Sequence[str]) -> None:
        over = f"select v.{self.key} from {pairs} and (not ({self._is_live}) or {self._differ(names)})"
        run(f"update {self._versions} set {self.to} = %s where {self._is_open} and {self.key} in ({over})", at)

    def _begin(self, run: Run, at: datetime, records: str) -> None:
        names = ", ".join(map(self.dataset.column, self.columns))
        open_ = f"select {self.key} as open_key from {self._versions} where {self._is_open}"
        missing = f"{records} r left join ({open_}) v on v.open_key = r.{self.key}"
        missing += f" where v.open_key is null and r.{self.deleted} is null"
        run(f"insert into {self._versions} ({names}, {self.from_}) select {names}, %s from {missing}", at)

    def _counted(self, restated: Collection[str]) -> Sequence[str]:
        """The columns of which a change makes a version."""
        key, uncounted = self.dataset.normalize(self.entity.key[0]), set(map(self.dataset.normalize, UNVERSIONED))
        return [
            name
            for name in self.columns
            if name != key and name not in restated and name.removesuffix(VARIANT) not in uncounted
        ]

    def _differ(self, names: Sequence[str]) -> str:
        """Not `is distinct from`, which some destinations lack."""
        parts = [(f"v.{self.dataset.column(name)}", f"r.{self.dataset.column(name)}") for name in names]
        return " or ".join(
            f"{held} <> {told} or ({held} is null and {told} is not null) or ({held} is not null and {told} is null)"
            for held, told in parts or [("0", "0")]
        )

    def _as_in_the_record(self, name: str) -> str:
        column = self.dataset.column(name)
        records = f"(select {self.key} as told_key, {column} as told from {self._own})"
        return f"{column} = (select told from {records} r where r.told_key = {self.key})"

    def _columns(self) -> Columns:
        """Those of the entity's table, as dlt declares them, without a sweep's mark and what dlt adds itself."""
        kinds = ("name", "data_type", "precision", "scale", "timezone", "nullable")
        return {
            name: {kind: facts[kind] for kind in kinds if kind in facts}
            for name, facts in self._schema[self.entity.name]["columns"].items()
            if "data_type" in facts and name != DELETED_AT and not name.startswith("_dlt_")
        }

    @property
    def _is_open(self) -> str:
        return f"{self.to} is null"

    @property
    def _is_live(self) -> str:
        return f"r.{self.key} is not null and r.{self.deleted} is null"

    @property
    def _schema(self) -> Mapping[str, Any]:
        tables: Mapping[str, Any] = self.pipeline.default_schema.tables
        return tables

    @property
    def _own(self) -> str:
        return self.dataset.table_name(self.entity.name)

    @property
    def _versions(self) -> str:
        return self.dataset.table_name(self.table)
