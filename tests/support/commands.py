"""Commands run on an account, and what they left in the destination."""

from collections.abc import Callable
from typing import Any

from pipelines.commands.sweep import sweep
from pipelines.commands.sync_selected import plan, selection, sync_selected
from pipelines.commands.verify import verify
from pipelines.engine.report import Report
from sources.insightly import ENTITIES
from sources.insightly.state.request import ReadRequest
from tests.support.crm import Crm
from tests.support.expected import Row


def refreshed(
    crm: Crm, *names: str, ids: Any = None, where: Any = None, code: int = 0, planned: bool = False, **settings: Any
) -> Report:
    """Reads single records an hour after what came before; the exit code must be `code`."""
    crm.clock.advance()
    crm.sandbox.reset_log()
    resolved = crm.settings(**settings)
    request = selection(resolved, names, None if ids is None else list(map(str, ids)), where and [where], ReadRequest())
    target = crm.target
    report = plan(resolved, request) if planned else sync_selected(resolved, target, request)
    assert report.exit_code == code, report.reason
    return report


MakeCrm = Callable[..., Crm]


def swept(
    crm: Crm,
    *names: str,
    code: int = 0,
    thorough: bool = False,
    with_tags: bool = False,
    force: bool = False,
    **settings: Any,
) -> Report:
    """Sweeps, an hour after what came before; the exit code must be `code`."""
    crm.clock.advance()
    crm.sandbox.reset_log()
    target = crm.target
    report = sweep(crm.settings(**settings), target, names, thorough=thorough, tags=with_tags, force=force)
    assert report.exit_code == code, report.reason
    return report


def delete(crm: Crm, entity: str, *keys: int) -> list[Row]:
    """Deletes records at the source; returns what they were."""
    rows = [crm.sandbox.store.get(entity, key) for key in keys]
    for key in keys:
        crm.sandbox.store.delete(entity, key)
    return [row for row in rows if row is not None]


def marked(crm: Crm, entity: str) -> list[int]:
    key = ENTITIES[entity].key[0].lower()
    rows = crm.read(f'select {key} as id from insightly."{entity}" where _deleted_at is not null order by 1')
    return [row["id"] for row in rows]


def ledger(crm: Crm) -> list[tuple[str, int, str, bool]]:
    rows = crm.read("select entity, record_id, reason, restored_at from insightly.deletions order by 1, 2")
    return [(row["entity"], row["record_id"], row["reason"], row["restored_at"] is not None) for row in rows]


def verified(crm: Crm, *names: str, code: int = 0, full: bool = False, quick: bool = False, **settings: Any) -> Report:
    crm.sandbox.reset_log()
    report = verify(crm.settings(**settings), crm.target, names, full=full, quick=quick)
    assert report.exit_code == code, (report.reason, [entity.facts for entity in report.entities.values()])
    return report
