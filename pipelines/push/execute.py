"""Carries out rows one after the other: records the intent, sends the write, records the result."""

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
    redact,
)
from sources.insightly.resources.fetch import first_of
from sources.insightly.state.times import iso, parse_api

from . import api
from .ledger import DONE, FAILED, MISSING, WAITING, Ledger
from .resolve import RowRejected, Unresolved, find_match, resolve_write
from .validate import Row, missing_fields
from .values import changed_fields, custom_values, equal

MAX_TRIES = 3
"""Times that one run sends a row without getting a response."""
MAX_FAILURES = 20
"""Failed rows in a row that end the push, to save the day's calls."""


class Executor:
    """Carries out the rows of one push.

    Args:
        context: the run.
        entity: the records' entity.
        op: `create`, `update`, `upsert` or `delete`.
        ledger: the push's ledger.
        match: the field that finds records, None for the key.
        unchanged_since: reject rows whose records were edited later.
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
        self._send_all_custom = False

    def run(self, rows: Iterable[Row]) -> None:
        """Carries out the rows that the ledger does not have as final.

        Raises:
            Stop: the budget or the day's quota is used up. The ledger has the rows so far.
            InsightlyError: the other rows would fail too.
        """
        failures = 0
        for row in rows:
            if not self.ledger.is_final(row.number):
                self.context.client.budget.check()
                self._execute_with_retries(row)
                entry = self.ledger.entries[row.number]
                failures = failures + 1 if entry.status == FAILED else 0
                if failures == MAX_FAILURES:
                    raise InsightlyError(
                        f"{failures} rows in a row failed, the last one with: {entry.error}; the other rows were not "
                        "sent"
                    )
            self.context.result(self.ledger.entity).rows += 1
            self.context.on_progress()

    def _execute_with_retries(self, row: Row) -> None:
        unresolved = self.ledger.is_pending(row.number)
        for tries in count(1):
            try:
                self.execute(row, unresolved)
                return
            except UnresolvedWrite:
                if tries == MAX_TRIES:
                    raise
                unresolved = True
                time.sleep(2.0 ** (tries - 1))
            except (BadCredentials, Stop, ServerError) as error:
                if not unresolved and self.ledger.is_pending(row.number):
                    self.ledger.record_result(row.number, "none", WAITING, None, str(error))
                raise
            except Unresolved as error:
                # It stays `pending`: a `failed` row would be sent again without a lookup.
                self.ledger.record_error(row.number, str(error))
                return
            except (NotAvailable, BadRequest, MalformedResponse, RowRejected) as error:
                before = self.ledger.entries.get(row.number)
                self.ledger.record_result(row.number, before.action if before else "none", FAILED, row.key, str(error))
                return

    def execute(self, row: Row, unresolved: bool) -> None:
        """Carries out one row, and records its result.

        Args:
            row: a row without problems.
            unresolved: it was sent before, without a response.
        """
        entry = self.ledger.entries.get(row.number)
        if unresolved and entry is not None and resolve_write(self.context, self.entity, self.ledger, row, entry):
            return
        if self.op == "create" or (self.op == "upsert" and row.key is None and self.match is None):
            self._create(row, unresolved)
            return
        record = None if row.key is not None else find_match(self.context, self.entity, str(self.match), row.match)
        id_ = row.key if record is None else record[self.entity.key[0]]
        if id_ is None and self.op == "upsert":
            if missing := missing_fields(self.entity, row):
                raise RowRejected(f"no record has this {self.match}, and to create one {', '.join(missing)}")
            self._create(row, unresolved)
        elif id_ is None:
            raise RowRejected(f"no record has this {self.match}")
        elif self.op == "delete":
            self._delete(row, id_)
        else:
            self._update(row, id_, record)

    def _create(self, row: Row, unresolved: bool) -> None:
        fields = {name: value for name, value in row.fields.items() if value is not None}
        custom = {name: value for name, value in row.custom.items() if value is not None}
        entry = self.ledger.entries.get(row.number)
        first_intent = entry.intent_at if unresolved and entry is not None else None
        intent_at = first_intent or api.service_time(self.context, self.ledger.entity, may_call=True)
        self.ledger.record_intent(row.number, "create", intent_at)
        id_ = api.create(self.context, self.entity, {**fields, **_custom_fields(custom)}, row.parent)
        self.ledger.record_result(row.number, "create", DONE, id_)

    def _update(self, row: Row, id_: int, record: Record | None) -> None:
        while True:
            record = record or api.read_record(self.context, self.entity, id_)
            fields = changed_fields(self._to_update(row, row.fields), record)
            custom = changed_fields(self._to_update(row, row.custom), custom_values(record))
            if not fields and not custom:
                # A pending row was sent without a response, and its values are stored.
                action = "update" if self.ledger.is_pending(row.number) else "none"
                self.ledger.record_result(row.number, action, DONE, id_)
                return
            self._check_unchanged(record)
            etag = record.get("ETag") if self.unchanged_since is not None else None
            etag = etag if isinstance(etag, str) else None
            intent_at = api.service_time(self.context, self.ledger.entity)
            self.ledger.record_intent(row.number, "update", intent_at, id_)
            try:
                self._put(id_, fields, custom, record, etag)
            except BadRequest:
                # The API answers a stale If-Match with 400 (api.md 1.3): then the record has another ETag now.
                record = api.read_record(self.context, self.entity, id_) if etag else None
                if record is None or record.get("ETag") == etag:
                    raise
            else:
                self.ledger.record_result(row.number, "update", DONE, id_)
                return

    def _to_update(self, row: Row, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values without that of --match, by which the record was found."""
        return {name: value for name, value in values.items() if row.key is not None or name != self.match}

    def _put(
        self, id_: int, fields: Mapping[str, Any], custom: Mapping[str, Any], record: Record, etag: str | None
    ) -> None:
        """Sends the changed fields.

        The API does not document whether it keeps custom fields that are not sent. If it does not, sends all of them.
        """
        before = {name: value for name, value in custom_values(record).items() if value is not None}
        sent = {**before, **custom} if custom and self._send_all_custom else custom
        updated = api.update(self.context, self.entity, id_, {**fields, **_custom_fields(sent)}, etag)
        if not sent or self._send_all_custom or updated is None or not isinstance(updated.get("CUSTOMFIELDS"), list):
            return
        after = custom_values(updated)
        if any(equal(None, after.get(name)) for name in before if name not in custom):
            self._send_all_custom = True
            api.update(self.context, self.entity, id_, _custom_fields({**before, **custom}))

    def _delete(self, row: Row, id_: int) -> None:
        was_sent, action = self.ledger.is_pending(row.number), "delete"
        try:
            if self.unchanged_since is not None:
                self._check_unchanged(api.read_record(self.context, self.entity, id_))
            intent_at = api.service_time(self.context, self.ledger.entity)
            self.ledger.record_intent(row.number, "delete", intent_at, id_)
            api.delete(self.context, self.entity, id_)
        except NotFound:
            # The record does not exist, which is fine. Or the key may not read the list: then this call raises.
            first_of(self.context, self.entity)
            action = "delete" if was_sent else MISSING
        self.ledger.record_result(row.number, action, DONE, id_)

    def _check_unchanged(self, record: Record) -> None:
        """Raises RowRejected if the record was edited after `unchanged_since`."""
        if self.unchanged_since is None:
            return
        text, bound = record.get(DATE_UPDATED), f"--if-unchanged-since {iso(self.unchanged_since)}"
        updated = parse_api(text)
        if updated is None:
            raise RowRejected(
                f"has the {DATE_UPDATED} {redact(text)}, which is not a time: perhaps it was edited after {bound}"
            )
        if updated > self.unchanged_since:
            raise RowRejected(f"was edited at {text}, after {bound}")


def _custom_fields(custom: Mapping[str, Any]) -> dict[str, Any]:
    entries = [{"FIELD_NAME": name, "FIELD_VALUE": value} for name, value in custom.items()]
    return {"CUSTOMFIELDS": entries} if entries else {}
