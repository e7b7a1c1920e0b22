"""`/_sandbox/`: what a program in any language can do to a sandbox. Needs the key; is neither limited nor logged."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from pipelines.sandbox.api.exchange import Request, Response, json_response
from pipelines.sandbox.api.routes import authorized
from pipelines.sandbox.faults import faults_of
from pipelines.sandbox.seed.evolve import evolve
from pipelines.sandbox.seed.generate import generate
from pipelines.sandbox.store.fixtures import dump, load
from pipelines.sandbox.store.store import Contents

from .service import DENIED, Service

ROOT = "/_sandbox/"

Operation = Callable[[Service, Any], Any]
"""Takes the JSON of the request's body, and returns that of the response; None for what GET of the same path returns,
or the counts of the records.
"""


def control(service: Service, request: Request) -> Response:
    """The response to one request below `/_sandbox/`: 400 says what is wrong with its body."""
    name = request.path[len(ROOT) :].strip("/").lower()
    methods = [method for method, each in OPERATIONS if each == name]
    if not methods:
        return json_response(404, {"Message": f"There is no {request.path}; GET {ROOT} lists what there is."})
    if request.method not in methods:
        return json_response(405, {"Message": f"{request.path} takes {', '.join(methods)}."})
    if name != "health" and not authorized(request.headers.get("authorization"), service.key):
        return json_response(401, {"Message": DENIED})
    operation, _ = OPERATIONS[request.method, name]
    try:
        result = operation(service, orjson.loads(request.body) if request.body else dict(request.query))
        if result is None:
            result = OPERATIONS.get(("GET", name), (_counts, ""))[0](service, {})
        return json_response(200, result)
    except orjson.JSONDecodeError as error:
        return json_response(400, {"Message": f"The request body is not JSON: {error}"})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return json_response(400, {"Message": str(error) or repr(error)})


def _index(*_: Any) -> Any:
    return [{"method": method, "path": ROOT + name, "does": does} for (method, name), (_, does) in OPERATIONS.items()]


def _counts(service: Service, _: Any) -> Any:
    return {name: len(table.keys) for name, table in service.store.tables.items() if table.keys}


def _seed(service: Service, body: Any) -> None:
    unknown = set(body) - {"seed", "scale", "empty"}
    if unknown:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}; known are seed, scale and empty")
    seed, scale = int(body.get("seed", 1)), float(body.get("scale", 1))
    empty = body.get("empty") in (True, "true")
    service.store.restore(Contents() if empty else generate(seed, scale, dirty=service.switches.dirty))


def _load(service: Service, body: Any) -> Any:
    load(service.store, body)
    return _counts(service, body)


def _evolve(service: Service, body: Any) -> Any:
    return {"done": evolve(service.store, int(body.get("seed", 1)), int(body.get("steps", 25)))}


def _switches(service: Service, _: Any) -> Any:
    values = asdict(service.switches)
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in values.items()}


def _set_switches(service: Service, body: Any) -> None:
    service.switches = service.switches.set(body)


def _faults(service: Service, _: Any) -> Any:
    return [
        {name: value for name, value in vars(fault).items() if name != "action"} | {"matched": matched}
        for fault, matched in service.faults.entries()
    ]


def _add_faults(service: Service, body: Any) -> None:
    service.faults.add(*faults_of(body if isinstance(body, list) else [body]))


def _clock(service: Service, _: Any) -> Any:
    now, offset = service.clock().astimezone(UTC).isoformat(), service.offset.total_seconds()
    return {"now": now, "offset_seconds": round(offset, 3)}


def _set_clock(service: Service, body: Any) -> None:
    if "now" in body:
        now = datetime.fromisoformat(str(body["now"]))
        service.offset += (now if now.tzinfo else now.replace(tzinfo=UTC)) - service.clock()
    elif "advance_seconds" in body:
        service.offset += timedelta(seconds=float(body["advance_seconds"]))
    else:
        raise ValueError('say {"now": "2026-12-24T18:00:00Z"} or {"advance_seconds": 3600}')


def _reset_clock(service: Service, _: Any) -> None:
    service.offset = timedelta()


def _limits(service: Service, _: Any) -> Any:
    return {"rate": service.switches.rate, "quota": service.switches.quota, "used": service.limits.used}


def _set_limits(service: Service, body: Any) -> None:
    _set_switches(service, {name: body[name] for name in ("rate", "quota") if name in body})
    if "used" in body:
        service.limits.reset(int(body["used"]))


OPERATIONS: dict[tuple[str, str], tuple[Operation, str]] = {
    ("GET", ""): (_index, "lists these paths"),
    ("GET", "health"): (lambda *_: {"status": "ok"}, "answers as soon as the sandbox serves; needs no key"),
    ("POST", "reset"): (
        lambda service, _: service.reset(),
        "goes back to how the sandbox started: records, switches, faults, clock, log",
    ),
    ("POST", "seed"): (_seed, "replaces all records by generated ones: seed, scale; or by none: empty"),
    ("POST", "evolve"): (_evolve, "makes a day of plausible edits: seed, steps"),
    ("GET", "records"): (_counts, "counts the records of each table"),
    ("GET", "fixtures"): (lambda service, _: dump(service.store), "returns all records, as --fixtures reads them"),
    ("POST", "fixtures"): (_load, "adds records; one with the id of another replaces it"),
    ("GET", "switches"): (_switches, "returns the switches"),
    ("PATCH", "switches"): (_set_switches, "sets the named switches"),
    ("GET", "faults"): (_faults, "returns the fault script, and how many requests each fault has matched"),
    ("POST", "faults"): (_add_faults, "adds a fault, or a list of them"),
    ("DELETE", "faults"): (lambda service, _: service.faults.clear(), "removes all faults"),
    ("GET", "clock"): (_clock, "returns the time of the service"),
    ("PUT", "clock"): (_set_clock, "sets the time: now, or advance_seconds"),
    ("DELETE", "clock"): (_reset_clock, "goes back to the true time"),
    ("GET", "limits"): (_limits, "returns requests a second, requests a day, and those used"),
    ("PATCH", "limits"): (_set_limits, "sets rate, quota or used"),
    ("DELETE", "limits"): (lambda service, _: service.limits.reset(), "starts a new day with no request counted"),
    ("GET", "log"): (
        lambda service, _: [asdict(call) for call in list(service.log)],
        "returns the API requests so far: method, path, query, status, time",
    ),
    ("DELETE", "log"): (lambda service, _: service.log.clear(), "empties the log"),
}
