"""A script of faults: what goes wrong, at which calls.

As a file (`insightly sandbox --faults FILE`) it is a JSON array of objects with the fields of `Fault`, for example

    [{"match": "Contacts*", "kind": "burst", "nth": 3, "times": 2, "retry_after": 1},
     {"match": "regex:^Leads/Search", "kind": "503"},
     {"match": "Contacts", "kind": "delete_before", "nth": 2, "count": 5},
     {"kind": "daily", "nth": 40, "times": null}]

Kinds, by what they do:

- refuse: `burst` (429, calls left), `daily` (429, none left), `400` ... `599` (that status), `forbidden` (403),
  `missing` (404)
- delay: `slow` (by `seconds`)
- break the connection: `reset` (cut before the answer), `cut` (half of the body, then cut)
- spoil a good answer: `invalid_json`, `html` (200), `content_type` (text/plain), `object` (not a list), `duplicate`
  (the last row twice), `unsorted` (rows reversed)
- change the data before the answer: `delete_before` (the `count` records with the smallest ids), `create` (`count` new
  ones), `touch_same_second` (`count` records get the newest DATE_UPDATED_UTC of their collection), `call` (Python only)
"""

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import orjson

from pipelines.sandbox.api.messages import Request, Response
from pipelines.sandbox.store.store import Store

_KINDS = frozenset(
    [
        "burst",
        "daily",
        "forbidden",
        "missing",
        "slow",
        "reset",
        "cut",
        "invalid_json",
        "html",
        "content_type",
        "object",
        "duplicate",
        "unsorted",
        "delete_before",
        "create",
        "touch_same_second",
        "call",
    ]
)


@dataclass(frozen=True)
class Fault:
    """One entry of the script.

    Attributes:
        kind: what happens, as in the module's list.
        match: which calls: a glob over the path without `/v3.1/`, or `regex:` and an expression that is searched in the
            path and query string. Case does not matter.
        method: the HTTP method, or None for any.
        nth: the first matching call (from 1) that is hit.
        times: how many matching calls are hit from there on; None = all.
        seconds: how long `slow` waits.
        retry_after: `Retry-After` of `burst` and `daily` in seconds; None = no header.
        counter: whether a 429 carries the X-RateLimit headers.
        count: how many records a change of data is made to.
        action: what `call` does, given the store.
    """

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
            raise ValueError(f"no fault of kind {self.kind!r}; known are a status and {', '.join(sorted(_KINDS))}")
        if self.nth < 1 or (self.times is not None and self.times < 1) or self.count < 1:
            raise ValueError("nth, times and count must be at least 1")
        if (self.kind == "call") != (self.action is not None):
            raise ValueError("action belongs to the kind 'call', and only there")

    def covers(self, request: Request) -> bool:
        """True where the call is one this fault counts."""
        if self.method and self.method.upper() != request.method:
            return False
        path = request.path.strip("/")
        if self.match.startswith("regex:"):
            asked = "&".join(f"{name}={value}" for name, value in request.query.items())
            return re.search(self.match[6:], f"{path}?{asked}", re.IGNORECASE) is not None
        return fnmatchcase(path.lower(), self.match.lower())


class FaultScript:
    """The faults of one sandbox and how far each has got."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self._entries = [(fault, [0]) for fault in faults]

    def add(self, *faults: Fault) -> None:
        """Adds faults whose counting starts now."""
        with self._lock:
            self._entries += [(fault, [0]) for fault in faults]

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def due(self, request: Request) -> list[Fault]:
        """Counts the call against every fault that covers it and returns those that hit it, in script order."""
        hit = []
        with self._lock:
            for fault, seen in self._entries:
                if fault.covers(request):
                    seen[0] += 1
                    if fault.nth <= seen[0] and (fault.times is None or seen[0] < fault.nth + fault.times):
                        hit.append(fault)
        return hit


def read_faults(path: str | Path) -> list[Fault]:
    """The faults in a JSON file.

    Raises:
        ValueError: it is not a JSON array of objects with the fields of `Fault`.
    """
    entries = orjson.loads(Path(path).read_bytes())
    known = {field.name for field in fields(Fault)} - {"action"}
    if not isinstance(entries, list):
        raise ValueError("a fault script is a JSON array")
    for entry in entries:
        unknown = set(entry) - known if isinstance(entry, dict) else {str(entry)}
        if unknown:
            raise ValueError(f"a fault has no {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
    return [Fault(**entry) for entry in entries]


def spoil(kind: str, good: Response) -> Response:
    """`good` as the fault `kind` would send it."""
    headers, body = dict(good.headers), good.body
    if kind == "invalid_json":
        body = body[: max(1, len(body) // 2)]
    elif kind == "html":
        headers["Content-Type"] = "text/html; charset=utf-8"
        body = b"<!DOCTYPE html><html><body>Please try again later.</body></html>"
    elif kind == "content_type":
        headers["Content-Type"] = "text/plain; charset=utf-8"
    elif kind == "object":
        body = b'{"Message":"This is not a list."}'
    elif kind in {"duplicate", "unsorted"}:
        rows = orjson.loads(body)
        if isinstance(rows, list):
            body = orjson.dumps(rows[::-1] if kind == "unsorted" else rows + rows[-1:])
    return Response(good.status, headers, body)


def disturb(fault: Fault, entity: str | None, store: Store) -> None:
    """Changes the data as the fault says; nothing where the path names no collection or it has no such records."""
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
                newest = max(table.stamps.values(), default=None)
                for key in table.keys[: fault.count]:
                    store.touch(entity, key, newest)
