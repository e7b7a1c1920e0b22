"""The sweep of an entity whose rows belong to records of another: it marks the rows of deleted parents."""

from pipelines.destinations.child_rows import ChildRows
from pipelines.engine import deletions
from pipelines.engine.runner import Runner
from sources.insightly.entities import Entity
from sources.insightly.errors import NotAvailable
from sources.insightly.paging.probe import Differences
from sources.insightly.resources.fetch import page_reader, parent_of, read_pages
from sources.insightly.result import EntityResult


def sweep_children(runner: Runner, entity: Entity, result: EntityResult, force: bool) -> None:
    """Marks or removes the rows of parents that are gone, after reading the full list of parents.

    Raises:
        ImplausibleDeletion: more parents are gone than is plausible; none of their rows was marked.
        NotAvailable: no list of parents may be read.
    """
    parts, refused = runner.states()[entity.name]["parents"], list[NotAvailable]()
    for name, part in parts.items():
        loaded = ChildRows(runner.dataset, entity, name)
        parents = loaded.parents() if "start_date" in part else {}
        if not parents:
            continue
        parent, notes = parent_of(entity, name), list[str]()
        try:
            reader, key = page_reader(runner.context, parent, part["start_date"], brief=True), parent.key[0]
            listed = {row[key] for rows in read_pages(reader, key, notes) for row in rows}
        except NotAvailable as error:
            refused.append(error)
            result.notes.append(f"rows of {name} are not swept: {error}")
            continue
        result.rows += len(listed)
        result.notes += [f"{name}: {note}" for note in notes]
        live = {id_ for id_, is_live in parents.items() if is_live}
        confirmed = deletions.confirm(runner, parent, Differences(len(live), missing_ids=sorted(live - listed)), force)
        result.deleted += loaded.mark_deleted(list(confirmed.gone), runner.context.settings.deletions == "remove")
        result.notes += confirmed.notes
        if reappeared := [id_ for id_ in parents if id_ in listed and id_ not in live]:
            loaded.undelete(reappeared)
            result.notes.append(f"{len(reappeared):,} {name} reappeared; their rows are restored")
        if confirmed.stop is not None:
            raise confirmed.stop
    if refused and len(refused) == len(parts):
        raise refused[0]
