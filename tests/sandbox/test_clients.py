"""Requests of public clients of Insightly, replayed: `tests/recorded/clients.json` has their shapes and sources."""

import json
import re
from typing import Any

import pytest

from pipelines.sandbox import Contents, Sandbox, Switches
from pipelines.sandbox.api.reads import etag
from pipelines.sandbox.store.shapes import facts_of
from tests.support.process import ROOT
from tests.support.requests_to_sandbox import send

RECORDED = json.loads((ROOT / "tests/recorded/clients.json").read_text(encoding="utf-8"))
KINDS = {"list": list, "object": dict}

Request = dict[str, Any]


def example(sandbox: Sandbox, entity: str) -> dict[str, Any]:
    """The record with the most arrays that are not empty."""
    table = sandbox.store.tables[entity]
    rows = sandbox.store.rows(entity)
    row = max(rows, key=lambda row: sum(bool(row[name]) for name in facts_of(entity).arrays))
    return row | {"ETag": etag(table.raw[row[facts_of(entity).key[0]]])}


def filled(sandbox: Sandbox, sent: Any) -> Any:
    """`sent` with the values of records for its placeholders; one that is a whole text keeps its type."""
    if isinstance(sent, dict):
        return {name: filled(sandbox, value) for name, value in sent.items()}
    if isinstance(sent, list):
        return [filled(sandbox, value) for value in sent]
    if not isinstance(sent, str):
        return sent

    def value(match: re.Match[str]) -> Any:
        entity, *names = match[1].split(".")
        found: Any = example(sandbox, entity)
        for name in names or [facts_of(entity).key[0]]:
            found = found[0][name] if isinstance(found, list) else found[name]
        return str(found) if match[2] else found

    whole = re.fullmatch(r"\{([\w.]+)(:text)?\}", sent)
    return value(whole) if whole else re.sub(r"\{([\w.]+)(:text)?\}", lambda match: str(value(match)), sent)


def replay(sandbox: Sandbox, request: Request) -> str:
    """What differs from the record; empty if nothing does."""
    method, _, path = request["send"].partition(" ")
    options = {
        name: filled(sandbox, request[given])
        for given, name in (("body", "json"), ("headers", "headers"))
        if given in request
    }
    if "file" in request:
        options["files"] = {"file": (request["file"], b"content")}
    response = send(sandbox, filled(sandbox, path), method, **options)
    if response.status_code != request["status"]:
        return f"{response.status_code}, not {request['status']}: {response.text}"
    if request.get("answer") == "bytes":
        return "" if response.content else "no content"
    kind = KINDS.get(request.get("answer", ""))
    return "" if kind is None or isinstance(response.json(), kind) else f"not the kind: {response.text[:200]}"


@pytest.mark.parametrize("client", RECORDED["clients"])
def test_client_gets_the_recorded_answers(contents: Contents, client: str) -> None:
    requests = [request for request in RECORDED["requests"] if client in request["by"]]
    assert requests
    with Sandbox(contents=contents, switches=Switches(rate=None)) as sandbox:
        assert {request["send"]: found for request in requests if (found := replay(sandbox, request))} == {}


def test_recorded_requests_differ_and_refused_ones_say_why() -> None:
    requests = RECORDED["requests"]
    sent = [json.dumps([request["send"], request.get("body"), request.get("headers")]) for request in requests]
    assert len(set(sent)) == len(sent)
    assert {name for request in requests for name in request["by"]} == RECORDED["clients"].keys()
    assert [request["send"] for request in requests if (request["status"] >= 400) != ("because" in request)] == []
