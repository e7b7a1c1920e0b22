"""Requests, responses and errors as plain values, between the socket and the routes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import orjson

from pipelines.sandbox.switches import Switches

JSON = "application/json; charset=utf-8"


@dataclass(frozen=True)
class Request:
    """One HTTP request. `path` has no `/v3.1`; names in `query` and `headers` are lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Response:
    """One HTTP response, and how to send it.

    Attributes:
        headers: except Content-Length and Date.
        body: before compression.
        delay: seconds to wait before it is sent.
        broken: `reset` or `cut` if the connection breaks, else "".
    """

    status: int
    headers: dict[str, str]
    body: bytes
    delay: float = 0.0
    broken: str = ""


class ApiError(Exception):
    """An error response: its HTTP status and the message in its body."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def json_response(status: int, value: Any) -> Response:
    """A JSON response; bytes are JSON already."""
    return Response(status, {"Content-Type": JSON}, value if isinstance(value, bytes) else orjson.dumps(value))


def text_response(status: int, text: str, kind: str = "plain") -> Response:
    return Response(status, {"Content-Type": f"text/{kind}; charset=utf-8"}, text.encode())


def empty_response(status: int) -> Response:
    return Response(status, {}, b"")


def error_response(error: ApiError, switches: Switches) -> Response:
    """The response to an error in the style of the switch `error_style` (API.md 1.2)."""
    if switches.error_style == "text":
        return text_response(error.status, error.message)
    if switches.error_style == "html" and error.status >= 500:
        page = f"<!DOCTYPE html><html><title>{error.status}</title><body>{escape(error.message)}</body></html>"
        return text_response(error.status, page, "html")
    return json_response(error.status, {"Message": error.message})
