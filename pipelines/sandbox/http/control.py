"""`/_sandbox/`: what a program in any language can do to a sandbox. Needs the key; is neither limited nor logged."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from pipelines.sandbox.api.messages import Request, Response, json_response
from pipelines.sandbox.api.routes import authorized
from pipelines.sandbox.faults import Fault, faults_of
from pipelines.sandbox.seed.evolve import evolve
from pipelines.sandbox.seed.generate import generate
from pipelines.sandbox.store.fixtures import dump, load
from pipelines.sandbox.store.store import Contents

from .service import DENIED, Service

ROOT = "/_sandbox/"

Operation = Callable[["Control", Any], Any]
"""Takes the JSON of the request's body, and returns the JSON of the response."""


class Control:
    """Responds to requests below `/_sandbox/`.

    Args:
        service: the sandbox.
        contents: what `reset` goes back to, with the switches and faults that the service has now.
    """

    def __init__(self, service: Service, contents: Contents) -> None:
        self.service = service
        self._initial = contents, service.switches, [fault for fault, _ in service.faults.entries()]

    def answer(self, request: Request) -> Response:
        """The response to one request: 400 says what is wrong with its body."""
        name = request.path[len(ROOT) :].strip("/").lower()
        methods = [method for method, each in OPERATIONS if each == name]
        if not methods:
            return json_response(404, {"Message": f"There is no {request.path}; GET {ROOT} lists what there is."})
        if request.method not in methods:
            return json_response(405, {"Message": f"{request.path} takes {', '.join(methods)}."})
        if name != "health" and not authorized(request.headers.get("authorization"), self.service.key):
            return json_response(401, {"Message": DENIED})
        operation, _ = OPERATIONS[request.method, name]
        try:
            body = orjson.loads(request.body) if request.body else dict(request.query)
            return json_response(200, operation(self, body))
        except orjson.JSONDecodeError as error:
            return json_response(400, {"Message": f"The request body is not JSON: {error}"})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return json_response(400, {"Message": str(error) or repr(error)})

    def index(self, _: Any) -> Any:
        return [
            {"method": method, "path": ROOT + name, "does": does} for (method, name), (_, does) in OPERATIONS.items()
        ]

    def health(self, _: Any) -> Any:
        return {"status": "ok"}

    def reset(self, _: Any) -> Any:
        contents, self.service.switches, faults = self._initial
        self.service.store.restore(contents)
        self.service.faults.clear()
        self.service.faults.add(*faults)
        self.service.limits.reset()
        self.service.log.clear()
        self.service.offset = timedelta()
        return self.counts(None)

    def seed(self, body: Any) -> Any:
        unknown = set(body) - {"seed", "scale", "empty"}
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}; known are seed, scale and empty")
        empty = body.get("empty") in (True, "true")
        seed, scale = int(body.get("seed", 1)), float(body.get("scale", 1))
        contents = Contents() if empty else generate(seed, scale, dirty=self.service.switches.dirty)
        self.service.store.restore(contents)
        return self.counts(None)

    def counts(self, _: Any) -> Any:
        tables = self.service.store.tables
        return {name: len(table.keys) for name, table in tables.items() if table.keys}

    def fixtures(self, _: Any) -> Any:
        return dump(self.service.store)

    def load(self, body: Any) -> Any:
        load(self.service.store, body)
        return self.counts(None)

    def evolve(self, body: Any) -> Any:
        return {"done": evolve(self.service.store, int(body.get("seed", 1)), int(body.get("steps", 25)))}

    def switches(self, _: Any) -> Any:
        values = asdict(self.service.switches)
        return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in values.items()}

    def set_switches(self, body: Any) -> Any:
        self.service.switches = self.service.switches.set(body)
        return self.switches(None)

    def faults(self, _: Any) -> Any:
        return [_fault(fault) | {"matched": matched} for fault, matched in self.service.faults.entries()]

    def add_faults(self, body: Any) -> Any:
        self.service.faults.add(*faults_of(body if isinstance(body, list) else [body]))
        return self.faults(None)

    def clear_faults(self, _: Any) -> Any:
        self.service.faults.clear()
        return []

    def clock(self, _: Any) -> Any:
        offset = self.service.offset.total_seconds()
        return {"now": self.service.clock().astimezone(UTC).isoformat(), "offset_seconds": round(offset, 3)}

    def set_clock(self, body: Any) -> Any:
        if "now" in body:
            now = datetime.fromisoformat(str(body["now"]))
            now = now if now.tzinfo else now.replace(tzinfo=UTC)
            self.service.offset += now - self.service.clock()
        elif "advance_seconds" in body:
            self.service.offset += timedelta(seconds=float(body["advance_seconds"]))
        else:
            raise ValueError('say {"now": "2026-12-24T18:00:00Z"} or {"advance_seconds": 3600}')
        return self.clock(None)

    def reset_clock(self, _: Any) -> Any:
        self.service.offset = timedelta()
        return self.clock(None)

    def limits(self, _: Any) -> Any:
        switches = self.service.switches
        used = self.service.limits.used
        return {"rate": switches.rate, "quota": switches.quota, "used": used}

    def set_limits(self, body: Any) -> Any:
        self.service.switches = self.service.switches.set({n: body[n] for n in ("rate", "quota") if n in body})
        if "used" in body:
            self.service.limits.reset(int(body["used"]))
        return self.limits(None)

    def reset_limits(self, _: Any) -> Any:
        self.service.limits.reset()
        return self.limits(None)

    def log(self, _: Any) -> Any:
        return [asdict(call) for call in list(self.service.log)]

    def clear_log(self, _: Any) -> Any:
        self.service.log.clear()
        return []


def _fault(fault: Fault) -> dict[str, Any]:
    return {name: value for name, value in vars(fault).items() if name != "action"}


OPERATIONS: dict[tuple[str, str], tuple[Operation, str]] = {
    ("GET", ""): (Control.index, "lists these paths"),
    ("GET", "health"): (Control.health, "answers as soon as the sandbox serves; needs no key"),
    ("POST", "reset"): (Control.reset, "goes back to how the sandbox started: records, switches, faults, clock, log"),
    ("POST", "seed"): (Control.seed, "replaces all records by generated ones: seed, scale; or by none: empty"),
    ("POST", "evolve"): (Control.evolve, "makes a day of plausible edits: seed, steps"),
    ("GET", "records"): (Control.counts, "counts the records of each table"),
    ("GET", "fixtures"): (Control.fixtures, "returns all records, as --fixtures reads them"),
    ("POST", "fixtures"): (Control.load, "adds records; one with the id of another replaces it"),
    ("GET", "switches"): (Control.switches, "returns the switches"),
    ("PATCH", "switches"): (Control.set_switches, "sets the named switches"),
    ("GET", "faults"): (Control.faults, "returns the fault script, and how many requests each fault has matched"),
    ("POST", "faults"): (Control.add_faults, "adds a fault, or a list of them"),
    ("DELETE", "faults"): (Control.clear_faults, "removes all faults"),
    ("GET", "clock"): (Control.clock, "returns the time of the service"),
    ("PUT", "clock"): (Control.set_clock, "sets the time: now, or advance_seconds"),
    ("DELETE", "clock"): (Control.reset_clock, "goes back to the true time"),
    ("GET", "limits"): (Control.limits, "returns requests a second, requests a day, and those used"),
    ("PATCH", "limits"): (Control.set_limits, "sets rate, quota or used"),
    ("DELETE", "limits"): (Control.reset_limits, "starts a new day with no request counted"),
    ("GET", "log"): (Control.log, "returns the API requests so far: method, path, query, status, time"),
    ("DELETE", "log"): (Control.clear_log, "empties the log"),
}
