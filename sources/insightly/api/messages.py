"""A request to the API and its response, as plain values."""

import contextlib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

Params = Mapping[str, str | int]

MIN_ROWS = 2
"""Rows of the smallest page: each page of a walk has one row of the page before."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request: `path` is below the base URL; the budget counts its calls for `label`."""

    method: str
    path: str
    params: Params | None = None
    label: str = ""
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    @property
    def top(self) -> int | None:
        """Rows of the requested page; None if it is not a page: then a smaller answer would be incomplete."""
        return int(self.params["top"]) if self.params and "skip" in self.params else None

    @property
    def divisible(self) -> bool:
        """True for a page of which fewer rows can be requested."""
        return self.top is not None and self.top > MIN_ROWS

    def smaller(self, parts: int = 2, *, smallest: bool = False) -> "Request":
        """The request for one of `parts` of the page, or for `MIN_ROWS`; the same one if it is not a page."""
        if self.top is None or not self.divisible:
            return self
        top = MIN_ROWS if smallest else max(self.top // parts, MIN_ROWS)
        return replace(self, params={**(self.params or {}), "top": top})

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Response:
    """A successful response.

    `total` is X-Total-Count. `requested_at` is the service's Date less the `elapsed` seconds, so it is never after the
    request left, or an earlier time by other clocks. `clock_skew` is how many seconds the Date is ahead of this
    machine's clock. `top` is how many rows of a page were requested, perhaps by a retry.
    """

    body: bytes
    status: int
    total: int | None
    requested_at: datetime | None
    elapsed: float
    clock_skew: float | None
    top: int | None = None


def version() -> str:
    """The version of this package, for the User-Agent header."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version("insightly-sync")
    return "0"  # copied into a project by `dlt init`
