"""Whatever happens to account, service and runs, the tables end equal to the account.

A state machine edits records with and without changing their dates, hides and restores them, breaks responses, uses up
the daily quota, kills runs and loses the working folder, between and during syncs and sweeps. It checks invariants
after each run; at the end one sync and one sweep must make every table and child table equal to the account.
"""

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.state_machine import COMMON, SyncMachine


def test_tables_end_equal_to_the_account(tmp_path: Path) -> None:
    run_state_machine_as_test(
        lambda: SyncMachine(tmp_path), settings=settings(COMMON, max_examples=2, stateful_step_count=14)
    )


@pytest.mark.sample(0)
def test_tables_end_equal_to_the_account_in_long_histories(tmp_path: Path) -> None:
    run_state_machine_as_test(
        lambda: SyncMachine(tmp_path),
        settings=settings(COMMON, max_examples=8, stateful_step_count=25),
    )
