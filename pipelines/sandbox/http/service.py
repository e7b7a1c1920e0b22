"""One request: the key, the limits, the fault script, then the routes."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

from pipelines.sandbox.api.exchange import ApiError, Request, Response, error_response, json_response, text_response
from pipelines.sandbox.api.routes import authorized, entity_of, handle
from pipelines.sandbox.faults import Fault, FaultScript, change_data, spoil
from pipelines.sandbox.store.store import Clock, Contents, Store
from pipelines.sandbox.switches import Switches

from .limits import Limits

BASE = "/v3.1"

BLOCKED = "<html><head><title>Access denied</title></head><body>The request was blocked.</body></html>"
DENIED = "Authorization has been denied for this request."


@dataclass(frozen=True)
class Call:
    """One line of the log, without headers and so without the key. `time` is the second since 1970 of its arrival."""

    method: str
    path: str
    query: dict[str, str]
    status: int
    time: float


def parse_request(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Request:
    """The parts of an HTTP request; names in `headers` are lower case."""
    split = urlsplit(target)
    pairs = parse_qsl(split.query, keep_blank_values=True)
    return Request(method, split.path, {name.lower(): value for name, value in pairs}, headers, body)


@dataclass
class Service:
    """An account behind a key.

    Attributes:
        switches: can be replaced while it serves.
        offset: what its clock shows later than the true one; the switch `clock_skew_seconds` comes on top.
        on_call: called with each line of the log.
        contents: the records that `reset` goes back to.
    """

    store: Store
    key: str
    switches: Switches = field(default_factory=Switches)
    limits: Limits = field(default_factory=Limits)
    faults: FaultScript = field(default_factory=FaultScript)
    log: list[Call] = field(default_factory=list)
    offset: timedelta = timedelta()
    on_call: Callable[[Call], object] = lambda _: None
    contents: Contents = field(default_factory=Contents)

    def __post_init__(self) -> None:
        self._initial = self.switches, [fault for fault, _ in self.faults.entries()]
        true_clock = self.store.clock
        # Stamps and the Date header come from the same clock, so both have the skew.
        self.clock: Clock = lambda: true_clock() + self.offset + timedelta(seconds=self.switches.clock_skew_seconds)
        self.store.clock = self.clock

    def reset(self) -> None:
        """Goes back to how it started."""
        self.store.restore(self.contents)
        self.switches, faults = self._initial
        self.faults.clear()
        self.faults.add(*faults)
        self.limits.reset()
        self.log.clear()
        self.offset = timedelta()

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Response:
        """The response to one API request, which is logged; names in `headers` are lower case."""
        arrived, split = time.time(), urlsplit(target)
        try:
            response = self._api(parse_request(method, target, headers, body))
        except Exception as error:  # an error in the sandbox must not look like a cut connection
            response = json_response(500, {"Message": f"The sandbox failed: {error!r}"})
        path = split.path[len(BASE) :] if split.path.lower().startswith(BASE) else split.path
        status = 0 if response.broken == "reset" else response.status
        call = Call(method, path, dict(parse_qsl(split.query, keep_blank_values=True)), status, arrived)
        self.log.append(call)
        self.on_call(call)
        return response

    def _api(self, request: Request) -> Response:
        switches = self.switches
        if not request.path.lower().startswith(f"{BASE}/"):
            return error_response(ApiError(404, f"No resource was found at {request.path}."), switches)
        request = replace(request, path=request.path[len(BASE) :])
        if not authorized(request.headers.get("authorization"), self.key, switches.password == "blank"):
            response = json_response(401, {"Message": DENIED})
        elif (verdict := self.limits.admit(switches)) != "ok":
            wait = switches.burst_retry_after if verdict == "burst" else switches.daily_retry_after
            response = _too_many(verdict, wait, text=verdict == "burst" and switches.burst_body == "text")
            response.headers |= self.limits.headers(switches)
        else:
            response = self._with_faults(request, self.faults.due(request))
        response.delay += switches.latency
        return response

    def _with_faults(self, request: Request, due: list[Fault]) -> Response:
        for fault in due:
            change_data(fault, entity_of(request.path), self.store)
        refused = next((response for fault in due if (response := self._refused(fault))), None)
        response, counters = refused or handle(request, self.store, self.switches), self.limits.headers(self.switches)
        for fault in due:
            match fault.kind:
                case "slow":
                    response.delay += fault.seconds
                case "reset" | "cut":
                    response.broken = fault.kind
                case "burst" | "daily" if not fault.counter:
                    counters = {}
                case "daily":
                    counters["X-RateLimit-Remaining"] = "0"
                case _ if refused is None:
                    spoil(fault.kind, response)
        response.headers |= counters
        return response

    def _refused(self, fault: Fault) -> Response | None:
        if fault.kind in {"burst", "daily"}:
            return _too_many(fault.kind, fault.retry_after)
        if fault.kind == "blocked":
            return text_response(403, BLOCKED, "html")
        status = {"forbidden": "403", "missing": "404"}.get(fault.kind, fault.kind)
        if status.isdigit():
            return error_response(ApiError(int(status), f"A fault of the sandbox returns {status}."), self.switches)
        return None


def _too_many(kind: str, retry_after: float | None, text: bool = False) -> Response:
    message = "Too many requests per second." if kind == "burst" else "The daily request limit has been reached."
    response = text_response(429, message) if text else json_response(429, {"Message": message})
    if retry_after is not None:
        response.headers["Retry-After"] = f"{retry_after:g}"
    return response
