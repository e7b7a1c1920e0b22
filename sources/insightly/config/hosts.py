"""Where a key may be sent: to Insightly's own hosts, or to a `base_url` that is safe."""

import ipaddress
import re
from urllib.parse import urlsplit

from ..errors import RefusedHost, redact

# People paste the pod, the URL of the API, or the URL of the web application (https://crm.na1.insightly.com/...). Only
# the pod of the text is used, so nothing else in it can change the host.
_POD = r"([a-z]{2,4}[0-9]{1,2})"
_PASTED = re.compile(rf"(?:https://)?(?:api|crm)\.{_POD}\.insightly\.com(?:/[!-\[\]-~]*)?|{_POD}")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")


def base_url(pod: str, override: str | None = None) -> str:
    """The API's base URL without a final slash: `https://api.<pod>.insightly.com/v3.1` (api.md 1), or `override`.

    Args:
        pod: `na1`, `eu1`, ... or a pasted URL of Insightly's API or web application, in any case.
        override: another base URL: https, or http to this machine.

    Raises:
        RefusedHost: the pod is not Insightly's, or the override is not a plain URL.
    """
    if override is not None and override != "":
        return _override(override)
    text = pod.strip(" \t\r\n").lower() if isinstance(pod, str) and pod.isascii() else ""
    match = _PASTED.fullmatch(text)
    if match is None:
        fix = "must be na1, eu1, ... or https://api.<pod>.insightly.com/v3.1; Insightly shows it below the API key"
        raise RefusedHost("sources.insightly.pod", redact(pod), fix)
    return f"https://api.{match[1] or match[2]}.insightly.com/v3.1"


def record_url(api: str, kind: str) -> str | None:
    """The URL of records in Insightly's web application, up to the record's id; None if the API is not Insightly's own.

    Nothing documents it; it is the URL in the address bar, and programs of others build it the same way.

    Args:
        api: the base URL of the API.
        kind: `Opportunity`, `Contact`, ...
    """
    match = re.fullmatch(rf"https://api\.{_POD}\.insightly\.com/.*", api)
    return None if match is None else f"https://crm.{match[1]}.insightly.com/details/{kind}/"


def is_loopback(url: str) -> bool:
    """Whether the host of `url` is localhost, in 127.0.0.0/8, or ::1."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _override(text: str) -> str:
    fix = "must be https://host[:port][/path], or http to 127.0.0.1, ::1 or localhost, and nothing else"
    refused = RefusedHost("sources.insightly.base_url", redact(text), fix)
    # Check the characters first: parsers disagree about blanks, backslashes and user names, and attackers use that.
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
