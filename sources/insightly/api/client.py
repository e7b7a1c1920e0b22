"""The client: the only code that sends requests. Rate limit, call budget, retries, and errors that say what to do."""

import contextlib
import functools
import http.cookiejar
import logging
import os
import random
import re
import time
from base64 import b64encode
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from statistics import median_low
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote

import requests
from requests.auth import HTTPBasicAuth
from requests.utils import get_environ_proxies
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NameResolutionError, NewConnectionError, ReadTimeoutError

from ..config.hosts import is_loopback
from ..config.settings import InsightlySettings
from ..errors import (
    BadCredentials,
    MalformedResponse,
    QuotaExhausted,
    Retry,
    ServerError,
    TooLarge,
    UnresolvedWrite,
    clean,
    error_for_status,
    plural,
    root_cause,
)
from . import bounds
from .headers import parse_count, parse_http_date, parse_retry_after
from .json_body import error_message, parse
from .messages import Params, Request, Response, version
from .quota import DAY_SPENT, CallBudget
from .rate_limit import RateLimiter, UnexplainedThrottles

logger = logging.getLogger(__name__)
T = TypeVar("T")
Row = dict[str, Any]

MAX_ATTEMPTS = {"server error": 5, "malformed": 4, "burst": 10, "unexplained": 5}
"""For each kind of failure; "unexplained" is a 429 without X-RateLimit-Remaining, counted in a row."""
MAX_WAIT = 60.0
DATES = 9
"""Date headers whose median is the service's clock."""
DAY_END_WAIT = 300.0
"""A 429 without X-RateLimit-Remaining means the end of the day if its Retry-After is above this many seconds."""
TOO_SLOW_OR_LARGE = (bounds.ResponseOutOfBounds, requests.ReadTimeout, ReadTimeoutError)
TRANSIENT = (*TOO_SLOW_OR_LARGE, requests.ConnectionError, requests.Timeout, HTTPError)
PARTS_TOO_LARGE = 8
"""A page beyond `bounds.MAX_BYTES` is requested in so many parts: half of it would take a few hundred MB of memory."""
NOT_CONNECTED = (NewConnectionError, ConnectTimeoutError, ConnectionRefusedError)
"""Without a connection the service cannot have carried out the request."""


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: no redirect is followed, and requests would read the body of one to its end before it follows it."""


class Client:
    """Reads and writes one account; `max_connections` threads may use it at a time.

    Args:
        settings: resolved settings; they give key, base URL, connections, and the defaults of the next two.
        budget, rate_limiter: count and space every attempt; clients with the same key should share them.
        sleep: called with seconds between attempts.
        timeout: seconds to connect, and seconds between two reads.

    Raises:
        MissingKey: the settings have no key.
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
        self._masked = bool(settings.privacy.rules)
        self.budget = budget if budget is not None else CallBudget(settings.max_calls, settings.quota_reserve)
        self.rate_limiter = rate_limiter if rate_limiter is not None else RateLimiter(settings.requests_per_second)
        self._lookback, self._skews = settings.lookback_seconds, deque[float](maxlen=DATES)
        self._date_warned = False
        self._sleep, self._credentials_error, self._throttles = sleep, "", UnexplainedThrottles()
        encoded = [b64encode(text.encode()).decode().rstrip("=") for text in (f"{key}:", key)]
        self._key_forms = re.compile("|".join(map(re.escape, [*encoded, key, quote(key, safe="")])), re.IGNORECASE)
        self._session = session = _Session()
        # The environment must not replace the key (netrc) or divert loopback traffic. The proxies and the certificate
        # bundle of a company network are set explicitly.
        session.trust_env = False
        session.proxies = {} if is_loopback(self.base) else dict(get_environ_proxies(self.base))
        session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        session.auth = HTTPBasicAuth(key, "")
        session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        agent = f"insightly-sync/{version()}"
        session.headers.update({"User-Agent": agent, "Accept": "application/json", "Accept-Encoding": "gzip"})
        session.mount(self.base, bounds.BoundedAdapter(settings.max_connections, self.rate_limiter.record_sent))
        self._request = functools.partial(session.request, timeout=timeout, allow_redirects=False, stream=True)

    @property
    def clock_skew(self) -> float | None:
        """Seconds that the service's clock is ahead of this machine's, by the median of the last Date headers."""
        skews = list(self._skews)
        return median_low(skews) if skews else None

    def get(self, path: str, params: Params | None = None, *, label: str = "") -> Response:
        """GET `path` below the base URL and leave the body unparsed; the budget counts its attempts for `label`.

        Raises:
            ApiError, Stop: see `errors`; status codes and throttles as in api.md 1.1 and 3.
            ValueError: `path` leads out of the base URL.
        """
        return self._execute(Request("GET", path, params, label), bytes)[1]

    def get_list(self, path: str, params: Params | None = None, *, label: str = "") -> tuple[list[Row], Response]:
        """The rows of a list, and the response. Raises as `get`; MalformedResponse if it is not a list of objects."""
        rows, response = self._execute(Request("GET", path, params, label), parse)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self._unexpected(path, response, "a list of objects", rows)
        return rows, response

    def get_object(self, path: str, params: Params | None = None, *, label: str = "") -> tuple[Row, Response]:
        """One object, and the response. Raises as `get`; MalformedResponse if it is not an object."""
        value, response = self._execute(Request("GET", path, params, label), parse)
        if not isinstance(value, dict):
            raise self._unexpected(path, response, "an object", value)
        return value, response

    def send(self, request: Request) -> Response:
        """POST, PUT or DELETE. Repeated only if it certainly was not carried out: a 429, or no connection.

        Raises:
            UnresolvedWrite: the service may or may not have carried it out.
            ApiError, Stop: the service did not carry it out.
            ValueError: the path leads out of the base URL.
        """
        return self._execute(request, bytes)[1]

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    def _execute(self, request: Request, parse_body: Callable[[bytes], T]) -> tuple[T, Response]:
        # Not dlt's requests.Client: it neither spaces nor counts its attempts, and has one limit for all failures.
        url, path = self._url(request.path)
        request = replace(request, path=path)
        attempts, seconds = Counter[str](), 0.0
        while True:
            with contextlib.ExitStack() as turn:
                try:
                    response = self._attempt(turn, url, request)
                    return self._parse(parse_body, response, path), response
                except Retry as retry:
                    kind, error, delay, unsent = retry.kind, retry.error, retry.delay, retry.unsent
                    parts = retry.parts
                    seconds += retry.seconds
                # Raise outside of `except`: the library's exception has the key in its request's headers, and must not
                # become the context of the error.
                if request.writes and kind == "server error" and not unsent:
                    raise UnresolvedWrite(str(error), path=path, status=getattr(error, "status", 0))
                attempts[kind] += 1
                failed = max(attempts[kind], self._throttles.in_a_row) if kind == "unexplained" else attempts[kind]
                if failed >= MAX_ATTEMPTS[kind] or seconds >= 2 * bounds.MAX_SECONDS:
                    if isinstance(error, QuotaExhausted):
                        self.budget.spend_day(str(error))
                    raise error
                pause = delay or min(2.0 ** (failed - 1), MAX_WAIT) * random.uniform(1.0, 1.25)
                # Whatever fails a page twice may depend on its size.
                if attempts[kind] > 1 and not unsent and kind in ("server error", "malformed"):
                    parts = max(parts, 2)
                # The last attempt is for the smallest page, so that a run gets through whatever size the service bears.
                is_last = failed + 1 == MAX_ATTEMPTS[kind] or seconds >= bounds.MAX_SECONDS
                smaller = request.smaller(parts, smallest=is_last) if parts > 1 else request
                size = "" if smaller is request else f" for {smaller.top} rows"
                request = smaller
                logger.info("%s; attempt %d%s in %.1f s", error, attempts.total() + 1, size, pause)
                self.budget.count_retry(kind)
                self._wait(kind, pause)

    def _wait(self, kind: str, seconds: float) -> None:
        """Waits before the next attempt; after a 429, all threads wait."""
        if kind == "burst":
            if self.rate_limiter.burst(seconds):
                logger.info("The service allows fewer requests a second than the setting: this run slows down")
        elif kind == "unexplained":
            self.rate_limiter.hold(seconds)
        else:
            self._sleep(seconds)

    def _attempt(self, turn: contextlib.ExitStack, url: str, request: Request) -> Response:
        """Sends the request once. What it enters into `turn` lasts until the response is parsed."""
        self._check()
        self.rate_limiter.wait()
        if self._throttles.in_a_row:
            # One request at a time tests whether the day is over, after the pause of the one before.
            turn.enter_context(self._throttles.one_at_a_time)
            self.rate_limiter.wait()
        self._check()
        ticket = self.budget.take(request.label)
        remaining: int | None = None
        started = time.monotonic()
        try:
            http_response, body = self._fetch(url, request)
            elapsed, now = time.monotonic() - started, time.time()
            status = http_response.status_code
            remaining = parse_count(http_response.headers.get("X-RateLimit-Remaining"))
            self._throttles.record(status, remaining, started)
            date, skew, requested_at = parse_http_date(http_response.headers.get("Date")), None, None
            if date is not None:
                skew = date.timestamp() - (now - elapsed + http_response.elapsed.total_seconds())
                requested_at = date - timedelta(seconds=elapsed + self._excess(date, skew))
                self._skews.append(skew)
            if not 200 <= status < 300:
                self._raise_for_status(http_response, body, request, remaining)
            total = parse_count(http_response.headers.get("X-Total-Count"))
            return Response(body, status, total, requested_at, elapsed, skew, request.top)
        except (OSError, HTTPError) as exception:  # requests' own exceptions are OSErrors
            cause = root_cause(exception)
            text = self._clean(f"{type(cause).__name__}: {cause}")
            hint = f"; check {self._section}.pod" if isinstance(cause, NameResolutionError) else ""
            permanent = not isinstance(exception, TRANSIENT) or "CERTIFICATE_VERIFY_FAILED" in text
            unsent = isinstance(cause, NOT_CONNECTED)
            parts = 2 if isinstance(exception, TOO_SLOW_OR_LARGE) or isinstance(cause, TOO_SLOW_OR_LARGE) else 1
            too_large = isinstance(cause, bounds.TooManyBytes)
            if too_large:
                parts = PARTS_TOO_LARGE
            del cause
        finally:
            self.budget.record(remaining, ticket)
        error = ServerError(f"{request}: no complete response ({text}){hint}", path=request.path)
        if too_large and not request.divisible and not request.writes:
            error = TooLarge(self._too_large(request), path=request.path)
        if permanent:
            raise error
        raise Retry("server error", error, unsent=unsent, parts=parts, seconds=time.monotonic() - started)

    def _too_large(self, request: Request) -> str:
        """Which records a response beyond `bounds.MAX_BYTES` has, and what to do: no retry makes it smaller."""
        seen, fix = "the response has", "shorten the longest record in Insightly"
        if request.top is not None and request.params is not None:
            seen = f"the {plural(request.top, 'record')} from skip={request.params['skip']} on have"
        if request.label:
            others = f"name other entities in the command or in {self._section}.entities"
            fix += f", or leave {request.label} out ({others})"
        return f"{request}: {seen} more than {bounds.MAX_BYTES:,} bytes, the most that one response may have; {fix}"

    def _fetch(self, url: str, request: Request) -> tuple[requests.Response, bytes]:
        with self._request(
            request.method, url, params=request.params, data=request.body, headers=request.headers
        ) as http_response:
            # `content` has no bound, and reads a page in a hundred pieces, which takes three times as long.
            failed = not 200 <= http_response.status_code < 300
            size = bounds.MAX_ERROR_BYTES if failed else bounds.MAX_BYTES + 1
            body: bytes = http_response.raw.read(size, decode_content=True)
            if len(body) > bounds.MAX_BYTES:
                raise bounds.TooManyBytes
        # An error keeps its frames alive: their variables must not lead to the key or to an open connection.
        vars(http_response).update(request=None, raw=None, connection=None)
        return http_response, body

    def _excess(self, date: datetime, skew: float) -> float:
        """Seconds by which a Date is later than this machine's clock and other answers allow, if beyond the lookback.

        A time that is too early is safe: changes are read twice. With one that is too late, they would never be read.
        """
        excess = skew - min(0.0, self.clock_skew or 0.0)
        if excess <= self._lookback:
            return 0.0
        if not self._date_warned:
            self._date_warned = True
            logger.warning(
                "The service's Date %s is %s later than this machine's clock or other answers; the earlier counts: "
                "check this machine's clock",
                date,
                timedelta(seconds=round(excess)),
            )
        return excess

    def _check(self) -> None:
        """Raises if the key was refused before, or no call is left."""
        if self._credentials_error:
            raise BadCredentials(self._credentials_error, status=401)
        self.budget.check()

    def _raise_for_status(
        self, http_response: requests.Response, body: bytes, request: Request, remaining: int | None
    ) -> NoReturn:
        status, message = http_response.status_code, self._message(body)
        text = f"{request}: {status} {self._clean(http_response.reason or '')}".rstrip()
        text += f": {message.rstrip('.')}" if message else ""
        delay = parse_retry_after(
            http_response.headers.get("Retry-After"), parse_http_date(http_response.headers.get("Date"))
        )
        throttled = status == 429
        if throttled and (remaining == 0 or (remaining is None and (delay or 0) > DAY_END_WAIT)):
            self.budget.spend_day(f"{text}; {DAY_SPENT}")
        if throttled and remaining is None:
            hint = "without X-RateLimit-Remaining, so the day's calls may be used up: run again tomorrow"
            raise Retry("unexplained", QuotaExhausted(f"{text}; {hint}"), delay)
        if throttled or status == 408 or status >= 500:
            hint = "lower sources.insightly.requests_per_second" if throttled else "run again later"
            error = ServerError(f"{text}; {hint}", path=request.path, status=status, api_message=message)
            kind = "burst" if throttled else "server error"
            raise Retry(kind, error, delay and min(delay, MAX_WAIT), parts=2 if status in (408, 504) else 1)
        error_class, hint = error_for_status(status, self._section, web_page=body.lstrip().startswith(b"<"))
        text += f"; {hint}" if hint else ""
        if error_class is BadCredentials:
            self._credentials_error = text
        raise error_class(text, path=request.path, status=status, api_message=message)

    def _parse(self, parse_body: Callable[[bytes], T], response: Response, path: str) -> T:
        try:
            return parse_body(response.body)
        except ValueError:
            size = len(response.body)
        text = f"GET {path}: {response.status} with {size} bytes that are not JSON; nothing is loaded. Run again later"
        raise Retry("malformed", MalformedResponse(text, path=path, status=response.status))

    def _url(self, path: str) -> tuple[str, str]:
        path = f"/{path.strip('/')}"
        url = requests.Request("GET", self.base + quote(path, safe="/-._~")).prepare().url or ""
        if ".." in path or "//" in path or not url.startswith(f"{self.base}/"):
            raise ValueError(f"{path!r} is not a path below {self.base}")
        return url, path

    def _message(self, body: bytes) -> str:
        """What the service says of a failure; nothing if columns are masked, because it may quote a record."""
        return "" if self._masked else self._clean(error_message(body))

    def _clean(self, text: str) -> str:
        return clean(" ".join(self._key_forms.sub("***", text).split()))[:200]

    def _unexpected(self, path: str, response: Response, expected: str, value: object) -> MalformedResponse:
        path = f"/{path.strip('/')}"
        message = self._message(response.body) if isinstance(value, dict | str) else ""
        seen = "a list of something else" if isinstance(value, list) and value else type(value).__name__
        text = f"GET {path}: expected {expected}, got {seen}" + (message and f": {message}")
        return MalformedResponse(text, path=path, status=response.status, api_message=message)
