"""The sweep of an entity whose rows belong to records of another: it marks the rows of deleted parents."""

from pipelines.destinations.child_rows import ChildRows
from pipelines.engine import deletions
from pipelines.engine.runner import Runner
from sources.insightly.entities import Entity
from sources.insightly.errors import NotAvailable
from sources.insightly.paging.prefetch import read_list
from sources.insightly.paging.probe import Differences
from sources.insightly.resources.fetch import page_reader, parent_of
from sources.insightly.result import EntityResult


def sweep_under(runner: Runner, entity: Entity, result: EntityResult, force: bool) -> None:
    """Marks, or removes, the rows of records that are gone, by a look at every id that their lists have.

    Raises:
        Refused: more records are gone than is plausible; nothing of that entity of parents was marked.
        NotAvailable: no list of parents may be read.
    """
    parts, refused = runner.states()[entity.name]["under"], list[NotAvailable]()
    for name, part in parts.items():
        held = ChildRows(runner.dataset, entity, name)
        known = held.parents() if "start_date" in part else {}
        if not known:
            continue
        asked = parent_of(entity, name)
        try:
            steps = read_list(page_reader(runner.context, asked, part["start_date"], brief=True), asked.key[0])
            listed = {row[asked.key[0]] for step in steps for row in step.rows}
        except NotAvailable as error:
            refused.append(error)
            result.notes.append(f"what lies under {name} is not swept: {error}")
            continue
        result.rows += len(listed)
        live = [id_ for id_, alive in known.items() if alive]
        found, settled = Differences(len(live), missing_ids=sorted(set(live) - listed)), deletions.Settled()
        gone = deletions.confirm(runner, asked, found, force, settled)
        result.deleted += held.mark_deleted(list(gone), runner.context.settings.deletions == "remove")
        result.notes += settled.notes
        if back := [id_ for id_, alive in known.items() if not alive and id_ in listed]:
            held.undelete(back)
            result.notes.append(f"the rows of {len(back):,} {name} that are listed again live again")
        if settled.stop is not None:
            raise settled.stop
    if refused and len(refused) == len(parts):
        raise refused[0]
