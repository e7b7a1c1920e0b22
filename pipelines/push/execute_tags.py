"""Adds, removes and sets tags of records. Each of these can be repeated without harm."""

from collections.abc import Iterable, Sequence

from sources.insightly.entities import ENTITIES, Entity
from sources.insightly.errors import BadRequest, NotFound

from . import api
from .execute import Executor
from .ledger import DONE
from .resolve import RowRejected
from .validate import Row


class TagExecutor(Executor):
    """Carries out the rows of a push of tags. `update` sets all tags of a record together, at its first row."""

    _rows: Sequence[Row] = ()

    def run(self, rows: Iterable[Row]) -> None:
        self._rows = list(rows)
        super().run(self._rows)

    def execute(self, row: Row, unresolved: bool) -> None:
        assert row.parent is not None
        entity, id_, name = ENTITIES[row.parent[0]], row.parent[1], str(row.fields["TAG_NAME"])
        if self.op == "update":
            self._set(row, entity, id_)
            return
        adds, action = self.op == "create", self.op
        if not unresolved or self._has_tag(entity, id_, name) != adds:
            self.ledger.record_intent(row.number, self.op, api.service_time(self.context, "tags"), id_)
            try:
                (api.add_tag if adds else api.remove_tag)(self.context, entity, id_, name)
            except (BadRequest, NotFound):
                # Perhaps the record has the tag already, or does not have it. If the record is missing, this raises.
                if self._has_tag(entity, id_, name) != adds:
                    raise
                action = "none"
        self.ledger.record_result(row.number, action, DONE, id_)

    def _set(self, row: Row, entity: Entity, id_: int) -> None:
        rows = [each for each in self._rows if each.parent == row.parent]
        names = list(dict.fromkeys(str(each.fields["TAG_NAME"]) for each in rows))
        open_rows = [each for each in rows if not self.ledger.is_final(each.number)]
        wanted, existing = _casefold(names), api.tag_names(self.context, entity, id_)
        changed = set(existing) != set(names)
        if changed:
            intent_at = api.service_time(self.context, "tags")
            for each in open_rows:
                self.ledger.record_intent(each.number, "update", intent_at, id_)
            api.set_tags(self.context, entity, id_, names)
            existing = api.tag_names(self.context, entity, id_)
            # The API does not document whether the set replaces the record's tags or adds to them (api.md 6).
            for extra in (name for name in existing if name.casefold() not in wanted):
                api.remove_tag(self.context, entity, id_, extra)
            if lost := wanted - _casefold(existing):
                raise RowRejected(f"the tags {', '.join(sorted(lost))} were sent, but the record does not have them")
        for each in open_rows:
            before = self.ledger.entries.get(each.number)
            action = "update" if changed else "none" if before is None else before.action
            self.ledger.record_result(each.number, action, DONE, id_)

    def _has_tag(self, entity: Entity, id_: int, name: str) -> bool:
        return name.casefold() in _casefold(api.tag_names(self.context, entity, id_))


def _casefold(names: Iterable[str]) -> set[str]:
    return {name.casefold() for name in names}
