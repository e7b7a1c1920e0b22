"""One call from authorization to answer: the key, the limits, the fault script, then the routes."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from pipelines.sandbox.api.messages import ApiError, Request, Response, answer, refusal
from pipelines.sandbox.api.routes import authorized, entity_of, handle
from pipelines.sandbox.faults import Fault, FaultScript, disturb, spoil
from pipelines.sandbox.seed.evolve import evolve
from pipelines.sandbox.store.store import Clock, Store
from pipelines.sandbox.switches import Switches

from .limits import Limits

BASE = "/v3.1"
OWN = "/_sandbox/"

_DENIED = "Authorization has been denied for this request."
_CHANGES = {"delete_before", "create", "touch_same_second", "call"}


@dataclass(frozen=True)
class Call:
    """One line of the log. No header is kept, so no key is. `time` is the second since the epoch it arrived."""

    method: str
    path: str
    query: dict[str, str]
    status: int
    time: float


@dataclass
class Outcome:
    """An answer and how it is to be sent."""

    response: Response
    delay: float = 0.0
    broken: Literal["reset", "cut"] | None = None


@dataclass
class Service:
    """An account behind a key. `switches` and `faults` may be exchanged while it serves."""

    store: Store
    key: str
    switches: Switches = field(default_factory=Switches)
    limits: Limits = field(default_factory=Limits)
    faults: FaultScript = field(default_factory=FaultScript)
    log: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        inner = self.store.clock
        # The skew is the service's own, so its stamps and its Date header share it.
        self.clock: Clock = lambda: inner() + timedelta(seconds=self.switches.clock_skew_seconds)
        self.store.clock = self.clock

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """The outcome of one HTTP request; names in `headers` are lower case. Every call is logged but our own."""
        arrived = time.time()
        split = urlsplit(target)
        pairs = parse_qsl(split.query, keep_blank_values=True)
        request = Request(method, split.path, {name.lower(): value for name, value in pairs}, headers, body)
        if split.path.lower().startswith(OWN):
            return Outcome(self._own(request))
        try:
            outcome = self._api(request)
        except Exception as error:  # a mistake in the sandbox should read as one, not as a cut connection
            outcome = Outcome(answer(500, {"Message": f"The sandbox failed: {error!r}"}))
        path = split.path[len(BASE) :] if split.path.lower().startswith(BASE) else split.path
        status = 0 if outcome.broken == "reset" else outcome.response.status
        self.log.append(Call(method, path, dict(pairs), status, arrived))
        return outcome

    def _api(self, request: Request) -> Outcome:
        switches = self.switches
        if not request.path.lower().startswith(f"{BASE}/"):
            return Outcome(refusal(ApiError(404, f"No resource was found at {request.path}."), switches))
        inner = Request(request.method, request.path[len(BASE) :], request.query, request.headers, request.body)
        if not authorized(request.headers.get("authorization"), self.key):
            return Outcome(answer(401, {"Message": _DENIED}), switches.latency)
        verdict = self.limits.admit(switches)
        if verdict != "ok":
            wait = switches.burst_retry_after if verdict == "burst" else switches.daily_retry_after
            made = _too_many(verdict, wait, text=verdict == "burst" and switches.burst_body == "text")
            made.headers |= self.limits.headers(switches)
            return Outcome(made, switches.latency)
        outcome = self._faulty(inner, self.faults.due(inner))
        outcome.delay += switches.latency
        return outcome

    def _faulty(self, request: Request, due: list[Fault]) -> Outcome:
        outcome = Outcome(Response(200, {}, b""))
        entity = entity_of(request.path)
        refused = next((made for fault in due if (made := self._refused(fault))), None)
        for fault in due:
            if fault.kind in _CHANGES:
                disturb(fault, entity, self.store)
        made = refused or handle(request, self.store, self.switches)
        counters = self.limits.headers(self.switches)
        for fault in due:
            if fault.kind == "slow":
                outcome.delay += fault.seconds
            elif fault.kind in {"reset", "cut"}:
                outcome.broken = "reset" if fault.kind == "reset" else "cut"
            elif fault.kind in {"burst", "daily"}:
                counters = self._counters(fault)
            elif refused is None:
                made = spoil(fault.kind, made)
        made.headers |= counters
        outcome.response = made
        return outcome

    def _refused(self, fault: Fault) -> Response | None:
        if fault.kind in {"burst", "daily"}:
            return _too_many(fault.kind, fault.retry_after)
        status = {"forbidden": "403", "missing": "404"}.get(fault.kind, fault.kind)
        if status.isdigit():
            return refusal(ApiError(int(status), f"The sandbox was told to answer {status}."), self.switches)
        return None

    def _counters(self, fault: Fault) -> dict[str, str]:
        if not fault.counter:
            return {}
        counters = self.limits.headers(self.switches)
        return counters | {"X-RateLimit-Remaining": "0"} if fault.kind == "daily" else counters

    def _own(self, request: Request) -> Response:
        """The sandbox's own routes, outside the API, its limits and its log: `POST /_sandbox/evolve?seed=N&steps=N`."""
        if not authorized(request.headers.get("authorization"), self.key):
            return answer(401, {"Message": _DENIED})
        if (request.method, request.path.lower()) != ("POST", f"{OWN}evolve"):
            return answer(404, {"Message": f"No resource was found at {request.path}."})
        try:
            seed, steps = int(request.query.get("seed", "1")), int(request.query.get("steps", "25"))
        except ValueError:
            return answer(400, {"Message": "seed and steps must be whole numbers."})
        return answer(200, {"done": evolve(self.store, seed, steps)})


def _too_many(kind: str, retry_after: float | None, text: bool = False) -> Response:
    message = "Too many requests per second." if kind == "burst" else "The daily request limit has been reached."
    made = answer(429, {"Message": message})
    if text:
        made = Response(429, {"Content-Type": "text/plain; charset=utf-8"}, message.encode())
    if retry_after is not None:
        made.headers["Retry-After"] = f"{retry_after:g}"
    return made
