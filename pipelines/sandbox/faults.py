"""A script of faults: what goes wrong, at which requests. `docs/guide/sandbox.md` describes kinds and fields.

For Python there is one kind more: `call` calls the `action` of the fault with the store before the response.
"""

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import orjson

from pipelines.sandbox.api.exchange import Request, Response
from pipelines.sandbox.store.store import Store
from pipelines.sandbox.store.table import stamp_of

CHANGES = frozenset({"delete_before", "create", "touch_same_second", "call"})
_KINDS = CHANGES | {
    *("burst", "daily", "forbidden", "missing", "blocked", "slow", "reset", "cut"),
    *("invalid_json", "html", "content_type", "object", "duplicate", "unsorted"),
}


@dataclass(frozen=True)
class Fault:
    """One entry of the script."""

    kind: str
    match: str = "*"
    method: str | None = None
    nth: int = 1
    times: int | None = 1
    seconds: float = 1.0
    retry_after: float | None = None
    counter: bool = True
    count: int = 1
    action: Callable[[Store], Any] | None = None

    def __post_init__(self) -> None:
        if self.kind not in _KINDS and not re.fullmatch(r"[45]\d\d", self.kind):
            raise ValueError(f"unknown kind {self.kind!r}: use a status (400 to 599) or {', '.join(sorted(_KINDS))}")
        if self.nth < 1 or (self.times is not None and self.times < 1) or self.count < 1:
            raise ValueError("nth, times and count must be at least 1")
        if (self.kind == "call") != (self.action is not None):
            raise ValueError("the kind 'call' needs an action, and no other kind takes one")

    def matches(self, request: Request) -> bool:
        if self.method and self.method.upper() != request.method:
            return False
        path = request.path.strip("/")
        if self.match.startswith("regex:"):
            query = "&".join(f"{name}={value}" for name, value in request.query.items())
            return re.search(self.match[6:], f"{path}?{query}", re.IGNORECASE) is not None
        return fnmatchcase(path.lower(), self.match.lower())


class FaultScript:
    """The faults of one sandbox, with the number of requests that each has matched."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self._entries = [(fault, [0]) for fault in faults]

    def add(self, *faults: Fault) -> None:
        """Adds faults, which count requests from now on."""
        with self._lock:
            self._entries += [(fault, [0]) for fault in faults]

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def entries(self) -> list[tuple[Fault, int]]:
        """Each fault, and how many requests it has matched."""
        with self._lock:
            return [(fault, matched[0]) for fault, matched in self._entries]

    def due(self, request: Request) -> list[Fault]:
        """Counts the request for every fault that matches it, and returns those that hit it, in script order."""
        hits = []
        with self._lock:
            for fault, matched in self._entries:
                if fault.matches(request):
                    matched[0] += 1
                    if fault.nth <= matched[0] and (fault.times is None or matched[0] < fault.nth + fault.times):
                        hits.append(fault)
        return hits


def read_faults(path: str | Path) -> list[Fault]:
    """The faults in a JSON file. Raises OSError or ValueError if it cannot be read."""
    return faults_of(orjson.loads(Path(path).read_bytes()))


def faults_of(entries: object) -> list[Fault]:
    """The faults in parsed JSON. Raises ValueError if it is not an array of objects with the fields of `Fault`."""
    if not isinstance(entries, list):
        raise ValueError("a fault script must be a JSON array of objects")
    try:
        return [Fault(**entry) for entry in entries]
    except TypeError as error:  # an unknown field, no `kind`, or no object
        known = ", ".join(field.name for field in fields(Fault) if field.name != "action")
        raise ValueError(f"a fault is wrong: {error}; the fields are {known}") from None


def spoil(kind: str, response: Response) -> None:
    """Does to a good response what the fault `kind` says."""
    if kind == "invalid_json":
        response.body = response.body[: max(1, len(response.body) // 2)]
    elif kind == "html":
        response.headers["Content-Type"] = "text/html; charset=utf-8"
        response.body = b"<!DOCTYPE html><html><body>Please try again later.</body></html>"
    elif kind == "content_type":
        response.headers["Content-Type"] = "text/plain; charset=utf-8"
    elif kind == "object":
        response.body = b'{"Message":"This is not a list."}'
    elif kind in {"duplicate", "unsorted"} and isinstance(rows := orjson.loads(response.body), list):
        response.body = orjson.dumps(rows[::-1] if kind == "unsorted" else rows + rows[-1:])


def change_data(fault: Fault, entity: str | None, store: Store) -> None:
    """Changes the records of `entity` as the fault says; None changes nothing, unless the fault has an action."""
    if fault.action is not None:
        fault.action(store)
    elif entity is not None:
        with store.lock:
            table = store.tables[entity]
            if fault.kind == "delete_before":
                for key in table.keys[: fault.count]:
                    store.delete(entity, key)
            elif fault.kind == "create":
                for _ in range(fault.count):
                    store.create(entity, {})
            elif fault.kind == "touch_same_second":
                newest = max(map(stamp_of, table.raw.values()), default=None)
                for key in table.keys[: fault.count]:
                    store.touch(entity, key, newest)
