"""The generated rows that belong to one record: comments, files, documents, list memberships."""

from collections import Counter
from functools import cache

from pipelines.sandbox.store.child_rows import CHILD_ENTITIES, Rows, blank_child
from pipelines.sandbox.store.shapes import Record

from .data import CHILDREN, WORDS
from .fill import Row, fill
from .story import at

_PARENTS = ("NOTE_ID", "TASK_ID", "EMAIL_ID")
_STAMPS = ("DATE_CREATED_UTC", "DATE_UPDATED_UTC")


class Children:
    """Makes the rows of each record that is written, and keeps them in `rows`."""

    def __init__(self) -> None:
        self.rows: Rows = {entity: {} for entity in CHILD_ENTITIES}
        self._made: Counter[str] = Counter()

    def add(self, row: Row, record: Record) -> None:
        """The first row of a record has its date of creation, others that of its update."""
        for entity, every in _children_of(row.entity):
            if row.number % every:
                continue
            rows = self.rows[entity].setdefault((row.entity, row.id), [])
            for place in range(1 + int(row.story.rng.random() ** 3 * 4)):
                child = Row(row.story, entity, self._made[entity], row.updated if place else row.created)
                self._made[entity] += 1
                blank = blank_child(entity, row.entity, row.id)
                parent = {name: value for name, value in blank.items() if value is not None or name in _PARENTS}
                stamps = {name: at(child.created) for name in _STAMPS if name in blank}
                made = fill(child, parent | stamps | _values(child, place, record))
                child.updated = child.created
                rows.append(made)
                self.add(child, made)


@cache
def _children_of(parent: str) -> list[tuple[str, int]]:
    return [(entity, facts[parent]) for entity, facts in CHILDREN.items() if parent in facts]


def _values(child: Row, place: int, record: Record) -> Record:
    if child.entity == "comments":
        return {"BODY": child.story.pick(WORDS["sentences"])}
    if child.entity == "static_list_memberships":
        return {"LIST_ID": 4_001 + place}
    if child.entity == "quotation_documents":
        return {"QUOTATION_NAME": record["QUOTATION_NAME"], "FILE_ID": str(920_000 + child.number)}
    if child.entity == "ticket_comments" and place % 2:
        return {"AUTHOR_CONTACT_ID": None}
    if child.entity == "ticket_comments":
        return {"AUTHOR_CONTACT_ID": record["CONTACT_ID"], "CREATED_USER_ID": None}
    return {"FILE_SIZE": 9_000 + child.number * 7_919 % 4_000_000}
