"""Columns that no disk is to hold as they are: hashed with a secret key, or left out. Pure logic."""

import difflib
import hmac
import json
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..entities import DATE_UPDATED, ENTITIES, RECORDS, Entity, FieldType, child_fields, custom_object, is_custom_object
from ..errors import BadSetting, MissingKey
from .json_text import as_text

Record = dict[str, Any]
Action = Literal["hash", "drop"]
Rules = Mapping[str, Mapping[str, Action]]

PLACE = "LIST_IDX"
HASH_KEY_FIX = (
    "set SOURCES__INSIGHTLY__HASH_KEY in the environment, or hash_key under [sources.insightly] in .dlt/secrets.toml, "
    "to a long random text (openssl rand -hex 32), and keep it: with another one, hashes no longer join"
)
_CUSTOM = re.compile(r".*__c|.*_field_[0-9]+")
"""How custom fields are named (API.md 5); whether there is such a one, only their definitions tell."""
_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_NO_DATE = ("0001-01-01", "0000-00-00")


@dataclass(frozen=True)
class Privacy:
    """What the settings `hash` and `drop` say: table -> column -> what becomes of it.

    Args:
        rules: by table and folded column.
        normalize: an API field name -> the column's name.
        key: the secret that hashes are made with.
    """

    rules: Rules
    normalize: Callable[[str], str]
    key: str | None = field(default=None, repr=False)

    @classmethod
    def parse(
        cls, hashed: Iterable[str], dropped: Iterable[str], normalize: Callable[[str], str], key: str | None = None
    ) -> "Privacy":
        """Reads columns as `contacts.email_address`, `contacts.hobby__c` or `contacts__tags.tag_name`.

        Raises:
            BadSetting: there is no such column, or it cannot be spared.
        """
        rules: dict[str, dict[str, Action]] = {}
        ways: tuple[tuple[Action, Iterable[str]], ...] = (("hash", hashed), ("drop", dropped))
        for way, names in ways:
            for name in names:
                table, column = name.split(".")
                table, column = normalize(table), normalize(column)
                _assert_spared(way, name, table, column, normalize)
                if rules.setdefault(table, {}).setdefault(column, way) != way:
                    raise _bad(way, name, "the same column is in sources.insightly.hash; leave it in one of them")
        return cls(rules, normalize, key)

    def require_key(self) -> None:
        """Raises MissingKey where columns are to be hashed and there is no key."""
        if not self.key and any("hash" in columns.values() for columns in self.rules.values()):
            raise MissingKey("sources.insightly.hash_key", "", HASH_KEY_FIX)

    def mask(self, entity: Entity) -> "Mask":
        """What is done to the records of one entity.

        Raises:
            MissingKey: columns are to be hashed and there is no key.
        """
        self.require_key()
        tables = (entity.name, *(_child(entity, array) for array in entity.arrays))
        return Mask(entity, {name: self.rules[name] for name in tables if name in self.rules}, self.normalize, self.key)


@dataclass(frozen=True)
class Mask:
    """Privacy of one entity: its own table and its child tables."""

    entity: Entity
    rules: Rules
    normalize: Callable[[str], str]
    key: str | None = field(default=None, repr=False)
    _columns: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def fingerprint(self) -> str:
        """Differs where rules or key differ, so that what was loaded by others is read again; "" without rules."""
        return self._hmac(json.dumps(self.rules, sort_keys=True))[:16] if self.rules else ""

    def types(self, table: str, types: Mapping[str, Any]) -> dict[str, Any]:
        """The types of a table's columns as they will be: none for what is left out, text for hashes."""
        ways = {name: self._way(table, name) for name in types}
        return {name: "string" if ways[name] else kind for name, kind in types.items() if ways[name] != "drop"}

    def mask(self, records: Sequence[Record]) -> list[Record]:
        """Records as they may be written down; those given are left as they are."""
        return [self._record(record) for record in records] if self.rules else list(records)

    def masked_value(self, table: str, name: str, value: Any, kind: FieldType = "string") -> Any:
        """What the destination is to hold for a value; None where it is left out."""
        way = self._way(table, name)
        return value if way is None else None if way == "drop" else self._hashed(value, kind)

    def drops(self, table: str, name: str) -> bool:
        return self._way(table, name) == "drop"

    def assert_known(self, names: Iterable[str], held: Collection[str]) -> None:
        """Raises BadSetting where a custom field is to be concealed that has no definition and no column."""
        known = {self.normalize(name) for name in (*self.entity.fields, *names)} | set(held)
        for column, way in self.rules.get(self.entity.name, {}).items():
            if column not in known:
                fields = sorted(self.normalize(name) for name in names)
                raise _unknown(way, f"{self.entity.name}.{column}", column, fields, "custom fields")

    def hashed_columns(self) -> Iterable[tuple[str, str]]:
        """Table and column of all hashes."""
        return [(table, name) for table, ways in self.rules.items() for name, way in ways.items() if way == "hash"]

    def _record(self, record: Record) -> Record:
        own = {name: facts.type for name, facts in self.entity.fields.items()}
        told = self._row(self.entity.name, own, record)
        for array in self.entity.arrays:
            table = _child(self.entity, array)
            if table in self.rules and isinstance(told.get(array), list):
                kinds = {name: facts.type for name, facts in child_fields(array).items()}
                told[array] = [
                    self._row(table, kinds, item) if isinstance(item, dict) else item for item in told[array]
                ]
        if self.entity.custom_fields and isinstance(told.get("CUSTOMFIELDS"), list):
            entries = [self._entry(entry) if isinstance(entry, dict) else entry for entry in told["CUSTOMFIELDS"]]
            told["CUSTOMFIELDS"] = [entry for entry in entries if entry is not None]
        return told

    def _row(self, table: str, kinds: Mapping[str, FieldType], row: Record) -> Record:
        return {
            name: self.masked_value(table, name, value, kinds.get(name, "string"))
            for name, value in row.items()
            if not self.drops(table, name)
        }

    def _entry(self, entry: Record) -> Record | None:
        name = entry.get("FIELD_NAME")
        if not isinstance(name, str) or (way := self._way(self.entity.name, name)) is None:
            return entry
        return None if way == "drop" else {**entry, "FIELD_VALUE": self._hashed(entry.get("FIELD_VALUE"), "string")}

    def _way(self, table: str, name: str) -> Action | None:
        if table not in self.rules:
            return None
        if name not in self._columns:
            self._columns[name] = self.normalize(name)
        return self.rules[table].get(self._columns[name])

    def _hashed(self, value: Any, kind: FieldType) -> str | None:
        text = None if value is None else hash_input(value)
        if text is None or (kind in ("date", "datetime") and text.startswith(_NO_DATE)):
            return None
        return self._hmac(text)

    def _hmac(self, text: str) -> str:
        return hmac.digest((self.key or "").encode(), text.encode("utf-8", "surrogatepass"), "sha256").hex()


def hash_input(value: Any) -> str | None:
    """The text of a value that its hash is made of: e-mail addresses in small letters, without blanks around them.

    >>> normal(" Ada@Example.COM "), normal("Ada"), normal(5), normal("")
    ('ada@example.com', 'Ada', '5', None)
    """
    text = as_text(value)
    if text is None or "@" not in text:
        return text
    mail = unicodedata.normalize("NFC", text.strip().casefold())
    return mail if _MAIL.fullmatch(mail) else text


def _child(entity: Entity, array: str) -> str:
    return f"{entity.name}__{array.lower()}"


def _assert_spared(way: Action, name: str, table: str, column: str, normalize: Callable[[str], str]) -> None:
    """Refuses a column that is not known, or that runs themselves need."""
    tables = {_child(entity, array): (entity, array) for entity in ENTITIES.values() for array in entity.arrays}
    if table == RECORDS:
        raise _bad(way, name, f"it stands for all custom objects: name the table of one, as fruit__c.{column}")
    own = custom_object(table, table) if is_custom_object(table) else ENTITIES.get(table)
    if own is not None:
        entity, fields, needed = own, {*own.fields, *own.parent_key}, {*own.key, *own.parent_key}
        deferred = entity.custom_fields and _CUSTOM.fullmatch(column) is not None
    elif table in tables:
        entity, array = tables[table]
        fields, needed, deferred = set(child_fields(array)), {*entity.key, PLACE}, False
    else:
        raise _unknown(way, name, table, [*ENTITIES, *tables], "tables")
    if column in map(normalize, needed):
        raise _bad(way, name, "it is part of the key that rows are told apart by, which stays as it is")
    if own is not None and entity.read == "incremental" and column == normalize(DATE_UPDATED):
        raise _bad(way, name, "it is the cursor that tells what changed, which stays as it is")
    if column in {normalize(array) for array in (*entity.arrays, "CUSTOMFIELDS")} and own is not None:
        raise _bad(
            way, name, f"it is no column; name columns of its rows, as {table}__tags.tag_name or {table}.hobby__c"
        )
    if not deferred and column not in (known := sorted(map(normalize, fields))):
        raise _unknown(way, name, column, known, f"columns of {table}")


def _unknown(way: Action, name: str, seen: str, known: Sequence[str], kind: str) -> BadSetting:
    close = difflib.get_close_matches(seen, known, 3)
    return _bad(way, name, f"no such column; {kind} like it: {', '.join(close)}" if close else f"not among the {kind}")


def _bad(way: Action, name: str, fix: str) -> BadSetting:
    return BadSetting(f"sources.insightly.{way}", name, fix)
