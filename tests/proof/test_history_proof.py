"""The state machine of a sync, with the versions of each record checked after each run.

Whatever happens to account, service and runs, no record has two versions at one time, no ended version changes, and
after the last sync and sweep the open versions are the live records.
"""

from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from sources.insightly import ENTITIES
from tests.support.expected import Row
from tests.support.histories import TO, Read, assert_a_history, assert_level, versions
from tests.support.state_machine import COMMON, NAMES, SyncMachine, chosen, commands, run_options

POINTS = (
    "pipelines.destinations.dataset.Dataset.version_timestamp",
    "pipelines.engine.history._History.prepare",
    "pipelines.engine.history._History.counts_match",
    "pipelines.engine.history._History._end_versions",
    "pipelines.engine.history._History._begin_versions",
    "pipelines.engine.history._update",
)
WITH_VERSIONS = [name for name in NAMES if ENTITIES[name].read == "incremental"]


class Versions(SyncMachine):
    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.ended: dict[str, list[Row]] = {}
        self.off = False

    def settings(self, **options: Any) -> Any:
        kept = [] if self.off else [name for name in self.names if name in WITH_VERSIONS]
        return super().settings(history=kept, **options)

    @rule()
    def turn_off_or_on(self) -> None:
        self.off = not self.off

    @rule(command=commands, only=chosen, options=run_options, point=st.sampled_from(POINTS), nth=st.integers(1, 4))
    def kill_while_it_follows(
        self, command: str, only: int | None, options: dict[str, Any], point: str, nth: int
    ) -> None:
        self.kill(command=command, only=only, options=options, point=point, nth=nth, lost=nth % 2 == 0)

    def finish(self) -> None:
        self.off = False
        super().finish()

    def assert_consistent(self, connection: duckdb.DuckDBPyConnection) -> None:
        super().assert_consistent(connection)
        read = reading(connection)
        tables = {row["table_name"] for row in read("from information_schema.tables where table_schema = 'insightly'")}
        for name in (name for name in self.names if f"{name}_history" in tables):
            assert_a_history(read, name)
            rows = versions(read, name)
            assert [row for row in self.ended.get(name, ()) if row not in rows] == [], (name, "the past changed")
            self.ended[name] = [row for row in rows if row[TO] is not None]

    def assert_deletions_match(self, connection: duckdb.DuckDBPyConnection) -> None:
        super().assert_deletions_match(connection)
        for name in self.names:
            if name in WITH_VERSIONS:
                assert_level(reading(connection), name)


def reading(connection: duckdb.DuckDBPyConnection) -> Read:
    def read(sql: str) -> list[Row]:
        rows: list[Row] = connection.sql(sql).to_arrow_table().to_pylist()
        return rows

    return read


@pytest.mark.sample(0)
def test_histories_end_equal_to_the_account(tmp_path: Path) -> None:
    run_state_machine_as_test(
        lambda: Versions(tmp_path), settings=settings(COMMON, max_examples=8, stateful_step_count=20)
    )
