"""How many calls the rest of a run takes, by the totals of the lists."""

from ..context import SyncContext
from ..entities import RECORDS


def calls_to_go(context: SyncContext) -> int | None:
    """Calls that the rest of the chosen entities takes, at most those that may be made; None if that is not known.

    It follows from the totals of the lists, whose first pages are requested before all others.
    """
    names = context.catalog.with_objects(context.chosen)
    calls = [_of_entity(name, context) for name in names if context.result(name).open]
    known = [count for count in calls if count is not None]
    if len(known) < len(calls):
        return None
    left = context.budget.left()
    return sum(known) if left is None else min(sum(known), left)


def _of_entity(name: str, context: SyncContext) -> int | None:
    if name == RECORDS:  # each custom object is an entity of its own
        return 0
    entity = context.catalog.entity(name)
    readers = [reader for key, reader in list(context.page_readers.items()) if key[0] == name]
    if entity.read == "per_parent":
        totals = [reader.total for reader in readers]
        if len(totals) < len(entity.read_parents) or None in totals:
            return None
        return max(sum(total for total in totals if total) - context.budget.by_label[name], 0)
    pages = [reader.pages_to_go for reader in readers]
    if not pages or None in pages:
        # Reference lists are short.
        return 1 if entity.read in ("reference", "object") else None
    rows = sum(reader.rows_to_go for reader in readers) if context.result(name).tags_cost_calls else 0
    return rows + sum(count for count in pages if count)
