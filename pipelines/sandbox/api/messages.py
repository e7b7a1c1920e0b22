"""Requests, responses and errors as plain values, between the socket and the routes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import orjson

from pipelines.sandbox.store.shapes import facts_of
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
    """One HTTP response: status, headers except Content-Length and Date, and the body before compression."""

    status: int
    headers: dict[str, str]
    body: bytes


Handler = Callable[[], Response]


class ApiError(Exception):
    """An error response: its HTTP status and the message in its body."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def record_not_found(entity: str, key: object) -> ApiError:
    return ApiError(404, f"The record with id {key} was not found in {facts_of(entity).path}.")


def route_not_found(request: Request) -> ApiError:
    return ApiError(404, f"No resource was found at {request.path}.")


def method_not_allowed(request: Request) -> ApiError:
    return ApiError(405, f"The requested resource does not support the method {request.method}.")


def handler_for(request: Request, handlers: Mapping[str, Handler]) -> Handler:
    """The handler of the request's method; raises a 405 where there is none."""
    if request.method not in handlers:
        raise method_not_allowed(request)
    return handlers[request.method]


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
