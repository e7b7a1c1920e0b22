"""What can go wrong, sorted by what the caller should do about it.

    InsightlyError                  exit 1: failed, the message says why
    ├── ConfigurationError          exit 2: names the setting, the value seen and the fix; nothing was sent
    │   ├── MissingKey              no API key where one is needed
    │   ├── RefusedHost             the key would go to a host that is not Insightly's
    │   ├── BadSetting              a value outside its range, or of another type
    │   └── WrongAccount            the destination holds another account's records
    ├── BadCredentials              401: stops everything
    ├── NotAvailable                the collection is not available to this key or plan: skip it
    │   ├── Forbidden               403
    │   └── Gone                    404; on a record: it went away
    ├── BadRequest                  400 and every other 4xx, with the API's own words
    ├── ServerError               5xx, time-outs, resets, cut bodies, after every retry
    │   └── UnresolvedWrite              a write of which nobody knows whether it was carried out
    ├── MalformedResponse             a success that makes no sense: not JSON, not the type expected, a redirect
    ├── DataError                   records that cannot be loaded truthfully
    │   ├── ColumnCollision         two names that fold to one column
    │   └── Unsorted                a list that keeps changing its order
    └── Stop                        exit 3: a clean stop, what was read is kept; run again later
        ├── QuotaExhausted              the day's calls are used up
        └── BudgetExhausted             `max_calls` is reached, or only `quota_reserve` is left

Messages carry the URL path, never the query, the headers or the key.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

_SECRETS = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|(?<=//)[^/@\s]*@")


class InsightlyError(Exception):
    """Everything this package raises on purpose.

    `exit_code` is the command's; `transient` says that the same run may do better a little later.
    """

    exit_code: ClassVar[int] = 1
    transient: ClassVar[bool] = False


class ConfigurationError(InsightlyError):
    """A setting that must change before a run can work.

    Args:
        setting: its full name, as `sources.insightly.pod`.
        value: what was found there (never a secret), or "" for nothing.
        fix: what would be right, or what to do, as a clause.
    """

    exit_code = 2

    def __init__(self, setting: str, value: object = "", fix: str = "") -> None:
        super().__init__(setting, value, fix)
        self.setting, self.value, self.fix = setting, value, fix

    def __str__(self) -> str:
        seen = "is not set" if self.value in ("", None) else f"is {self.value!r}"
        return f"{self.setting} {seen}: {self.fix}" if self.fix else f"{self.setting} {seen}"


class MissingKey(ConfigurationError):
    """No API key, and something has to be sent."""


class RefusedHost(ConfigurationError):
    """The address is not `api.<pod>.insightly.com`, or an override of it is not safe to send a key to."""


class BadSetting(ConfigurationError):
    """A value of the wrong type or outside its range."""


class WrongAccount(ConfigurationError):
    """The destination, or its state, belongs to another Insightly account."""


class ApiError(InsightlyError):
    """An answer that is no use, and where it came from.

    Args:
        message: the whole sentence to show.
        path: URL path below the base URL.
        status: HTTP status, 0 if there was no answer.
        api_message: the API's own words, scrubbed and shortened, "" if none.
    """

    def __init__(self, message: str, *, path: str = "", status: int = 0, api_message: str = "") -> None:
        super().__init__(message)
        self.path, self.status, self.api_message = path, status, api_message


class BadCredentials(ApiError):
    """401: the key is wrong, or of another pod (API.md 1.1). Every later request would be refused as well."""


class NotAvailable(ApiError):
    """403 or 404 on a collection: not available to this user or plan (API.md 1.1). `status` tells which."""


class Forbidden(NotAvailable):
    """403: no permission, or a module that the plan lacks."""


class NotFound(NotAvailable):
    """404: no such record, or an object family that the plan lacks."""


class BadRequest(ApiError):
    """400 or another 4xx: the request is wrong, and would be again."""


class ServerError(ApiError):
    """No usable answer after every retry; the next run may do better."""

    transient = True


class UnresolvedWrite(ServerError):
    """A write without a usable answer: it may have been carried out, so it must not be sent again blindly."""


class MalformedResponse(ApiError):
    """A success whose body is not what the path promises; taking it for "no rows" would lose records."""

    transient = True


class DataError(InsightlyError):
    """Records that cannot be loaded without telling an untruth."""


class ColumnCollision(DataError):
    """Two field names fold to one column name; the message has both."""


class Unsorted(DataError):
    """A list that is not in id order and did not hold still long enough to be read whole."""

    transient = True


class Stop(InsightlyError):
    """A clean stop: load what was read, keep the place, and go on in a later run."""

    exit_code = 3


class QuotaExhausted(Stop):
    """The day's allowance is used up (API.md 3); nothing succeeds until the next period."""


class BudgetExhausted(Stop):
    """This run may not send more: `max_calls` is reached or only `quota_reserve` is left."""


@dataclass(eq=False)
class Retry(Exception):
    """An attempt failed in a way that the next may not; `verdict` is what to raise if there is no next.

    `unsent` is True where the request certainly did not reach the service.
    """

    kind: str
    verdict: InsightlyError
    after: float | None = None
    unsent: bool = False


def error_for_status(status: int, section: str) -> tuple[type[ApiError], str]:
    """The error, and a hint, for a status that is neither a success nor worth another try (API.md 1.1).

    `section` is where the account's settings are.
    """
    kinds: dict[int, tuple[type[ApiError], str]] = {
        401: (BadCredentials, f"check {section}.api_key, and that {section}.pod is that key's pod"),
        403: (Forbidden, "not available to this user or plan"),
        404: (NotFound, "no such record, or not in this plan"),
    }
    other = (BadRequest, "") if status >= 400 else (MalformedResponse, "redirects are not followed; check the base URL")
    return kinds.get(status, other)


def redact(value: object) -> str:
    """`value` for a message: shortened, without what looks like a key or a password in a URL."""
    text = _SECRETS.sub("***", value if isinstance(value, str) else repr(value))
    return text if len(text) <= 80 else f"{text[:79]}…"


def root_cause(error: BaseException) -> BaseException:
    """The exception that says something: HTTP libraries wrap it in up to four of their own."""
    inner = getattr(error, "reason", None) or next((arg for arg in reversed(error.args) if arg), None)
    return root_cause(inner) if isinstance(inner, BaseException) else error
