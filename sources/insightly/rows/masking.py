"""Columns that are hashed with a secret key, or left out, before a record is written anywhere. Pure logic."""

import hmac
import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..entities import DATE_UPDATED, ENTITIES, RECORDS, Entity, custom_object, is_custom_object
from ..errors import BadSetting, MissingKey, closest
from ..fields import FieldType, child_fields
from ..selection import closest_entity
from ..state.times import NO_DATE
from .json_text import as_text
from .naming import ARRAY_TABLES, LIST_IDX, Normalize, child_table, child_tables

Record = dict[str, Any]
Action = Literal["hash", "drop"]
Rules = Mapping[str, Mapping[str, Action]]

HASH_KEY_FIX = (
    "set SOURCES__INSIGHTLY__HASH_KEY in the environment, or hash_key under [sources.insightly] in .dlt/secrets.toml, "
    "to a long random text (openssl rand -hex 32), and keep it: hashes of two keys do not join"
)
_CUSTOM = re.compile(r".*__c|.*_field_[0-9]+")
"""The form of a custom field's name (api.md 5); only the definitions say which of them exist."""
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


@dataclass(frozen=True)
class Privacy:
    """The settings `hash` and `drop`.

    Args:
        rules: table -> column -> action, by normalized names.
        normalize: a field's name -> its column.
        key: the secret key of hashes.
    """

    rules: Rules
    normalize: Normalize
    key: str | None = field(default=None, repr=False)

    @classmethod
    def parse(
        cls, hashed: Iterable[str], dropped: Iterable[str], normalize: Normalize, key: str | None = None
    ) -> "Privacy":
        """Parses columns such as `contacts.email_address`, `contacts.hobby__c` or `contacts__tags.tag_name`.

        Raises:
            BadSetting: there is no such column, or a run needs its value.
        """
        rules: dict[str, dict[str, Action]] = {}
        settings: tuple[tuple[Action, Iterable[str]], ...] = (("hash", hashed), ("drop", dropped))
        for action, names in settings:
            for name in names:
                table, column = map(normalize, name.split("."))
                _check_rule(action, name, table, column, normalize)
                if rules.setdefault(table, {}).setdefault(column, action) != action:
                    raise _bad(action, name, "the same column is in sources.insightly.hash; remove it from one of them")
        return cls(rules, normalize, key)

    def require_key(self) -> None:
        """Raises MissingKey if columns are to be hashed and there is no key."""
        if not self.key and any("hash" in columns.values() for columns in self.rules.values()):
            raise MissingKey("sources.insightly.hash_key", "", HASH_KEY_FIX)

    def mask(self, entity: Entity) -> "Mask":
        """The mask of one entity. Raises MissingKey as `require_key`."""
        self.require_key()
        tables = (entity.name, *child_tables(entity))
        return Mask(entity, {name: self.rules[name] for name in tables if name in self.rules}, self.normalize, self.key)


@dataclass(frozen=True)
class Mask:
    """Masks the columns of one entity's table and of its child tables."""

    entity: Entity
    rules: Rules
    normalize: Normalize
    key: str | None = field(default=None, repr=False)
    _columns: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def fingerprint(self) -> str:
        """Changes with rules and key, so that what others masked is read again; "" without rules."""
        return self._hmac(json.dumps(self.rules, sort_keys=True))[:16] if self.rules else ""

    def types(self, table: str, types: Mapping[str, Any]) -> dict[str, Any]:
        """The types of a table's columns after masking: text for hashes, without the columns left out."""
        actions = {name: self._action(table, name) for name in types}
        return {name: "string" if actions[name] else kind for name, kind in types.items() if actions[name] != "drop"}

    def mask(self, records: Sequence[Record]) -> list[Record]:
        """Masked copies of records."""
        return [self._mask_record(record) for record in records] if self.rules else list(records)

    def masked_value(self, table: str, name: str, value: Any, kind: FieldType = "string") -> Any:
        """A value as the destination stores it; None if its column is left out."""
        action = self._action(table, name)
        if action != "hash":
            return value if action is None else None
        text = None if value is None else hash_input(value)
        if text is None or (kind in ("date", "datetime") and text.startswith(NO_DATE)):
            return None
        return self._hmac(text)

    def drops(self, table: str, name: str) -> bool:
        return self._action(table, name) == "drop"

    def assert_known(self, names: Iterable[str], existing: Collection[str]) -> None:
        """Raises BadSetting if a rule names a custom field that has neither a definition nor a column."""
        custom = sorted(map(self.normalize, names))
        known = {*map(self.normalize, self.entity.fields), *custom, *existing}
        for column, action in self.rules.get(self.entity.name, {}).items():
            if column not in known:
                raise _unknown_column(action, self.entity.name, column, custom)

    def hashed_columns(self) -> Iterable[tuple[str, str]]:
        """Table and column of all hashes."""
        return [(table, name) for table, rules in self.rules.items() for name, way in rules.items() if way == "hash"]

    def _mask_record(self, record: Record) -> Record:
        entity = self.entity
        masked = self._mask_row(entity.name, {name: facts.type for name, facts in entity.fields.items()}, record)
        for array in entity.arrays:
            table = child_table(entity, array)
            if table in self.rules and isinstance(masked.get(array), list):
                kinds = {name: facts.type for name, facts in child_fields(array).items()}
                masked[array] = [
                    self._mask_row(table, kinds, item) if isinstance(item, dict) else item for item in masked[array]
                ]
        if entity.custom_fields and isinstance(masked.get("CUSTOMFIELDS"), list):
            entries = map(self._mask_entry, masked["CUSTOMFIELDS"])
            masked["CUSTOMFIELDS"] = [entry for entry in entries if entry is not None]
        return masked

    def _mask_row(self, table: str, kinds: Mapping[str, FieldType], row: Record) -> Record:
        return {
            name: self.masked_value(table, name, value, kinds.get(name, "string"))
            for name, value in row.items()
            if not self.drops(table, name)
        }

    def _mask_entry(self, entry: Any) -> Any:
        table, name = self.entity.name, entry.get("FIELD_NAME") if isinstance(entry, dict) else None
        if not isinstance(name, str) or (action := self._action(table, name)) is None:
            return entry
        value = self.masked_value(table, name, entry.get("FIELD_VALUE"))
        return None if action == "drop" else {**entry, "FIELD_VALUE": value}

    def _action(self, table: str, name: str) -> Action | None:
        if table not in self.rules:
            return None
        if name not in self._columns:
            self._columns[name] = self.normalize(name)
        return self.rules[table].get(self._columns[name])

    def _hmac(self, text: str) -> str:
        return hmac.digest((self.key or "").encode(), text.encode("utf-8", "surrogatepass"), "sha256").hex()


def hash_input(value: Any) -> str | None:
    """The text that a value's hash is made of: e-mail addresses in lower case, without surrounding blanks.

    >>> hash_input(" Ada@Example.COM "), hash_input("Ada"), hash_input(5), hash_input("")
    ('ada@example.com', 'Ada', '5', None)
    """
    text = as_text(value)
    if text is None or "@" not in text:
        return text
    email = unicodedata.normalize("NFC", text.strip().casefold())
    return email if _EMAIL.fullmatch(email) else text


def _check_rule(action: Action, name: str, table: str, column: str, normalize: Normalize) -> None:
    """Raises BadSetting for a column that is unknown, or that a run needs."""
    if table == RECORDS:
        raise _bad(action, name, f"it stands for all custom objects: name the table of one, such as fruit__c.{column}")
    if table in ARRAY_TABLES:
        entity, array = ARRAY_TABLES[table]
        fields, needed = {*child_fields(array)}, {*entity.key, LIST_IDX}
    elif is_custom_object(table) or table in ENTITIES:
        entity = custom_object(table, table) if is_custom_object(table) else ENTITIES[table]
        fields, needed = {*entity.fields, *entity.parent_key}, {*entity.key, *entity.parent_key}
        if entity.read == "incremental" and column == normalize(DATE_UPDATED):
            raise _bad(action, name, "a run needs it as the cursor; remove it from the setting")
        if column in map(normalize, (*entity.arrays, "CUSTOMFIELDS")):
            columns = f"{table}__tags.tag_name or {table}.hobby__c"
            raise _bad(action, name, f"it is not a column; name columns of its rows, such as {columns}")
        if entity.custom_fields and _CUSTOM.fullmatch(column):
            return
    else:
        similar = closest_entity(table, [*ENTITIES, *ARRAY_TABLES])
        raise _bad(action, name, f"did you mean {similar}.{column}?" if similar else f"{table} is not a table")
    if column in map(normalize, needed):
        raise _bad(action, name, "a run needs it as a part of the key; remove it from the setting")
    if column not in (known := sorted(map(normalize, fields))):
        raise _unknown_column(action, table, column, known)


def _unknown_column(action: Action, table: str, column: str, known: Sequence[str]) -> BadSetting:
    similar = closest(column, known)
    fix = f"did you mean {table}.{similar}?" if similar else f"{table} has no such column"
    return _bad(action, f"{table}.{column}", fix)


def _bad(action: Action, name: str, fix: str) -> BadSetting:
    return BadSetting(f"sources.insightly.{action}", name, fix)
