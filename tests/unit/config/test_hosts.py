"""The hosts that a key may be sent to."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.insightly.config.hosts import base_url, is_loopback
from sources.insightly.errors import RefusedHost


@pytest.mark.parametrize(
    ("pasted", "pod"),
    [
        ("na1", "na1"),
        (" EU1\n", "eu1"),
        ("aps1", "aps1"),
        ("https://api.na1.insightly.com/v3.1", "na1"),
        ("https://api.na1.insightly.com/v3.1/", "na1"),
        ("HTTPS://API.NA1.INSIGHTLY.COM", "na1"),
        ("api.au1.insightly.com", "au1"),
        ("https://crm.na2.insightly.com/list/Contact/?id=1#@x", "na2"),
    ],
)
def test_base_url_accepts_a_pasted_address(pasted, pod):
    assert base_url(pasted) == f"https://api.{pod}.insightly.com/v3.1"


TRICKS = [
    "",
    "1",
    "na",
    "na1.insightly.com",
    "api.na1",
    "https://api.insightly.com/v3.1",
    "http://api.na1.insightly.com/v3.1",
    "https://api.na1.insightly.com@evil.com",
    "https://na1@api.na1.insightly.com",
    "api.na1.insightly.com.evil.com",
    "https://api.na1.insightly.com:443/v3.1",
    "https://evil.com/api.na1.insightly.com",
    "https://evil.com\\api.na1.insightly.com",
    "https://api.na1.insightly.com\\@evil.com",
    "https://api.na1.insightly.com/v3.1\nna1",
    "na1\nevil",
    "na1 eu1",
    "ña1",
    "nа1",  # a Cyrillic letter
    "na１",  # a full-width digit
    "https://api.na1.insightly。com",
    "ſa1",
    "//api.na1.insightly.com",
    None,
    1,
]


@pytest.mark.parametrize("pod", TRICKS)
def test_base_url_rejects_any_other_host(pod):
    with pytest.raises(RefusedHost, match=r"^sources\.insightly\.pod is.*must be na1"):
        base_url(pod)


hostile = st.lists(
    st.sampled_from(
        [
            *("https://", "http://", "api.", "crm.", "na1", "EU2", ".insightly.com", "evil.com", "127.0.0.1", "[::1]"),
            *(
                "@",
                ":",
                "443",
                "/",
                "\\",
                "v3.1",
                "#",
                "?",
                "%40",
                "。",
                "K",
                "..",
                " ",
                "\t",
                "\n",
                "\x00",
                "localhost",
            ),
        ]
    ),
    max_size=9,
).map("".join) | st.text(max_size=40)


@given(hostile)
def test_every_accepted_pod_leads_to_insightly(pod):
    try:
        url = base_url(pod)
    except RefusedHost:
        return
    parts = urlsplit(url)
    first, middle, rest = parts.netloc.split(".", 2)
    assert (parts.scheme, first, rest, parts.path) == ("https", "api", "insightly.com", "/v3.1")
    assert middle.isascii()
    assert middle.isalnum()
    assert middle in pod.lower()


@given(hostile)
def test_every_accepted_override_is_https_or_loopback(override):
    try:
        url = base_url("na1", override)
    except RefusedHost:
        return
    parts = urlsplit(url)
    assert parts.scheme == "https" or (parts.scheme == "http" and is_loopback(url))
    assert not parts.username
    assert not url.endswith("/")
    if override:
        assert parts.hostname == urlsplit(override).hostname


@pytest.mark.parametrize(
    ("override", "url"),
    [
        ("http://127.0.0.1:8080/v3.1/", "http://127.0.0.1:8080/v3.1"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://[::1]:99/v3.1", "http://[::1]:99/v3.1"),
        ("http://localhost:1", "http://localhost:1"),
        ("https://Gateway.corp:8443/Insightly/v3.1", "https://gateway.corp:8443/Insightly/v3.1"),
    ],
)
def test_override_replaces_the_pod(override, url):
    assert base_url("ignored", override) == url


@pytest.mark.parametrize(
    "override",
    [
        *(
            "http://example.com",
            "http://127.0.0.1.evil.com",
            "http://127.1",
            "http://localhost.evil.com",
            "http://0.0.0.0",
        ),
        *("https://user:word@host", "https://", "https://h:99999", "https://h:", "https://h/?a=b", "https://h/#x", "h"),
        *("https://h\\@evil", "https://h/../x", "https://é.com", "ftp://127.0.0.1", " "),
    ],
)
def test_unsafe_override_is_an_error(override):
    with pytest.raises(RefusedHost) as caught:
        base_url("na1", override)
    assert "word" not in str(caught.value)
