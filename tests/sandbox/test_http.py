"""Authorization, headers, compression and the log, over real sockets."""

import base64
import gzip
import http.client
import socket
import time
from contextlib import closing
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
import requests

from pipelines.sandbox import Fault, Sandbox
from tests.support.crm import OPEN
from tests.support.requests_to_sandbox import send


def test_key_is_accepted_in_both_forms_and_others_refused(read_only):
    for text, status in ((read_only.key, 200), (f"{read_only.key}:", 200), (f"{read_only.key}:x", 200), ("other", 401)):
        header = {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}
        assert requests.get(f"{read_only.url}/Instance", headers=header, timeout=10).status_code == status
    bare = requests.get(f"{read_only.url}/Instance", timeout=10)
    assert (bare.status_code, bare.json()) == (401, {"Message": "Authorization has been denied for this request."})
    assert requests.get(read_only.url.replace("v3.1", "v2.1") + "/Instance", timeout=10).status_code == 404


def test_every_response_has_rate_and_date_headers(sandbox):
    sandbox.switches = replace(OPEN, quota=1_000, clock_skew_seconds=90)
    good, bad = send(sandbox, "Contacts"), send(sandbox, "Contacts/1")
    assert [response.headers["X-RateLimit-Remaining"] for response in (good, bad)] == ["999", "998"]
    assert good.headers["X-RateLimit-Limit"] == "1000"
    assert good.headers["Date"] == "Mon, 02 Nov 2026 12:01:30 GMT"
    sandbox.switches = replace(OPEN, date_header=False)
    assert "Date" not in send(sandbox, "Contacts").headers


def test_large_bodies_alone_are_compressed(read_only):
    def raw(path: str, **headers: str) -> tuple[str | None, bytes]:
        token = base64.b64encode(f"{read_only.key}:".encode()).decode()
        connection = http.client.HTTPConnection(urlsplit(read_only.url).netloc, timeout=10)
        with closing(connection):
            connection.request("GET", f"/v3.1/{path}", headers={"Authorization": f"Basic {token}", **headers})
            response = connection.getresponse()
            return response.headers["Content-Encoding"], response.read()

    (coding, packed), (none, plain) = raw("Contacts", **{"Accept-Encoding": "gzip"}), raw("Contacts")
    assert (coding, none) == ("gzip", None)
    assert gzip.decompress(packed) == plain
    assert raw("Instance", **{"Accept-Encoding": "gzip"})[0] is None


def test_log_has_every_call_and_no_key(sandbox):
    send(sandbox, "Contacts/Search", params={"top": 5})
    send(sandbox, "Leads", auth=("wrong", ""))
    assert [(call.method, call.path, call.query, call.status) for call in sandbox.log] == [
        ("GET", "/Contacts/Search", {"top": "5"}, 200),
        ("GET", "/Leads", {}, 401),
    ]
    assert (sandbox.calls(), sandbox.calls("contacts"), sandbox.calls("/Contacts/Search")) == (2, 1, 1)
    assert sandbox.key not in repr(sandbox.log)
    sandbox.reset_log()
    assert sandbox.calls() == 0


def test_evolve_route_is_outside_the_api(sandbox):
    root = sandbox.url.removesuffix("/v3.1")
    assert requests.post(f"{root}/_sandbox/evolve", timeout=10).status_code == 401
    response = requests.post(f"{root}/_sandbox/evolve?seed=2&steps=4", auth=(sandbox.key, ""), timeout=10)
    assert len(response.json()["done"]) == 4
    assert sandbox.calls() == 0


def test_port_is_closed_afterwards(contents):
    with Sandbox(contents=contents) as sandbox:
        address = urlsplit(sandbox.url)
    with (
        pytest.raises(ConnectionRefusedError),
        socket.create_connection((address.hostname or "", address.port or 0), timeout=2),
    ):
        pass


def test_error_styles_and_unlisted_converted_leads(sandbox):
    converted = sum(row["CONVERTED"] for row in sandbox.store.rows("leads"))
    sandbox.switches = replace(OPEN, error_style="text", converted_leads_listed=False)
    response = send(sandbox, "Contacts/1")
    assert response.headers["Content-Type"].startswith("text/plain")
    assert "not found" in response.text
    total = send(sandbox, "Leads", params={"count_total": "true"}).headers["X-Total-Count"]
    assert int(total) == sandbox.store.count("leads") - converted
    sandbox.switches = replace(OPEN, error_style="html")
    sandbox.faults.add(Fault("500"))
    assert send(sandbox, "Contacts").text.startswith("<!DOCTYPE html>")
    assert send(sandbox, "Contacts/1").json()["Message"]


def test_latency_delays_every_response(sandbox):
    sandbox.switches = replace(OPEN, latency=0.05)
    began = time.monotonic()
    send(sandbox, "Instance")
    assert time.monotonic() - began >= 0.05
