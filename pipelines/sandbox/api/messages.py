"""Requests, answers and errors as plain values, between the socket and the routes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import orjson

from pipelines.sandbox.switches import Switches

JSON = "application/json; charset=utf-8"


@dataclass(frozen=True)
class Request:
    """One call. `path` has no `/v3.1`; names in `query` and `headers` are lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Response:
    """One answer: status, headers beyond Content-Length and Date, and the body before compression."""

    status: int
    headers: dict[str, str]
    body: bytes


class ApiError(Exception):
    """A refusal: an HTTP status and the sentence for the body."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def answer(status: int, value: Any) -> Response:
    """A JSON answer; bytes are taken as JSON already."""
    return Response(status, {"Content-Type": JSON}, value if isinstance(value, bytes) else orjson.dumps(value))


def empty(status: int) -> Response:
    return Response(status, {}, b"")


def refusal(error: ApiError, switches: Switches) -> Response:
    """The answer to an error in the style of the switch `error_style` (API.md 1.2)."""
    if switches.error_style == "text":
        return Response(error.status, {"Content-Type": "text/plain; charset=utf-8"}, error.message.encode())
    if switches.error_style == "html" and error.status >= 500:
        page = f"<!DOCTYPE html><html><title>{error.status}</title><body>{escape(error.message)}</body></html>"
        return Response(error.status, {"Content-Type": "text/html; charset=utf-8"}, page.encode())
    return answer(error.status, {"Message": error.message})
