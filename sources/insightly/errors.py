"""The errors of this package, sorted by what the caller does about them.

    InsightlyError                  exit 1: failed, and the message says why
    ├── ConfigurationError          exit 2: a setting, the value seen and the fix; nothing was loaded
    │   ├── MissingKey              no API key, or no key for hashes
    │   ├── RefusedHost             the key would go to a host that is not Insightly's
    │   ├── BadSetting              a value of the wrong type or out of range
    │   │   └── UnknownSetting      a setting that does not exist
    │   ├── UnreadableFile          a settings file that is not valid
    │   └── WrongAccount            the destination contains records of another account
    ├── ApiError                    a response that cannot be used
    │   ├── BadCredentials          401: every later request would fail too
    │   ├── NotAvailable            the key or the plan does not include the collection: skip it
    │   │   ├── Forbidden           403
    │   │   └── NotFound            404: no such collection, or no such record
    │   ├── BadRequest              400 and every other 4xx, with the API's own message
    │   ├── ServerError             5xx, time-out, reset or truncated body, after every retry
    │   │   ├── TooLarge            a response beyond the limit of bytes, even for the smallest page
    │   │   └── UnresolvedWrite     a write that the service may or may not have carried out
    │   └── MalformedResponse       a success with a body of the wrong type, or a redirect
    │       └── EndlessList         a list whose pages do not end
    ├── ImplausibleDeletion         more records are gone than `max_deleted_share` allows; none was marked or removed
    ├── DataError                   records that cannot be loaded without changing them
    │   ├── ColumnCollision         two fields would become one column
    │   └── Unsorted                a list that keeps changing its order
    └── Stop                        exit 3: a clean stop; what was read is kept, the next run continues
        ├── QuotaExhausted          the day's calls are used up
        └── BudgetExhausted         `max_calls` is reached, or only `quota_reserve` is left

A message has the URL path, never the query, the headers or the key. Its text has no known password (`register_secret`)
and no control characters.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar
from urllib.parse import quote

_KEY = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_URL_CREDENTIALS = re.compile(r"(?<=://)(?!username:password@)[^/\s]*@")
"""Not those of dlt's example of a URL."""
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that steer a terminal, or reverse or break a line; a tab and the end of a line may stay."""
SHORTEST_SECRET = 4
_secrets = set[str]()


class InsightlyError(Exception):
    """Base class of every error that this package raises.

    `exit_code` is the exit code of the command. `transient` is True where the same run may succeed a little later.
    """

    exit_code: ClassVar[int] = 1
    transient: ClassVar[bool] = False

    def __str__(self) -> str:
        return clean(super().__str__())


class ConfigurationError(InsightlyError):
    """A setting that you must change before a run can work.

    Args:
        setting: its full name, such as `sources.insightly.pod`.
        value: the value seen (never a secret), or "" for none.
        fix: which values are valid, or what to do, as a clause.
    """

    exit_code = 2

    def __init__(self, setting: str, value: object = "", fix: str = "") -> None:
        super().__init__(setting, value, fix)
        self.setting, self.value, self.fix = setting, value, fix

    def __str__(self) -> str:
        seen = "is not set" if self.value in ("", None) else f"is {self.value!r}"
        return clean(f"{self.setting} {seen}: {self.fix}" if self.fix else f"{self.setting} {seen}")


class MissingKey(ConfigurationError):
    """No API key where a request needs one, or no key for hashes."""


class RefusedHost(ConfigurationError):
    """The address is not `api.<pod>.insightly.com`, or `base_url` is not safe to send a key to."""


class BadSetting(ConfigurationError):
    """A value of the wrong type or out of range."""


class UnknownSetting(BadSetting):
    """A setting that does not exist. `value` is where it is: a file and a line, or a variable."""

    def __str__(self) -> str:
        place = f" ({self.value})" if self.value else ""
        return f"{self.setting}{place} is not a setting: {self.fix}"


class UnreadableFile(ConfigurationError):
    """A settings file that is not valid. `setting` is the file, and the line if it is known."""

    def __str__(self) -> str:
        return f"{self.setting}: {self.fix}"


class WrongAccount(ConfigurationError):
    """The destination, or its state, belongs to another Insightly account."""


class ApiError(InsightlyError):
    """A response that cannot be used.

    Args:
        message: the full message for the user.
        path: URL path below the base URL.
        status: HTTP status, 0 without a response.
        api_message: the API's own message, redacted and shortened, "" if none.
    """

    def __init__(self, message: str, *, path: str = "", status: int = 0, api_message: str = "") -> None:
        super().__init__(message)
        self.path, self.status, self.api_message = path, status, api_message


class BadCredentials(ApiError):
    """401: the key is wrong, or belongs to another pod (api.md 1.1). Every later request would fail too."""


class NotAvailable(ApiError):
    """403 or 404 for a collection: this user or plan does not include it (api.md 1.1). `status` is which."""


class Forbidden(NotAvailable):
    """403: no permission, or a module that the plan does not include."""


class NotFound(NotAvailable):
    """404: no such record, or an object family that the plan does not include."""


class BadRequest(ApiError):
    """400 or another 4xx: the same request would fail again."""


class ServerError(ApiError):
    """No usable response after every retry; the next run may succeed."""

    transient = True


class TooLarge(ServerError):
    """A response beyond the limit of bytes that cannot be requested in smaller parts, so the next run fails alike."""

    transient = False


class UnresolvedWrite(ServerError):
    """A write without a usable response. The service may have carried it out, so do not simply send it again."""


class MalformedResponse(ApiError):
    """A success whose body is not what the path promises; to read it as "no rows" would lose records."""

    transient = True


class EndlessList(MalformedResponse):
    """A list whose pages do not end: too many brought no new rows."""


class ImplausibleDeletion(InsightlyError):
    """More records are gone than `max_deleted_share` allows; none was marked or removed."""


class DataError(InsightlyError):
    """Records that cannot be loaded without changing them."""


class ColumnCollision(DataError):
    """Two fields that would become one column; the message names both."""


class Unsorted(DataError):
    """A list that is not in id order, or changes its order while it is read."""

    transient = True


class Stop(InsightlyError):
    """A clean stop: what was read is loaded, and a later run continues at the checkpoint."""

    exit_code = 3


class QuotaExhausted(Stop):
    """The day's calls are used up (api.md 3); every request fails until the next period."""


class BudgetExhausted(Stop):
    """This run may send no more: `max_calls` is reached, or only `quota_reserve` is left."""


@dataclass(eq=False)
class Retry(Exception):
    """A failed attempt that may succeed when it is repeated.

    Args:
        kind: which limit of attempts applies.
        error: what to raise when the attempts are used up.
        delay: seconds to wait that the service requested, None if it did not.
        unsent: whether the request certainly did not reach the service.
        parts: into how many parts to divide a page, if one of fewer rows is more likely to succeed.
        seconds: how long the attempt took if its response is incomplete.
    """

    kind: str
    error: InsightlyError
    delay: float | None = None
    unsent: bool = False
    parts: int = 1
    seconds: float = 0.0


def error_for_status(status: int, section: str, web_page: bool = False) -> tuple[type[ApiError], str]:
    """The error class for a status that is neither a success nor worth a retry (api.md 1.1), and a hint.

    `section` is the section of the account's settings. A `web_page` is not how the API answers.
    """
    blocked = "the answer is a web page: a firewall or proxy may have refused the request"
    shown = "; Insightly shows both in User Settings > API"
    kinds: dict[int, tuple[type[ApiError], str]] = {
        401: (BadCredentials, f"check {section}.api_key, and that {section}.pod is that key's pod{shown}"),
        403: (Forbidden, blocked if web_page else "not available to this user or plan"),
        404: (NotFound, blocked if web_page else "no such record, or not in this plan"),
    }
    redirect = (MalformedResponse, "redirects are not followed; check the base URL")
    return kinds.get(status, (BadRequest, "") if status >= 400 else redirect)


def register_secret(secret: str) -> None:
    """Hides a password in every later message of the process; one of fewer than 4 characters in URLs only."""
    forms = {secret, quote(secret, safe=""), repr(secret)[1:-1], json.dumps(secret)[1:-1]}
    _secrets.update(form for form in forms if len(form) >= SHORTEST_SECRET)


def hide_secrets(text: str) -> str:
    """The text with `***` in place of registered secrets, and of user and password in URLs."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _URL_CREDENTIALS.sub("***@", text)


def clean(text: str) -> str:
    """The text for a terminal, a log or a file: without secrets, and with control characters as escapes (`\\x1b`)."""
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), hide_secrets(text))


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`, in any case; None if none comes close."""
    normalized = {each.casefold(): each for each in known}
    return next((normalized[each] for each in get_close_matches(name.casefold(), normalized, 1, cutoff=0.75)), None)


def plural(count: int, one: str, many: str = "") -> str:
    """A number with its noun: `1 row`, `2,000 rows`; `many` where the plural takes more than an s."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def listing(items: Sequence[object], most: int) -> str:
    """The first items: `contacts, leads and 2,000 more`."""
    more = f" and {len(items) - most:,} more" if len(items) > most else ""
    return ", ".join(map(str, items[:most])) + more


def redact(value: object) -> str:
    """`value` for a message: cleaned, without API keys, at most 80 characters long."""
    text = _KEY.sub("***", clean(value if isinstance(value, str) else repr(value)))
    return text if len(text) <= 80 else f"{text[:79]}…"


def describe(record: object) -> str:
    """The keys of a record without its values: a setting may keep these from being written anywhere, logs included."""
    return f"its keys are {redact(sorted(record))}" if isinstance(record, dict) else f"it is a {type(record).__name__}"


def root_cause(error: BaseException) -> BaseException:
    """The innermost exception: HTTP libraries wrap it in up to four of their own."""
    inner = getattr(error, "reason", None) or next((arg for arg in reversed(error.args) if arg), None)
    return root_cause(inner) if isinstance(inner, BaseException) else error


def chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, and those that it was raised from. One that is raised again can be among its own causes."""
    seen: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in seen:
        yield each
        seen.append(each)
        each = each.__cause__ or each.__context__


def reason_of(error: BaseException) -> str:
    """The innermost cause of an exception, in one line: libraries surround it with advice about themselves."""
    innermost = next(each for each in chain(error) if each.__cause__ is None)
    innermost = getattr(innermost, "inner_exc", innermost)  # dlt's DestinationConnectionError
    return (str(innermost).strip() or type(innermost).__name__).splitlines()[0]
