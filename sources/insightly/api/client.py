"""The only module that sends: pacing, budget, retries, and errors that say what to do."""

import contextlib
import functools
import http.cookiejar
import logging
import os
import random
import re
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.exceptions import ChunkedEncodingError, ContentDecodingError
from requests.utils import get_environ_proxies
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NameResolutionError, NewConnectionError

from ..config.settings import InsightlySettings
from ..errors import (
    BadCredentials,
    MalformedResponse,
    QuotaExhausted,
    Retry,
    ServerError,
    UnresolvedWrite,
    error_for_status,
    root_cause,
)
from .headers import count, parse_http_date, retry_after
from .json_body import error_message, parse
from .messages import Params, Request, Response, version
from .quota import CallBudget
from .rate_limit import Doubt, RateLimiter

logger = logging.getLogger(__name__)
T = TypeVar("T")
Row = dict[str, Any]

TRIES = {"trouble": 5, "malformed": 4, "burst": 10, "unexplained": 5}
"""Attempts in all, for each kind of failure; "unexplained" is a 429 without X-RateLimit-Remaining, in a row."""
LONGEST_WAIT = 60.0
DAY_OVER = 300.0
"""An unexplained 429 that asks for more seconds than this means the day's end."""
PASSING = (requests.ConnectionError, requests.Timeout, ChunkedEncodingError, ContentDecodingError, HTTPError)
UNSENT = (NewConnectionError, ConnectTimeoutError, ConnectionRefusedError)
"""No connection was made, so nothing was carried out."""


class Client:
    """Reads and writes one account; thread-safe, for `max_connections` threads at a time.

    Args:
        settings: resolved settings; key, base URL, connections, and the defaults of the next two come from them.
        budget, pacer: count and space every attempt; all clients of a key should share them.
        sleep: called with seconds between attempts.
        timeout: seconds to connect, and between two reads.

    Attributes:
        clock_skew: seconds that the service's clock is ahead of ours by the last answer, None before one told.

    Raises:
        MissingKey: the settings hold no key.
    """

    def __init__(
        self,
        settings: InsightlySettings,
        budget: CallBudget | None = None,
        rate_limiter: RateLimiter | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        timeout: tuple[float, float] = (10.0, 120.0),
    ) -> None:
        key = settings.require_key()
        self.base, self._section = settings.url, settings.section
        self.budget = budget if budget is not None else CallBudget(settings.max_calls, settings.quota_reserve)
        self.rate_limiter = rate_limiter if rate_limiter is not None else RateLimiter(settings.requests_per_second)
        self.clock_skew: float | None = None
        self._sleep, self._refused, self._doubt = sleep, "", Doubt()
        encoded = [b64encode(text.encode()).decode().rstrip("=") for text in (f"{key}:", key)]
        self._key_forms = re.compile("|".join(map(re.escape, [*encoded, key, quote(key, safe="")])), re.IGNORECASE)
        self._session = session = requests.Session()
        # Nothing in the environment may replace the key (netrc) or lead loopback traffic elsewhere; the proxies and the
        # certificate bundle of a company network are taken over by hand.
        session.trust_env = False
        session.proxies = {} if settings.on_loopback else dict(get_environ_proxies(self.base))
        session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        session.auth = HTTPBasicAuth(key, "")
        session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        agent = f"insightly-sync/{version()}"
        session.headers.update({"User-Agent": agent, "Accept": "application/json", "Accept-Encoding": "gzip"})
        session.mount(self.base, HTTPAdapter(1, settings.max_connections, pool_block=True))
        self._send = functools.partial(session.request, timeout=timeout, allow_redirects=False, stream=True)

    def get(self, path: str, params: Params | None = None, *, label: str = "") -> Response:
        """GET `path` below the base URL, its body unparsed; each attempt is counted under `label`.

        Raises:
            ApiError, Stop: as drawn in `errors`; status codes and throttles by API.md 1.1 and 3.
            ValueError: `path` leads out of the base URL.
        """
        return self._ask(Request("GET", path, params, label), bytes)[1]

    def get_list(self, path: str, params: Params | None = None, *, label: str = "") -> tuple[list[Row], Response]:
        """The rows of a list, and the answer. Raises as `get`, and MalformedResponse for all but a list of objects."""
        rows, answer = self._ask(Request("GET", path, params, label), parse)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self._unexpected(path, answer, "a list of objects", rows)
        return rows, answer

    def get_object(self, path: str, params: Params | None = None, *, label: str = "") -> tuple[Row, Response]:
        """One object, and the answer. Raises as `get`, and MalformedResponse for anything but an object."""
        value, answer = self._ask(Request("GET", path, params, label), parse)
        if not isinstance(value, dict):
            raise self._unexpected(path, answer, "an object", value)
        return value, answer

    def send(self, call: Request) -> Response:
        """POST, PUT or DELETE. Sent again only where it certainly was not carried out: a burst, or no connection.

        Raises:
            UnresolvedWrite: it may have been carried out, or not.
            ApiError, Stop: it was not carried out.
            ValueError: its path leads out of the base URL.
        """
        return self._ask(call, bytes)[1]

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, call: Request, reader: Callable[[bytes], T]) -> tuple[T, Response]:
        # dlt's requests.Client neither paces nor counts its attempts, and one limit serves every failure. With a limit
        # for each kind of failure a loop is shorter than tenacity.
        url, path = self._url(call.path)
        call = replace(call, path=path)
        tries: Counter[str] = Counter()
        while True:
            with contextlib.ExitStack() as turn:
                try:
                    answer = self._attempt(turn, url, call)
                    return self._parsed(reader, answer, path), answer
                except Retry as again:
                    kind, verdict, after, unsent = again.kind, again.verdict, again.after, again.unsent
                # Errors are raised outside of `except`: a library's exception, whose request has the key in its
                # headers, must not hang on ours as its context.
                if call.writes and kind == "trouble" and not unsent:
                    raise UnresolvedWrite(str(verdict), path=path, status=getattr(verdict, "status", 0))
                tries[kind] += 1
                failed = max(tries[kind], self._doubt.in_a_row) if kind == "unexplained" else tries[kind]
                if failed >= TRIES[kind]:
                    if isinstance(verdict, QuotaExhausted):
                        self.budget.spend_day()
                    raise verdict
                pause = after or min(2.0 ** (failed - 1), LONGEST_WAIT) * random.uniform(1.0, 1.25)
                logger.warning("%s; attempt %d in %.1f s", verdict, tries.total() + 1, pause)
                (self.rate_limiter.hold if kind in ("burst", "unexplained") else self._sleep)(pause)

    def _attempt(self, turn: contextlib.ExitStack, url: str, call: Request) -> Response:
        self._check()
        self.rate_limiter.wait()
        if self._doubt.in_a_row:
            # One call at a time finds out whether the day is over, each after the hold that the one before brought.
            turn.enter_context(self._doubt.alone)
            self.rate_limiter.wait()
        self._check()
        ticket = self.budget.take(call.label)
        remaining: int | None = None
        began = time.monotonic()
        try:
            response, body = self._fetch(url, call)
            elapsed, now = time.monotonic() - began, time.time()
            remaining = count(response.headers.get("X-RateLimit-Remaining"))
            self._doubt.weigh(response.status_code, remaining, began)
            total, date = count(response.headers.get("X-Total-Count")), parse_http_date(response.headers.get("Date"))
            came = now - elapsed + response.elapsed.total_seconds()  # the headers, by our clock
            requested_at, skew = (date - timedelta(seconds=elapsed), date.timestamp() - came) if date else (None, None)
            self.clock_skew = self.clock_skew if skew is None else skew
            if not 200 <= response.status_code < 300:
                self._refuse(response, body, call, remaining)
            return Response(body, response.status_code, total, requested_at, elapsed, skew)
        except (OSError, HTTPError) as error:  # requests' own exceptions are OSErrors
            cause = root_cause(error)
            text = self._clean(f"{type(cause).__name__}: {cause}")
            hint = f"; check {self._section}.pod" if isinstance(cause, NameResolutionError) else ""
            lasting = not isinstance(error, PASSING) or "CERTIFICATE_VERIFY_FAILED" in text
            unsent = isinstance(cause, UNSENT)
            del cause
        finally:
            self.budget.note(remaining, ticket)
        verdict = ServerError(f"{call}: no complete answer ({text}){hint}", path=call.path)
        raise verdict if lasting else Retry("trouble", verdict, unsent=unsent)

    def _fetch(self, url: str, call: Request) -> tuple[requests.Response, bytes]:
        with self._send(call.method, url, params=call.params, data=call.body, headers=call.headers) as response:
            # `content` reads a page in a hundred pieces, which takes three times as long.
            body: bytes = response.raw.read(decode_content=True) if response.status_code == 200 else response.content
        # Errors keep their frames alive: what these hold must lead neither to the key nor to an open connection.
        vars(response).update(request=None, raw=None, connection=None)
        return response, body

    def _check(self) -> None:
        if self._refused:
            raise BadCredentials(self._refused, status=401)
        self.budget.check()

    def _refuse(self, response: requests.Response, body: bytes, call: Request, remaining: int | None) -> NoReturn:
        status, words, limited = response.status_code, self._clean(error_message(body)), response.status_code == 429
        text = f"{call}: {status} {self._clean(response.reason or '')}".rstrip() + (f": {words}" if words else "")
        after = retry_after(response.headers.get("Retry-After"), parse_http_date(response.headers.get("Date")))
        if limited and (remaining == 0 or (remaining is None and (after or 0) > DAY_OVER)):
            self.budget.spend_day()
            raise QuotaExhausted(
                f"{text}; the day's calls are used up, what was read is kept. Run again after the reset"
            )
        if limited and remaining is None:
            raise Retry("unexplained", QuotaExhausted(f"{text}; taken for the end of the day's calls"), after)
        if limited or status == 408 or status >= 500:
            hint = "lower sources.insightly.requests_per_second" if limited else "run again later"
            trouble = ServerError(f"{text}; {hint}", path=call.path, status=status, api_message=words)
            raise Retry("burst" if limited else "trouble", trouble, after and min(after, LONGEST_WAIT))
        kind, hint = error_for_status(status, self._section)
        text += f"; {hint}" if hint else ""
        self._refused = text if kind is BadCredentials else self._refused
        raise kind(text, path=call.path, status=status, api_message=words)

    def _parsed(self, reader: Callable[[bytes], T], answer: Response, path: str) -> T:
        try:
            return reader(answer.body)
        except ValueError:
            text = f"GET {path}: {answer.status} with {len(answer.body)} bytes that are not JSON; nothing is loaded"
        raise Retry("malformed", MalformedResponse(text, path=path, status=answer.status))

    def _url(self, path: str) -> tuple[str, str]:
        path = f"/{path.strip('/')}"
        url = requests.Request("GET", self.base + quote(path, safe="/-._~")).prepare().url or ""
        if ".." in path or "//" in path or not url.startswith(f"{self.base}/"):
            raise ValueError(f"{path!r} is no path below {self.base}")
        return url, path

    def _clean(self, text: str) -> str:
        return " ".join(self._key_forms.sub("***", text).split())[:200]

    def _unexpected(self, path: str, answer: Response, wanted: str, value: object) -> MalformedResponse:
        words = self._clean(error_message(answer.body)) if isinstance(value, dict | str) else ""
        came = "a list of something else" if isinstance(value, list) and value else type(value).__name__
        text = f"GET /{path.strip('/')}: {wanted} was expected, {came} came" + (words and f": {words}")
        return MalformedResponse(text, path=f"/{path.strip('/')}", status=answer.status, api_message=words)
