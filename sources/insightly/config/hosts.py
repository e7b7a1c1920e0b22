"""Where a key may go: Insightly's own hosts, or an address that was asked for and is safe to send a key to."""

import ipaddress
import re
from urllib.parse import urlsplit

from ..errors import RefusedHost, redact

# What people paste: the pod, the API's URL, or the web application's (https://crm.na1.insightly.com/...). Only the pod
# is taken from it and the URL is built anew, so nothing else in the text can change the host.
_POD = r"([a-z]{2,4}[0-9]{1,2})"
_PASTED = re.compile(rf"(?:https://)?(?:api|crm)\.{_POD}\.insightly\.com(?:/[!-\[\]-~]*)?|{_POD}")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")


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
        raise RefusedHost("sources.insightly.pod", redact(pod), fix)
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
    refused = RefusedHost("sources.insightly.base_url", redact(text), fix)
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
