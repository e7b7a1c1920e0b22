"""The settings of the section `sources.insightly`: dlt resolves them, and this module checks them."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from dlt.common.configuration import configspec, resolve_configuration
from dlt.common.configuration.const import TYPE_EXAMPLES
from dlt.common.configuration.exceptions import (
    ConfigurationException,
    ConfigValueCannotBeCoercedException,
    ValueNotSecretException,
)
from dlt.common.configuration.specs import BaseConfiguration
from dlt.common.configuration.specs.base_configuration import NotResolved
from dlt.common.normalizers.naming.snake_case import NamingConvention
from dlt.common.typing import TSecretStrValue

from ..errors import BadSetting, ConfigurationError, MissingKey, UnknownSetting, redact
from ..rows.masking import Privacy
from ..selection import select_history
from ..state.times import iso
from .accounts import DEFAULT, INSTANCES, KEY_SHOWN, account_settings, misplaced_secret, section_of, where_to_set
from .hosts import base_url
from .providers import SOURCE, advice, refuse_misspelt_sections, refuse_unknown_settings
from .validators import bad, integer, names, number, parse_datetime

RATE_MARGIN = 1.015
"""At exactly 10 requests per second, one early arrival puts 11 of them into a second. With 1.5 % more space, ten
intervals take 1.015 s, so a request may arrive 10 ms early (and the rate limiter's `SLACK` late) without a 429."""
SECRETS = ("api_key", "hash_key")
QUOTES = "\"'`\u2018\u2019\u201c\u201d"


@configspec
class InsightlySettings(BaseConfiguration):
    """What a run reads, how fast, and how many calls it may make; the README has a table of the settings.

    `instance` is the name of the account, None for the account of `[sources.insightly]`.

    Resolved settings are valid: lists are lists, numbers are in range. Resolving needs no key, so that a scheduler can
    build the source without a secret. `require_key` comes before the first request.

    Raises:
        BadSetting, RefusedHost: on resolving; with the setting's full name, the value seen and what is accepted.
    """

    # With this section dlt looks no further up than [insightly]. Without it, an unrelated BASE_URL or POD in the
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
    chunk_calls: int | None = None
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
    instance: Annotated[str | None, NotResolved()] = None

    def on_resolved(self) -> None:
        self.url  # noqa: B018  raises RefusedHost
        self.api_key = _key(self.api_key)
        self.entities = names("entities", self.entities) or ["all"]
        self.start_date = parse_datetime("start_date", self.start_date)
        self.lookback_seconds = integer("lookback_seconds", self.lookback_seconds, 1, 31 * 86_400)
        self.page_size = integer("page_size", self.page_size, 1, 500)
        self.requests_per_second = number("requests_per_second", self.requests_per_second, 0, 10_000, above=True)
        self.max_connections = integer("max_connections", self.max_connections, 1, 64)
        self.chunk_calls = None if self.chunk_calls is None else integer("chunk_calls", self.chunk_calls, 1)
        self.max_calls = None if self.max_calls is None else integer("max_calls", self.max_calls, 0)
        self.quota_reserve = integer("quota_reserve", self.quota_reserve, 0)
        for name, accepted in (("tags", ("auto", "endpoint", "embedded", "off")), ("deletions", ("mark", "remove"))):
            if self[name] not in accepted:
                raise bad(name, self[name], f"one of {', '.join(accepted)}")
        self.max_deleted_share = number("max_deleted_share", self.max_deleted_share, 0, 1)
        days = self.full_every
        self.full_every = None if days is None else number("full_every", days, 0, 36_500, above=True)
        self.history, self.hash, self.drop = (names(name, self[name]) for name in ("history", "hash", "drop"))
        self.history = select_history(self.history)
        self.hash_key = _secret(self.hash_key)
        self.privacy  # noqa: B018  raises BadSetting

    @property
    def url(self) -> str:
        """The API's base URL, without a final slash."""
        return base_url(self.pod, self.base_url)

    @property
    def section(self) -> str:
        """The section of the account's settings."""
        return section_of(self.instance)

    @property
    def privacy(self) -> Privacy:
        """Which columns are hashed or left out before a record is written anywhere."""
        return Privacy.parse(self.hash or (), self.drop or (), NamingConvention().normalize_path, self.hash_key)

    @property
    def start_date_iso(self) -> str | None:
        """`start_date` in the format of the API: UTC, rounded down to a second, `2025-01-31T00:00:00Z`."""
        return iso(self.start_date) if self.start_date else None

    def seconds_for(self, calls: int) -> float:
        """The least seconds that this many calls take at `requests_per_second`, rounded to tenths."""
        return round(calls * RATE_MARGIN / self.requests_per_second, 1)

    def require_key(self) -> str:
        """The API key.

        Raises:
            MissingKey: there is none; says where to set it and where Insightly shows it.
        """
        if not self.api_key:
            raise MissingKey(f"{self.section}.api_key", "", f"{where_to_set('api_key', self.instance)}; {KEY_SHOWN}")
        return self.api_key

    def __repr__(self) -> str:
        parts = (f"{name}={'***' if name in SECRETS and value else value!r}" for name, value in self.items())
        return f"InsightlySettings({', '.join(parts)})"

    __str__ = __repr__


def resolve_settings(instance: str | None = None, **overrides: Any) -> InsightlySettings:
    """The settings of an account: `overrides` (None: no override), then dlt's providers, then the defaults.

    Args:
        instance: an account of `[sources.insightly.instances]`. It inherits from `[sources.insightly]` what its own
            section does not set, except the key and the address. None or `default`: the account of that section.
        overrides: settings by name.

    Raises:
        BadSetting, RefusedHost: a setting is unknown, or its value is of the wrong type or out of range.
    """
    refuse_unknown_settings((*_known(), INSTANCES), *SOURCE)
    refuse_misspelt_sections(_known())
    chosen = {name: value for name, value in overrides.items() if value is not None}
    for name in chosen:
        if name not in _known():
            raise UnknownSetting(f"sources.insightly.{name}", "", advice(name, _known()))
    if instance in (None, DEFAULT):
        return _resolved(chosen)
    values = _with_shared(instance, _resolved({}), {**account_settings(instance, _known()), **chosen})
    try:
        return _resolved(values)
    except ConfigurationError as error:
        wrong = error
    # The shared settings are valid by themselves, so the value is in the account's own section.
    raise type(wrong)(wrong.setting.replace(section_of(None), section_of(instance)), wrong.value, wrong.fix)


def _known() -> Mapping[str, Any]:
    return {name: hint for name, hint in InsightlySettings.get_resolvable_fields().items() if name != "instance"}


def _resolved(values: Mapping[str, Any]) -> InsightlySettings:
    """The settings resolved by dlt, with `values` first.

    dlt's errors contain the value, so BadSetting is raised outside of `except`, without them as its context.
    """
    try:
        return resolve_configuration(InsightlySettings(), sections=("sources",), explicit_value=values)
    except ConfigValueCannotBeCoercedException as error:
        kind = {int: "a whole number", float: "a number", str: "a text"}.get(error.hint, "of another type")
        name, value = error.field_name, error.field_value
        wrong = bad(name, "***" if name in SECRETS else value, kind)
    except ValueNotSecretException as error:
        name = next((name for name in SECRETS if name in error.key), "api_key")
        wrong = misplaced_secret(name)
    except ConfigurationException as error:
        wrong = BadSetting("sources.insightly", type(error).__name__, redact(str(error)))
    raise wrong


def _with_shared(account: str, shared: InsightlySettings, own: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an account: its own, then those of `[sources.insightly]`.

    The key is never inherited. An address is inherited unless the shared settings have a key too: then it belongs to
    that key.

    Raises:
        BadSetting: the account has no address of its own, and that of `[sources.insightly]` belongs to another account.
    """
    address: dict[str, Any] = {"pod": InsightlySettings.pod, "base_url": None}
    if not own.get("pod") and not own.get("base_url"):
        if shared.api_key and shared.url != base_url(InsightlySettings.pod):
            fix = f"{shared.url} is the address of another account; {where_to_set('pod', account, 'config.toml')}"
            raise BadSetting(f"{section_of(account)}.pod", "", fix)
        address = {"pod": shared.pod, "base_url": shared.base_url}
    return {**shared, "api_key": None, **address, **own, "instance": account}


def _key(value: object) -> str | None:
    text = _secret(value)
    if text is not None and {text[0], text[-1]} & {*QUOTES}:
        raise BadSetting("sources.insightly.api_key", "***", f"the key is in quotes; remove them. {KEY_SHOWN}")
    if text is not None and not re.fullmatch(r"[!-9;-~]+", text):
        raise BadSetting(
            "sources.insightly.api_key",
            "***",
            f"a key has only ASCII characters, without spaces or colons; copy it again. {KEY_SHOWN}",
        )
    return text


def _secret(value: object) -> str | None:
    text = str(value).strip() if value is not None else ""
    return None if text in TYPE_EXAMPLES.values() else text or None
