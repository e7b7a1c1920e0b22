"""The settings that concern reading, resolved by dlt from the section `sources.insightly` and checked here."""

import ipaddress
import re
from typing import Any, ClassVar
from urllib.parse import urlsplit

from dlt.common.configuration import configspec, resolve_configuration
from dlt.common.configuration.const import TYPE_EXAMPLES
from dlt.common.configuration.exceptions import (
    ConfigurationException,
    ConfigValueCannotBeCoercedException,
    ValueNotSecretException,
)
from dlt.common.configuration.specs import BaseConfiguration
from dlt.common.normalizers.naming.snake_case import NamingConvention
from dlt.common.typing import TSecretStrValue

from .errors import BadSetting, MissingKey, RefusedHost, shown
from .privacy import KEY_PLACE as HASH_KEY_PLACE
from .privacy import Privacy
from .values import bad, moment, names, number, whole

KEY_PLACE = (
    "set SOURCES__INSIGHTLY__API_KEY in the environment, or api_key under [sources.insightly] in .dlt/secrets.toml; "
    "Insightly shows the key in User Settings > API"
)
SECRETS = {"api_key": KEY_PLACE, "hash_key": HASH_KEY_PLACE}
# What people paste: the pod, the API's URL, or the web application's (https://crm.na1.insightly.com/...). Only the pod
# is taken from it and the URL is built anew, so nothing else in the text can change the host.
_POD = r"([a-z]{2,4}[0-9]{1,2})"
_PASTED = re.compile(rf"(?:https://)?(?:api|crm)\.{_POD}\.insightly\.com(?:/[!-\[\]-~]*)?|{_POD}")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")


@configspec
class InsightlySettings(BaseConfiguration):
    """What a run reads, how fast, and what it may cost; the table of settings in the README explains each.

    Valid from the moment it is resolved: lists are lists, numbers are in range. Resolving needs no key, so that a
    scheduler can build the source without a secret; `require_key` is for the moment before the first request.

    Raises:
        BadSetting, RefusedHost: on resolving, with the setting's full name, the value seen and what is accepted.
    """

    # With a section of its own dlt looks no further up than [insightly]; without, a stray BASE_URL or POD in the
    # environment would decide where the key is sent.
    __section__: ClassVar[str] = "insightly"

    api_key: TSecretStrValue | None = None
    pod: str = "na1"
    base_url: str | None = None
    entities: Any = "all"
    start_date: Any | None = None
    lookback_seconds: int = 300
    page_size: int = 500
    requests_per_second: float = 10.0
    max_connections: int = 8
    chunk_calls: int = 50
    max_calls: int | None = None
    quota_reserve: int = 0
    tags: str = "auto"
    deletions: str = "mark"
    max_deleted_share: float = 0.2
    full_every: float | None = None
    history: Any | None = None
    hash: Any | None = None
    drop: Any | None = None
    hash_key: TSecretStrValue | None = None

    def on_resolved(self) -> None:
        self.url  # noqa: B018  raises RefusedHost
        self.api_key = _key(self.api_key)
        self.entities = names("entities", self.entities) or ["all"]
        self.start_date = moment("start_date", self.start_date)
        self.lookback_seconds = whole("lookback_seconds", self.lookback_seconds, 1, 31 * 86_400)
        self.page_size = whole("page_size", self.page_size, 1, 500)
        self.requests_per_second = number("requests_per_second", self.requests_per_second, 0, 10_000, above=True)
        self.max_connections = whole("max_connections", self.max_connections, 1, 64)
        self.chunk_calls = whole("chunk_calls", self.chunk_calls, 1)
        self.max_calls = None if self.max_calls is None else whole("max_calls", self.max_calls, 0)
        self.quota_reserve = whole("quota_reserve", self.quota_reserve, 0)
        for name, accepted in (("tags", ("auto", "endpoint", "embedded", "off")), ("deletions", ("mark", "remove"))):
            if self[name] not in accepted:
                raise bad(name, self[name], f"one of {', '.join(accepted)}")
        self.max_deleted_share = number("max_deleted_share", self.max_deleted_share, 0, 1)
        days = self.full_every
        self.full_every = None if days is None else number("full_every", days, 0, 36_500, above=True)
        self.history, self.hash, self.drop = (names(name, self[name]) for name in ("history", "hash", "drop"))
        if self.history:
            raise bad("history", self.history, "left out: this release cannot do it yet")
        self.hash_key = _secret(self.hash_key)
        self.privacy  # noqa: B018  raises BadSetting

    @property
    def url(self) -> str:
        """The API's base URL, without a slash at its end."""
        return base_url(self.pod, self.base_url)

    @property
    def privacy(self) -> Privacy:
        """What is done to columns before they are written anywhere."""
        return Privacy.parse(self.hash or (), self.drop or (), NamingConvention().normalize_path, self.hash_key)

    @property
    def start_date_iso(self) -> str | None:
        """`start_date` as the API takes it: UTC, whole seconds (rounded down), `2025-01-31T00:00:00Z`."""
        return self.start_date.strftime("%Y-%m-%dT%H:%M:%SZ") if self.start_date else None

    def require_key(self) -> str:
        """The API key.

        Raises:
            MissingKey: there is none; says where to put it and where Insightly shows it.
        """
        if not self.api_key:
            raise MissingKey("sources.insightly.api_key", "", KEY_PLACE)
        return self.api_key

    def __repr__(self) -> str:
        parts = (f"{name}={'***' if name in SECRETS and value else value!r}" for name, value in self.items())
        return f"InsightlySettings({', '.join(parts)})"

    __str__ = __repr__


def resolve_settings(**overrides: Any) -> InsightlySettings:
    """The settings: `overrides` (None means not given), then dlt's providers, then the defaults.

    Raises:
        BadSetting, RefusedHost: a value is unknown, of another type, or outside its range.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    settings = InsightlySettings()
    for name in given:
        if name not in settings:
            raise BadSetting(f"sources.insightly.{name}", shown(given[name]), f"known are {', '.join(settings)}")
    try:
        return resolve_configuration(settings, sections=("sources",), explicit_value=given)
    except ConfigValueCannotBeCoercedException as error:
        kind = {int: "a whole number", float: "a number", str: "a text"}.get(error.hint, "another type")
        name, value = error.field_name, error.field_value
        wrong = bad(name, "***" if name in SECRETS else value, kind)
    except ValueNotSecretException as error:
        name = next((name for name in SECRETS if name in error.key), "api_key")
        wrong = BadSetting(f"sources.insightly.{name}", "in a file that holds no secrets", f"move it: {SECRETS[name]}")
    except ConfigurationException as error:
        wrong = BadSetting("sources.insightly", type(error).__name__, shown(str(error)))
    raise wrong


def base_url(pod: str, override: str | None = None) -> str:
    """The API's base URL without a slash at its end: `https://api.<pod>.insightly.com/v3.1` (API.md 1), or `override`.

    Args:
        pod: `na1`, `eu1`, ... or a pasted address of Insightly's API or web application, in any case.
        override: another base URL; https, or http to this machine itself.

    Raises:
        RefusedHost: the address is not Insightly's, or the override is no plain URL to a host.
    """
    if override is not None and override != "":
        return _override(override)
    text = pod.strip(" \t\r\n").lower() if isinstance(pod, str) and pod.isascii() else ""
    match = _PASTED.fullmatch(text)
    if match is None:
        fix = "must be na1, eu1, ... or https://api.<pod>.insightly.com/v3.1; Insightly shows it below the API key"
        raise RefusedHost("sources.insightly.pod", shown(pod), fix)
    return f"https://api.{match[1] or match[2]}.insightly.com/v3.1"


def is_loopback(url: str) -> bool:
    """Whether `url` leads to this machine: localhost, 127.0.0.0/8 or ::1, spelt out."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _override(text: str) -> str:
    fix = "must be https://host[:port][/path], or http to 127.0.0.1, ::1 or localhost; nothing else may be in it"
    refused = RefusedHost("sources.insightly.base_url", shown(text), fix)
    # The strict alphabet comes first: parsers disagree about blanks, backslashes and user names, and so do attackers.
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9:/\[\]._~-]+", text):
        raise refused
    try:
        parts = urlsplit(text)
        host = parts.netloc.lower().removesuffix(f":{parts.port}")
    except ValueError:
        raise refused from None
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(text))
    if not safe or not _HOST.fullmatch(host) or ".." in text:
        raise refused
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def _key(value: object) -> str | None:
    text = _secret(value)
    if text is not None and not re.fullmatch(r"[!-9;-~]+", text):
        raise BadSetting("sources.insightly.api_key", "***", "a key is ASCII without spaces or colons; copy it again")
    return text


def _secret(value: object) -> str | None:
    text = str(value).strip() if value is not None else ""
    return None if text in TYPE_EXAMPLES.values() else text or None
