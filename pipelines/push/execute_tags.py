"""Tags of records: added, removed, or set to what the rows name. All of it can be done twice without harm."""

from collections.abc import Iterable, Sequence

from sources.insightly.entities import ENTITIES, Entity
from sources.insightly.errors import BadRequest, NotFound

from . import api as writes
from .execute import Hand
from .ledger import DONE, FINAL
from .resolve import Refused
from .validate import Row


class TagHand(Hand):
    """Carries out the rows of a push of tags; the rows of one record are set together, with the first of them."""

    _rows: Sequence[Row] = ()

    def run(self, rows: Iterable[Row]) -> None:
        self._rows = list(rows)
        super().run(self._rows)

    def carry_out(self, row: Row, in_doubt: bool) -> None:
        assert row.parent is not None
        entity, id_, name = ENTITIES[row.parent[0]], row.parent[1], str(row.fields["TAG_NAME"])
        if self.op == "update":
            self._set(row, entity, id_)
            return
        adds = self.op == "create"
        if in_doubt and self._has(entity, id_, name) == adds:
            self.ledger.settle(row.number, self.op, DONE, id_)
            return
        self.ledger.intend(row.number, self.op, writes.service_clock(self.context, "tags"), id_)
        try:
            (writes.add_tag if adds else writes.remove_tag)(self.context, entity, id_, name)
        except (BadRequest, NotFound):
            # A tag that is there already, or not there, may be refused; a record that is not there is.
            if self._has(entity, id_, name) != adds:
                raise
            self.ledger.settle(row.number, "none", DONE, id_)
        else:
            self.ledger.settle(row.number, self.op, DONE, id_)

    def _set(self, row: Row, entity: Entity, id_: int) -> None:
        mine = [each for each in self._rows if each.parent == row.parent]
        names = list(dict.fromkeys(str(each.fields["TAG_NAME"]) for each in mine))
        open_ = [each for each in mine if not self._is_settled(each)]
        wanted, held = _folded(names), writes.tag_names(self.context, entity, id_)
        if set(held) != set(names):
            at = writes.service_clock(self.context, "tags")
            for each in open_:
                self.ledger.intend(each.number, "update", at, id_)
            writes.set_tags(self.context, entity, id_, names)
            held = writes.tag_names(self.context, entity, id_)
            # Whether the set replaces what was there, or is added to it, is not known of the API (API.md 6).
            for extra in (name for name in held if name.casefold() not in wanted):
                writes.remove_tag(self.context, entity, id_, extra)
            if lost := wanted - _folded(held):
                raise Refused(f"the tags {', '.join(sorted(lost))} were sent, and are not at the record")
            action = "update"
        else:
            action = "none"
        for each in open_:
            before = self.ledger.entries.get(each.number)
            done = before.action if action == "none" and before is not None else action
            self.ledger.settle(each.number, done, DONE, id_)

    def _is_settled(self, row: Row) -> bool:
        entry = self.ledger.entries.get(row.number)
        return entry is not None and entry.status in FINAL

    def _has(self, entity: Entity, id_: int, name: str) -> bool:
        return name.casefold() in _folded(writes.tag_names(self.context, entity, id_))


def _folded(names: Iterable[str]) -> set[str]:
    return {name.casefold() for name in names}
