"""Requests to a sandbox, and the recorded facts that its responses are compared with."""

import json
from typing import Any

import requests

from pipelines.sandbox import Sandbox
from tests.support.process import ROOT

RECORDED = json.loads((ROOT / "tests/recorded/entities.json").read_text(encoding="utf-8"))
RECORDED_ENTITIES: dict[str, dict[str, Any]] = RECORDED["entities"]
FIRST_17 = [name for name in RECORDED["first_17"] if name != "tags"]
LISTED = [
    name
    for name, facts in RECORDED_ENTITIES.items()
    if "{" not in facts["path"] and name not in {"tags", "instance", "permissions"}
]


def send(sandbox: Sandbox, path: str, method: str = "GET", **options: Any) -> requests.Response:
    with requests.Session() as session:
        session.auth = (sandbox.key, "")
        return session.request(method, f"{sandbox.url}/{path.lstrip('/')}", timeout=10, **options)


def ids_of(response: requests.Response, key: str = "CONTACT_ID") -> list[int]:
    assert response.status_code == 200, response.text
    return [row[key] for row in response.json()]


def first(sandbox: Sandbox, entity: str) -> dict[str, Any]:
    return sandbox.store.rows(entity)[0]
