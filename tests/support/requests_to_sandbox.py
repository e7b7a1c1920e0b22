"""Requests to a sandbox."""

from typing import Any

import requests

from pipelines.sandbox import Sandbox


def ask(sandbox: Sandbox, path: str, method: str = "GET", **options: Any) -> requests.Response:
    with requests.Session() as session:
        session.auth = (sandbox.key, "")
        return session.request(method, f"{sandbox.url}/{path.lstrip('/')}", timeout=10, **options)
