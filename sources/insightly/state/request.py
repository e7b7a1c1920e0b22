"""What a run requests of one entity."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from ..fields import FieldType
from .times import parse, parse_api


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """A field of the API and the value to search for; `kind` is None where the field's type is not known."""

    field: str
    value: str
    kind: FieldType | None
    custom: bool = False

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Whether a record has the value; the case of letters and the form of numbers and dates make no difference."""
        value = _custom_value(record, self.field) if self.custom else record.get(self.field)
        if value is None or value == "":
            return False
        text = str(value).strip().casefold()
        if text == self.value.strip().casefold():
            return True
        try:
            if self.kind in ("datetime", "date"):
                found, wanted = parse_api(value), parse(self.value)
                if found is None:
                    return False
                return found == wanted if self.kind == "datetime" else found.date() == wanted.date()
            return self.kind not in ("string", "boolean") and Decimal(text) == Decimal(self.value)
        except (ValueError, InvalidOperation):
            return False


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What a run requests of an entity: by default, what changed since the watermark.

    Attributes:
        start_date: lower bound of the first run; an earlier one than that of the loaded rows starts a walk from there.
        full: read everything again.
        since: read again what changed after this time.
        full_before: read everything again if the last full read started before this time.
        rest: read what changed; an earlier run of the same full read has read everything else.
        latest: the latest watermark that the clocks allow; everything is read again if the stored one is later.
        always_full: read everything in each run, because there is no cursor.
        ids: read only these records, and move neither watermark nor checkpoint.
        search: read only the records that match, and move neither watermark nor checkpoint.
        mask: fingerprint of the settings `hash` and `drop`; everything is read again if the stored one differs.
        run: id of the run.
        force: write a list that each sync replaces, however many of its rows are gone.
    """

    start_date: str | None = None
    full: bool = False
    since: str | None = None
    full_before: str | None = None
    rest: bool = False
    latest: str | None = None
    always_full: bool = False
    ids: tuple[Any, ...] | None = None
    search: SearchFilter | None = None
    mask: str = ""
    run: str = ""
    force: bool = False

    def contradicts(self, watermark: str | None) -> bool:
        """True for a watermark that a wrong clock has set: no search from it would find what changed before it."""
        return watermark is not None and self.latest is not None and watermark > self.latest

    @property
    def selects(self) -> bool:
        """True where it names single records, instead of what changed."""
        return self.ids is not None or self.search is not None


def _custom_value(record: Mapping[str, Any], name: str) -> Any:
    entries = record.get("CUSTOMFIELDS")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("FIELD_NAME") == name:
            return entry.get("FIELD_VALUE")
    return None
