"""After a push: reads what was written and marks what was deleted, so that tables and CRM agree."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipelines.engine import deletions
from pipelines.engine.runner import Runner
from sources.insightly.entities import ENTITIES, Entity
from sources.insightly.paging.probe import Differences
from sources.insightly.result import EntityResult
from sources.insightly.state.request import ReadRequest

from .ledger import MISSING, Ledger
from .validate import Row


def read_again(runner: Runner, ledger: Ledger, entity: Entity, rows: Sequence[Row]) -> list[str]:
    """Brings the tables of the written records up to date, and records that in the ledger.

    Returns:
        The other entities whose records were read.

    Raises:
        Stop, InsightlyError: not everything was read; the next run of the same push does the rest.
    """
    if entity.name == "tags":
        return _tagged(runner, ledger, rows)
    changed, gone = ledger.not_loaded("create", "update"), ledger.not_loaded("delete", MISSING)
    _read_records(runner, ledger, entity, changed)
    if gone:
        _mark(runner, entity, set(gone.values()))
        ledger.record_loaded(gone)
    return []


def _read_records(runner: Runner, ledger: Ledger, entity: Entity, changed: Mapping[int, int]) -> None:
    """Reads the records of some rows (row number -> id); the ledger has those that there were calls for."""
    if not changed:
        return
    result = _read(runner, entity.name, replace(runner.context.request, ids=tuple(sorted(set(changed.values())))))
    not_read = changed.values() if result.not_read is None else set(result.not_read)
    ledger.record_loaded(number for number, id_ in changed.items() if id_ not in not_read)
    if result.error is not None:
        raise result.error


def _tagged(runner: Runner, ledger: Ledger, rows: Sequence[Row]) -> list[str]:
    changed = ledger.not_loaded("create", "update", "delete")
    by_type: dict[str, dict[int, int]] = {}
    for row in rows:
        if row.number in changed and row.parent is not None:
            by_type.setdefault(row.parent[0], {})[row.number] = row.parent[1]
    if changed:
        result = _read(runner, "tags", runner.context.request)
        if result.error is not None:
            raise result.error
    read = [name for name in by_type if ENTITIES[name].swept]
    for name in read:
        _read_records(runner, ledger, ENTITIES[name], by_type.pop(name))
    for numbers in by_type.values():
        ledger.record_loaded(numbers)
    return read


def _read(runner: Runner, name: str, request: ReadRequest) -> EntityResult:
    result = runner.context.result(name)
    result.reopen()
    runner.read({name: request})
    runner.dataset.record_restored()
    return result


def _mark(runner: Runner, entity: Entity, ids: set[int]) -> None:
    """Marks the deleted records after confirming each at the API; whatever their share: the user requested it."""
    known = runner.dataset.live_ids(entity)
    found = Differences(len(known), missing_ids=[id_ for id_ in known if id_ in ids])
    confirmed = deletions.confirm_and_mark(runner, entity, found, force=True)
    if confirmed.stop is not None:
        raise confirmed.stop
