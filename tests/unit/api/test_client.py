"""The client against a server on loopback that sends canned responses; no test sleeps."""

import base64
import contextlib
import gzip
import json
import logging
import socket
import ssl
import struct
import threading
import time
import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from urllib3.exceptions import NewConnectionError

from sources.insightly.api.client import Client
from sources.insightly.api.messages import Request
from sources.insightly.api.quota import CallBudget
from sources.insightly.api.rate_limit import RateLimiter
from sources.insightly.config.settings import resolve_settings
from sources.insightly.errors import (
    BadCredentials,
    BadRequest,
    BudgetExhausted,
    Forbidden,
    InsightlyError,
    MalformedResponse,
    MissingKey,
    NotAvailable,
    NotFound,
    QuotaExhausted,
    ServerError,
    UnresolvedWrite,
)

KEY = "0a1b2c3d-1111-2222-3333-444455556666"
BASIC = base64.b64encode(f"{KEY}:".encode()).decode()
FORMS = (KEY, KEY.upper(), BASIC, BASIC.rstrip("="), base64.b64encode(KEY.encode()).decode())


@dataclass
class Reply:
    """One canned response; `how` is "complete", "reset", "cut" (the body ends early) or "silent" (no response)."""

    body: bytes = b"[]"
    status: int = 200
    headers: dict = field(default_factory=dict)
    how: str = "complete"


class Script(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self):
        self.replies, self.seen, self.sockets = [], [], []
        self.lock, self.over = threading.Lock(), threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    def get_request(self):
        self.sockets.append(super().get_request())
        return self.sockets[-1]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5
    wbufsize = -1  # one packet per response: a second would wait until the first is acknowledged

    def do_GET(self):
        server = self.server
        with server.lock:
            server.seen.append((self.path, dict(self.headers)))
            reply = server.replies.pop(0) if len(server.replies) > 1 else server.replies[0]
        if reply.how == "silent":
            server.over.wait(5)
        if reply.how in ("reset", "silent"):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        self.send_response_only(reply.status, reply.headers.get("reason"))
        headers = {"Content-Length": str(len(reply.body) + (50 if reply.how == "cut" else 0)), **reply.headers}
        for name, value in headers.items():
            if name != "reason" and value is not None:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)
        self.wfile.flush()
        self.close_connection = reply.how == "cut"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    do_PUT = do_DELETE = do_POST

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    script = Script()
    thread = threading.Thread(target=script.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield script
    script.over.set()
    script.shutdown()
    thread.join()
    for connection, _ in script.sockets:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
    script.server_close()


class Fast:
    """A clock and its sleep: a sleep ends at once and is recorded."""

    def __init__(self):
        self.now, self.slept, self.lock = 0.0, [], threading.Lock()

    def clock(self):
        return self.now

    def sleep(self, seconds):
        with self.lock:
            self.now += seconds
            self.slept.append(seconds)

    @property
    def waits(self):
        """All sleeps except those of the rate limiter's spacing."""
        return [pause for pause in self.slept if pause > 0.011]


@pytest.fixture
def make(server):
    clients = []

    def build(*replies, **options):
        server.replies = [reply if isinstance(reply, Reply) else Reply(reply) for reply in replies]
        fast = Fast()
        timeout = options.pop("timeout", (5.0, 5.0))
        url = f"http://127.0.0.1:{server.server_address[1]}/v3.1"
        settings = resolve_settings(**{"api_key": KEY, "base_url": url, **options})
        budget = CallBudget(settings.max_calls, settings.quota_reserve)
        client = Client(settings, budget, RateLimiter(100, fast.clock, fast.sleep), sleep=fast.sleep, timeout=timeout)
        client.fast = fast
        clients.append(client)
        return client

    yield build
    for client in clients:
        client.close()


def limited(remaining=None, after=None):
    headers = {"X-RateLimit-Remaining": remaining, "Retry-After": after}
    return Reply(b"", 429, {name: str(value) for name, value in headers.items() if value is not None})


def test_get_list_returns_rows_and_total(server, make):
    client = make(Reply(b'[{"A": 1}]', headers={"X-Total-Count": "41", "X-RateLimit-Remaining": "99"}))
    rows, response = client.get_list("/Contacts", {"top": 500, "updated_after_utc": "2025-01-31T00:00:00Z"}, label="c")
    assert rows == [{"A": 1}]
    assert (response.status, response.total, response.body) == (200, 41, b'[{"A": 1}]')
    assert (client.budget.calls, client.budget.remaining, client.budget.by_label) == (1, 99, {"c": 1})
    path, headers = server.seen[0]
    assert path == "/v3.1/Contacts?top=500&updated_after_utc=2025-01-31T00%3A00%3A00Z"
    assert headers["Authorization"] == f"Basic {BASIC}"
    assert headers["Accept-Encoding"] == "gzip"
    assert headers["User-Agent"].startswith("insightly-sync/")


def test_get_object_reads_gzip_and_any_success_status(make):
    client = make(Reply(gzip.compress(b'{"A": "x"}'), 201, {"Content-Encoding": "gzip"}))
    value, response = client.get_object("Instance")
    assert (value, response.body, response.status) == ({"A": "x"}, b'{"A": "x"}', 201)


def test_get_leaves_the_body_unparsed(make):
    assert make(b"no JSON").get("/Contacts").body == b"no JSON"


def test_client_reuses_one_connection(server, make):
    client = make(b"[]")
    for _ in range(5):
        client.get_list("/Contacts")
    assert len(server.sockets) == 1


def test_threads_share_at_most_max_connections(server, make):
    client = make(b"[]", max_connections=3)
    threads = [threading.Thread(target=lambda: [client.get_list("/Leads") for _ in range(5)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert client.budget.calls == len(server.seen) == 40
    assert len(server.sockets) <= 3


def test_response_has_the_time_of_the_request_by_the_services_clock(make):
    client = make(
        Reply(headers={"Date": "Fri, 31 Jan 2025 10:00:00 GMT"}), Reply(headers={"Date": "some day"}), Reply()
    )
    response = client.get("/Contacts")
    date = datetime(2025, 1, 31, 10, tzinfo=UTC)
    assert response.requested_at == date - timedelta(seconds=response.elapsed)
    assert response.requested_at.tzinfo is UTC
    assert 0 < response.elapsed < 5
    assert response.clock_skew == pytest.approx((date - datetime.now(UTC)).total_seconds(), abs=5)
    for _ in range(2):
        response = client.get("/Contacts")
        assert (response.requested_at, response.clock_skew) == (None, None)


@pytest.mark.parametrize(("header", "total"), [("12", 12), ("x", None), ("", None), ("1.5", None)])
def test_total_is_none_if_the_header_is_malformed(make, header, total):
    assert make(Reply(headers={"X-Total-Count": header})).get("/Contacts").total == total


HOUR = 3600


def dated(*hours):
    """Replies whose Date is so many hours ahead of the true time."""
    return [Reply(headers={"Date": formatdate(time.time() + each * HOUR, usegmt=True)}) for each in hours]


@pytest.mark.parametrize(
    ("hours", "behind"),
    [
        ((0, 22), (0, 0)),
        ((22, 0), (0, 0)),
        ((0.05, 0.05), (-180, -180)),  # within the lookback
        ((22, 22, 22), (0, 0, 0)),  # this machine's clock may be wrong: too early is safe
        ((-10, -10, -9, -10), (10 * HOUR, 10 * HOUR, 10 * HOUR, 10 * HOUR)),
        ((-10, -10, 70_000), (10 * HOUR, 10 * HOUR, 10 * HOUR)),
        ((-300_000, 0, 0, 0), (300_000 * HOUR, 300_000 * HOUR, 300_000 * HOUR, 0)),
    ],
)
def test_date_later_than_other_clocks_is_not_believed(make, hours, behind, caplog):
    client = make(*dated(*hours))
    times = [client.get("/Contacts").requested_at for _ in hours]
    assert [time.time() - each.timestamp() for each in times] == [pytest.approx(each, abs=10) for each in behind]
    warned = [record for record in caplog.records if "check this machine's clock" in record.getMessage()]
    assert len(warned) == (hours != (0.05, 0.05))


def test_clock_skew_is_that_of_most_answers(make):
    client = make(*dated(1, 9_999, 1, 1))
    assert client.clock_skew is None
    for _ in range(4):
        client.get("/Contacts")
    assert client.clock_skew == pytest.approx(HOUR, abs=10)


@pytest.mark.parametrize("year", ["0999", "1989"])
def test_date_before_http_is_none(make, year):
    client = make(Reply(headers={"Date": f"Fri, 31 Jan {year} 10:00:00 GMT"}))
    assert client.get("/Contacts").requested_at is None


def test_negative_count_of_calls_left_is_ignored(make):
    client = make(Reply(headers={"X-RateLimit-Remaining": "-1", "X-Total-Count": "-1"}))
    assert client.get("/Contacts").total is None
    client.get("/Contacts")
    assert (client.budget.left(), client.budget.remaining) == (None, None)


FAILURES = [Reply(b"oops", status) for status in (500, 501, 502, 503, 504, 520, 408)]
FAILURES += [Reply(how="reset"), Reply(b'[{"A": 1}, ', how="cut")]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda reply: f"{reply.status}-{reply.how}")
def test_server_error_is_tried_five_times_with_growing_waits(server, make, failure, caplog):
    caplog.set_level(logging.INFO)
    client = make(failure)
    with pytest.raises(ServerError, match="GET /Contacts: ") as caught:
        client.get_list("/Contacts")
    assert len(server.seen) == client.budget.calls == 5
    for exponent, pause in enumerate(client.fast.waits):
        assert 2**exponent <= pause <= 2**exponent * 1.25
    assert len(client.fast.waits) == 4
    assert caught.value.__context__ is caught.value.__cause__ is None
    assert [record.levelname for record in caplog.records if "insightly" in record.name] == ["INFO"] * 4
    assert client.budget.retries == {"server error": 4}


@pytest.mark.parametrize(
    ("failure", "tops"),
    [
        (Reply(status=504), [500, 250, 125]),
        (Reply(status=408), [500, 250, 125]),
        (Reply(status=500), [500, 500, 250]),
        (Reply(how="cut", body=b"["), [500, 500, 250]),
        (Reply(b"<html>"), [500, 500, 250]),
        (limited(50), [500, 500, 500]),
    ],
)
def test_page_that_fails_is_requested_with_fewer_rows(server, make, failure, tops):
    client = make(failure, failure, b"[]")
    assert client.get_list("/Contacts", {"top": 500, "skip": 499})[1].top == tops[-1]
    assert [path for path, _ in server.seen] == [f"/v3.1/Contacts?top={top}&skip=499" for top in tops]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda reply: f"{reply.status}-{reply.how}")
def test_server_error_that_passes_is_only_logged(make, failure):
    client = make(failure, failure, b'[{"A": 1}]')
    assert client.get_list("/Contacts")[0] == [{"A": 1}]
    assert client.budget.calls == 3


def test_silent_server_times_out_and_is_retried(server, make):
    client = make(Reply(how="silent"), b"[]", timeout=(5.0, 0.05))
    assert client.get_list("/Contacts")[0] == []
    assert client.budget.calls == 2


def test_retry_after_of_a_503_is_at_most_a_minute(make):
    client = make(*(Reply(status=503, headers={"Retry-After": after}) for after in ("7", "999")), b"[]")
    client.get("/Contacts")
    assert client.fast.waits == [7, 60]


def test_refused_connection_is_tried_five_times(make):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    client = make(base_url=f"http://127.0.0.1:{port}")
    with pytest.raises(ServerError, match="refused"):
        client.get("/Contacts")
    assert client.budget.calls == 5


def test_invalid_certificate_is_not_retried(make, monkeypatch):
    client = make()

    def send(*_, **__):
        raise requests.exceptions.SSLError(ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] expired"))

    monkeypatch.setattr(client._session.get_adapter(client.base), "send", send)
    with pytest.raises(ServerError, match="CERTIFICATE_VERIFY_FAILED"):
        client.get("/Contacts")
    assert client.budget.calls == 1


def test_client_verifies_certificates(make, monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, "")
    assert make()._session.verify is True


@pytest.mark.parametrize("body", [b"", b"<html>", b'[{"A": 1}', b"[NaN]", b'[{"A": Infinity}]', b"\xff", b"[" * 9_999])
def test_malformed_json_is_tried_four_times(make, body):
    client = make(body)
    with pytest.raises(MalformedResponse, match=rf"{len(body)} bytes that are not JSON"):
        client.get_list("/Contacts")
    assert client.budget.calls == 4


def test_malformed_json_that_passes_is_retried(make):
    assert make(b"<html>", b"[]").get_list("/Contacts")[0] == []


@pytest.mark.parametrize("body", [b'{"Message": "down"}', b"null", b"5", b'"text"', b"[1]", b"[null]", b"[[]]"])
def test_get_list_rejects_anything_but_objects_at_once(make, body):
    client = make(body)
    with pytest.raises(MalformedResponse, match="expected a list of objects") as caught:
        client.get_list("/Contacts")
    assert client.budget.calls == 1
    assert ("down" in str(caught.value)) == (b"down" in body)


@pytest.mark.parametrize("body", [b"[]", b"null", b"true"])
def test_get_object_rejects_anything_but_an_object_at_once(make, body):
    with pytest.raises(MalformedResponse, match="expected an object"):
        make(body).get_object("/Instance")


def test_burst_waits_for_retry_after_and_continues(make):
    client = make(limited(50, 3), limited(50, 86_400), limited(50, "soon"), limited(50, 0), b"[]")
    client.get_list("/Contacts")
    waits = client.fast.waits
    assert waits[:2] == [pytest.approx(3), pytest.approx(60)]
    assert 4 <= waits[2] <= 5
    assert 8 <= waits[3] <= 10
    assert client.budget.calls == 5


def test_burst_holds_every_thread(make):
    client = make(limited(50, 3), b"[]")
    holds = []
    hold = client.rate_limiter.hold
    client.rate_limiter.hold = lambda seconds: (holds.append(seconds), hold(seconds))
    client.get_list("/Contacts")
    assert holds == [3]


def test_bursts_slow_the_run_down_which_is_said_once(make, caplog):
    caplog.set_level(logging.INFO)
    client = make(*[limited(50, 1)] * 6, b"[]")
    client.get_list("/Contacts")
    assert client.rate_limiter.slowest_rate == pytest.approx(100 / 1.25**4)
    assert client.budget.retries == {"burst": 6}
    assert caplog.text.count("slows down") == 1
    assert {record.levelname for record in caplog.records if "insightly" in record.name} == {"INFO"}


def test_endless_burst_ends_after_ten_attempts(make):
    client = make(limited(50))
    with pytest.raises(ServerError, match="requests_per_second"):
        client.get_list("/Contacts")
    assert client.budget.calls == 10


def test_end_of_the_day_is_never_retried(server, make):
    client = make(limited(0, 1))
    for _ in range(2):
        with pytest.raises(QuotaExhausted, match="day's calls"):
            client.get_list("/Contacts")
    assert (len(server.seen), client.fast.waits, client.budget.left()) == (1, [], 0)


def test_last_call_of_the_day_returns_its_rows(server, make):
    client = make(Reply(b'[{"A": 1}]', headers={"X-RateLimit-Remaining": "0"}))
    assert client.get_list("/Contacts")[0] == [{"A": 1}]
    with pytest.raises(QuotaExhausted):
        client.get_list("/Contacts")
    assert len(server.seen) == 1


def test_unexplained_429_is_a_burst_for_five_attempts(server, make):
    client = make(limited())
    with pytest.raises(QuotaExhausted, match="may be used up"):
        client.get_list("/Contacts")
    assert len(server.seen) == 5
    with pytest.raises(QuotaExhausted):
        client.get_list("/Leads")
    assert len(server.seen) == 5


def test_unexplained_429_may_pass(make):
    client = make(limited(), limited(None, 2), limited(None, 300), b"[]")
    client.get_list("/Contacts")
    assert client.fast.waits[1:] == [pytest.approx(2), pytest.approx(300)]


def test_429_with_a_wait_of_hours_is_the_end_of_the_day(server, make):
    client = make(limited(None, 301))
    with pytest.raises(QuotaExhausted):
        client.get_list("/Contacts")
    assert len(server.seen) == 1


def test_retry_after_date_counts_by_the_services_clock(make):
    reply = limited(50, "Fri, 31 Jan 2025 10:00:30 GMT")
    reply.headers["Date"] = "Fri, 31 Jan 2025 10:00:00 GMT"
    client = make(reply, b"[]")
    client.get_list("/Contacts")
    assert client.fast.waits == [pytest.approx(30)]


def test_max_calls_counts_retries(server, make):
    client = make(Reply(status=500), max_calls=3)
    with pytest.raises(BudgetExhausted, match="max_calls"):
        client.get_list("/Contacts")
    assert len(server.seen) == 3


def test_client_leaves_the_reserve(server, make):
    client = make(Reply(headers={"X-RateLimit-Remaining": "100"}), quota_reserve=100)
    client.get_list("/Contacts")
    with pytest.raises(BudgetExhausted, match="quota_reserve"):
        client.get_list("/Contacts")
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, BadRequest) for status in (400, 402, 405, 409, 412, 417, 422)),
        *((status, MalformedResponse) for status in (301, 302, 304, 307)),
        (403, Forbidden),
        (404, NotFound),
    ],
)
def test_client_errors_are_final_and_have_a_class(server, make, status, kind):
    body = b"" if status == 304 else b'{"Message": "Field &c. is wrong."}'
    client = make(Reply(body, status, {"Location": f"http://127.0.0.1:{server.server_address[1]}/v3.1/Leads"}))
    with pytest.raises(kind) as caught:
        client.get_list("/Contacts", {"field_value": "private@example.com"})
    assert (caught.value.status, caught.value.path) == (status, "/Contacts")
    assert caught.value.api_message == ("" if status == 304 else "Field &c. is wrong.")
    assert "/Contacts" in str(caught.value)
    assert "private" not in str(caught.value)
    assert isinstance(caught.value, NotAvailable) == (status in (403, 404))
    assert len(server.seen) == 1


def test_refused_key_stops_every_request(server, make):
    client = make(Reply(b'{"Message":"Authorization has been denied for this request."}', 401))
    for path in ("/Contacts", "/Leads"):
        with pytest.raises(BadCredentials, match=r"denied.*api_key"):
            client.get_list(path)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"Message": "No."}', "No."),
        (b'"No."', "No."),
        (b"API User does not have access to CommunityComments.", "API User does not have access to CommunityComments."),
        (b"<html><b>Server</b>\n <i>Error</i></html>", "Server Error"),
        (b'{"error": 1}', ""),
        (b'{"Message": 5}', ""),
        (b"", ""),
        (b"x" * 1000, "x" * 200),
    ],
)
def test_error_has_the_message_of_the_body(make, body, message):
    with pytest.raises(Forbidden) as caught:
        make(Reply(body, 403)).get("/Contacts")
    assert caught.value.api_message == message


def test_message_of_the_body_is_left_out_if_columns_are_masked(make):
    body, masked = b'{"Message": "ada@example.com is no address"}', {"drop": ["contacts.email_address"]}
    with pytest.raises(BadRequest) as refused:
        make(Reply(body, 400), **masked).get("/Contacts")
    with pytest.raises(MalformedResponse) as malformed:
        make(Reply(body), **masked).get_list("/Contacts")
    for error in (refused.value, malformed.value):
        assert "ada@example.com" not in f"{error} {error.api_message}"


def test_message_of_the_body_steers_no_terminal(make):
    with pytest.raises(Forbidden, match=r"/Contacts: 403 Forbidden: \\x1b\[2J done") as caught:
        make(Reply(b'{"Message": "\\u001b[2J\\r\\ndone"}', 403)).get("/Contacts")
    assert caught.value.api_message == "\\x1b[2J done"


def test_path_stays_below_the_base_url(server, make):
    client = make(b"[]")
    client.get("Contacts/1/Tags/")
    client.get("/Fruit Ä?x=1#y/@evil.com")
    assert server.seen[0][0] == "/v3.1/Contacts/1/Tags"
    assert server.seen[1][0] == "/v3.1/Fruit%20%C3%84%3Fx%3D1%23y/%40evil.com"
    for path in ("/../x", "/a/..", "/a//b", "..", "http://evil.com/"):
        with pytest.raises(ValueError, match="is not a path below"):
            client.get(path)
    assert len(server.seen) == 2


def test_client_needs_a_key():
    with pytest.raises(MissingKey):
        Client(resolve_settings())


def test_client_offers_no_write_but_send():
    offered = {name for name in dir(Client) if not name.startswith("_")}
    assert offered == {"get", "get_list", "get_object", "send", "close", "clock_skew"}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("reply", [Reply(status=500), Reply(status=408), Reply(how="reset"), Reply(how="cut")])
def test_write_that_may_have_succeeded_is_not_sent_again(server, make, method, reply):
    client = make(reply, Reply())
    with pytest.raises(UnresolvedWrite, match=f"{method} /Contacts"):
        client.send(Request(method, "Contacts", body=b"{}"))
    assert len(server.seen) == 1


def test_throttled_write_is_sent_again(server, make):
    burst = Reply(status=429, headers={"X-RateLimit-Remaining": "7"})
    client = make(burst, burst, Reply(b'{"CONTACT_ID": 1}', 201))
    assert client.send(Request("POST", "Contacts", body=b"{}")).status == 201
    assert len(server.seen) == 3


def test_write_without_connection_is_retried_and_known_to_be_unsent(make, server, monkeypatch):
    client, tries = make(), []

    def send(*_, **__):
        tries.append(1)
        raise requests.ConnectionError(NewConnectionError(None, "refused"))

    monkeypatch.setattr(client._session.get_adapter(client.base), "send", send)
    with pytest.raises(ServerError) as caught:
        client.send(Request("POST", "Contacts", body=b"{}"))
    assert not isinstance(caught.value, UnresolvedWrite)
    assert len(tries) == 5


def test_environment_neither_replaces_key_nor_diverts_loopback(server, make, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login other password word\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    make(b"[]").get("/Contacts")
    assert server.seen[0][1]["Authorization"] == f"Basic {BASIC}"


def test_proxy_and_certificates_of_the_environment_are_used(make, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/company.pem")
    session = make(base_url="https://gateway.example/v3.1")._session
    assert session.proxies["https"] == "http://127.0.0.1:9"
    assert session.verify == "/etc/company.pem"


def test_client_keeps_no_cookies(server, make):
    client = make(Reply(headers={"Set-Cookie": "a=b; Path=/"}))
    client.get("/Contacts")
    client.get("/Contacts")
    assert "Cookie" not in server.seen[1][1]


ECHO = " ".join(FORMS).encode()
LEAKY = [
    Reply(ECHO, 400),
    Reply(json.dumps({"Message": ECHO.decode()}).encode(), 401),
    Reply(ECHO, 403, {"reason": KEY}),
    Reply(b"", 302, {"Location": f"https://{KEY}@evil.com"}),
    Reply(ECHO, 500, {"reason": f"Basic {BASIC}"}),
    Reply(ECHO, 429),
    Reply(ECHO, 429, {"X-RateLimit-Remaining": "0"}),
    Reply(ECHO, 429, {"X-RateLimit-Remaining": "5"}),
    Reply(ECHO, 200),
    Reply(json.dumps({"Message": ECHO.decode()}).encode()),
    Reply(how="reset"),
    Reply(b"[", how="cut"),
]


@pytest.mark.parametrize("reply", LEAKY, ids=lambda reply: f"{reply.status}-{reply.how}")
def test_key_is_in_no_error_frame_or_log(server, make, reply, caplog):
    caplog.set_level(logging.DEBUG)
    client = make(reply)
    with pytest.raises(InsightlyError) as caught:
        client.get_list("/Contacts", {"top": 1})
    error = caught.value
    texts = [str(error), repr(error), repr(error.args), repr(vars(error)), repr(client)]
    texts += traceback.format_exception(error)
    chain = [error]
    while chain:
        link = chain.pop()
        chain += [other for other in (link.__cause__, link.__context__) if other is not None]
        for frame, _ in traceback.walk_tb(link.__traceback__):
            if "/sources/insightly/" in frame.f_code.co_filename:
                # What the server sent is its own data; every other variable is the program's.
                local = frame.f_locals.keys() - {"body", "response", "value", "rows"}
                texts += [repr(frame.f_locals[name]) for name in local]
                for value in frame.f_locals.values():
                    assert not isinstance(value, requests.Response) or value.request is value.raw is None
    texts += [record.getMessage() + str(record.args) for record in caplog.records]
    texts += [path for path, _ in server.seen]
    for form in FORMS:
        assert form not in "\n".join(texts)
    assert any("urllib3" in record.name for record in caplog.records)
