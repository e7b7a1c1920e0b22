"""Carries rows out, one after the other, each with its intent in the ledger before and its result after the call."""

import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import count
from typing import Any

from sources.insightly.context import Record, SyncContext
from sources.insightly.entities import DATE_UPDATED, Entity
from sources.insightly.errors import (
    BadCredentials,
    BadRequest,
    InsightlyError,
    MalformedResponse,
    NotAvailable,
    NotFound,
    ServerError,
    Stop,
    UnresolvedWrite,
)
from sources.insightly.resources.fetch import first_of
from sources.insightly.state.times import iso, parse

from . import api as writes
from .ledger import DONE, FAILED, FINAL, PENDING, WAITING, Ledger
from .resolve import Refused, Undecided, matching, was_done
from .validate import Row, missing
from .values import custom_of, differing, same

TRIES = 3
"""Times that a row without an answer is looked up and sent again in one run."""
MOST_REFUSED = 20
"""Rows in a row that may be refused; it is no use to spend the day's calls on the rest."""


class Hand:
    """Carries out the rows of one push.

    Args:
        context: the run.
        entity: whose records.
        op: `create`, `update`, `upsert` or `delete`.
        ledger: this push's.
        match: the field that finds records, None for the key.
        unchanged_since: records edited later are left as they are.
    """

    def __init__(
        self,
        context: SyncContext,
        entity: Entity,
        op: str,
        ledger: Ledger,
        match: str | None = None,
        unchanged_since: datetime | None = None,
    ) -> None:
        self.context, self.entity, self.op, self.ledger = context, entity, op, ledger
        self.match, self.unchanged_since = match, unchanged_since
        self._custom_whole = False

    def run(self, rows: Iterable[Row]) -> None:
        """Carries out what the ledger does not tell as settled.

        Raises:
            Stop: at a budget or the day's end; the rows so far are in the ledger.
            InsightlyError: it is no use to go on.
        """
        refused = 0
        for row in rows:
            entry = self.ledger.entries.get(row.number)
            if entry is None or entry.status not in FINAL:
                self.context.client.budget.check()
                self._settle(row, in_doubt=entry is not None and entry.status == PENDING)
                entry = self.ledger.entries[row.number]
                refused = refused + 1 if entry.status == FAILED else 0
                if refused == MOST_REFUSED:
                    raise InsightlyError(
                        f"{refused} rows in a row were refused, the last one: {entry.error}; the rest was not tried"
                    )
            self.context.result(self.ledger.entity).rows += 1
            self.context.on_progress()

    def _settle(self, row: Row, in_doubt: bool) -> None:
        for tried in count(1):
            try:
                self.carry_out(row, in_doubt)
                return
            except UnresolvedWrite:
                if tried == TRIES:
                    raise
                in_doubt = True
                time.sleep(2.0 ** (tried - 1))
            except (BadCredentials, Stop, ServerError) as error:
                if not in_doubt and self._intended(row):
                    self.ledger.settle(row.number, "none", WAITING, None, str(error))
                raise
            except Undecided as error:
                # Not `failed`: that would be sent again without another look.
                self.ledger.leave(row.number, str(error))
                return
            except (NotAvailable, BadRequest, MalformedResponse, Refused) as error:
                before = self.ledger.entries.get(row.number)
                self.ledger.settle(row.number, before.action if before else "none", FAILED, row.key, str(error))
                return

    def _intended(self, row: Row) -> bool:
        entry = self.ledger.entries.get(row.number)
        return entry is not None and entry.status == PENDING

    def carry_out(self, row: Row, in_doubt: bool) -> None:
        """Does what the row asks for, unless it was done already.

        Args:
            row: a row without problems.
            in_doubt: whether it was sent before, without an answer.
        """
        entry = self.ledger.entries.get(row.number)
        if in_doubt and entry is not None and was_done(self.context, self.entity, self.ledger, row, entry):
            return
        if self.op == "create" or (self.op == "upsert" and row.key is None and self.match is None):
            self._create(row, in_doubt)
            return
        found = None if row.key is not None else matching(self.context, self.entity, str(self.match), row.match)
        id_ = row.key if found is None else int(found[self.entity.key[0]])
        if id_ is None and self.op == "upsert":
            if lacking := missing(self.entity, row):
                raise Refused(f"no record has this {self.match}, and to create one {', '.join(lacking)}")
            self._create(row, in_doubt)
        elif id_ is None:
            raise Refused(f"no record has this {self.match}")
        elif self.op == "delete":
            self._delete(row, id_)
        else:
            self._update(row, id_, found)

    def _create(self, row: Row, in_doubt: bool) -> None:
        body = {name: value for name, value in row.fields.items() if value is not None}
        custom = {name: value for name, value in row.custom.items() if value is not None}
        before = self.ledger.entries.get(row.number)
        first = before.intent_at if in_doubt and before is not None else None
        at = first or writes.service_clock(self.context, self.ledger.entity, ask=True)
        self.ledger.intend(row.number, "create", at)
        id_ = writes.create(self.context, self.entity, {**body, **_custom_body(custom)}, row.parent)
        self.ledger.settle(row.number, "create", DONE, id_)

    def _update(self, row: Row, id_: int, record: Record | None) -> None:
        while True:
            record = record or writes.read_record(self.context, self.entity, id_)
            fields = differing(row.fields, record)
            custom = differing(row.custom, custom_of(record))
            if not fields and not custom:
                # What was sent without an answer has come through.
                self.ledger.settle(row.number, "update" if self._intended(row) else "none", DONE, id_)
                return
            self._guard(record)
            etag = record.get("ETag") if self.unchanged_since is not None else None
            self.ledger.intend(row.number, "update", writes.service_clock(self.context, self.ledger.entity), id_)
            try:
                self._put(id_, fields, custom, record, etag)
            except BadRequest:
                # Perhaps a stale If-Match, which is answered with 400 (API.md 1.3): then there is another ETag now.
                record = writes.read_record(self.context, self.entity, id_) if etag else None
                if record is None or record.get("ETag") == etag:
                    raise
            else:
                self.ledger.settle(row.number, "update", DONE, id_)
                return

    def _put(
        self, id_: int, fields: Mapping[str, Any], custom: Mapping[str, Any], record: Record, etag: str | None
    ) -> None:
        """Sends what differs. Nobody tells whether custom fields that are not sent stay: where they do not, all go."""
        held = {name: value for name, value in custom_of(record).items() if value is not None}
        told = {**held, **custom} if custom and self._custom_whole else custom
        answer = writes.update(self.context, self.entity, id_, {**fields, **_custom_body(told)}, etag)
        if not told or self._custom_whole or answer is None or not isinstance(answer.get("CUSTOMFIELDS"), list):
            return
        now = custom_of(answer)
        if any(same(None, now.get(name)) for name in held if name not in custom):
            self._custom_whole = True
            writes.update(self.context, self.entity, id_, _custom_body({**held, **custom}))

    def _delete(self, row: Row, id_: int) -> None:
        try:
            if self.unchanged_since is not None:
                self._guard(writes.read_record(self.context, self.entity, id_))
            self.ledger.intend(row.number, "delete", writes.service_clock(self.context, self.ledger.entity), id_)
            writes.delete(self.context, self.entity, id_)
        except NotFound:
            # No such record, or no such list for this key: that would be no deletion.
            first_of(self.context, self.entity)
        self.ledger.settle(row.number, "delete", DONE, id_)

    def _guard(self, record: Record) -> None:
        """Raises Refused where the record was edited later than the push allows."""
        if self.unchanged_since is None:
            return
        stamp = record.get(DATE_UPDATED)
        if not isinstance(stamp, str) or parse(stamp) > self.unchanged_since:
            raise Refused(f"was edited at {stamp}, after --if-unchanged-since {iso(self.unchanged_since)}")


def _custom_body(custom: Mapping[str, Any]) -> dict[str, Any]:
    entries = [{"FIELD_NAME": name, "FIELD_VALUE": value} for name, value in custom.items()]
    return {"CUSTOMFIELDS": entries} if entries else {}
