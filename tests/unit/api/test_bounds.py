"""Responses without an end: each attempt ends within bounds of time and memory, and a smaller page is requested."""

import gzip
import itertools
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from sources.insightly.api import bounds
from sources.insightly.api.client import Client
from sources.insightly.api.messages import Request
from sources.insightly.config.settings import resolve_settings
from sources.insightly.errors import (
    Forbidden,
    InsightlyError,
    MalformedResponse,
    ServerError,
    TooLarge,
    UnresolvedWrite,
)

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = OK + b"Content-Length: 2\r\n\r\n[]"
CHUNK = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
PAGE = {"top": 500, "skip": 0}


def slowly(response: bytes) -> Iterator[bytes]:
    for byte in itertools.chain(response, itertools.repeat(0x20)):
        time.sleep(0.01)
        yield bytes([byte])


@cache
def compressed() -> bytes:
    return gzip.compress(b"[" + b" " * 30_000_000)


def bomb(status: bytes = OK, encoding: bytes = b"gzip", body: bytes | None = None) -> list[bytes]:
    body = body or compressed()
    return [status + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (encoding, len(body)), body]


LARGE: dict[str, Callable[[], Iterable[bytes]]] = {
    "gzip bomb": bomb,
    "gzip bomb in gzip": lambda: bomb(encoding=b"gzip, gzip", body=gzip.compress(compressed())),
    "body without length": lambda: itertools.chain([OK + b"\r\n"], itertools.repeat(b" " * 0x10000)),
    "chunked body": lambda: itertools.chain([OK + b"Transfer-Encoding: chunked\r\n\r\n"], itertools.repeat(CHUNK)),
    "100 Continue in a row": lambda: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
}
SLOW: dict[str, Callable[[], Iterable[bytes]]] = {
    "one byte of the body at a time": lambda: slowly(OK + b"Content-Length: 1000000\r\n\r\n"),
    "one byte of a header at a time": lambda: slowly(OK + b"X-Header: "),
    "100 Continue now and then": lambda: (
        time.sleep(0.01) or b"HTTP/1.1 100 Continue\r\n\r\n" for _ in itertools.count()
    ),
}


class Server(ThreadingTCPServer):
    daemon_threads, block_on_close = True, False

    def __init__(self, *responses: Iterable[bytes]) -> None:
        self.responses, self.tops = list(responses), list[int | None]()
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        target = self.rfile.readline().split()[1].decode()
        while self.rfile.readline().strip():
            pass
        top = parse_qs(urlsplit(target).query).get("top")
        self.server.tops.append(int(top[0]) if top else None)
        response = self.server.responses.pop(0) if len(self.server.responses) > 1 else self.server.responses[0]
        try:
            for part in response:
                self.wfile.write(part)
        except OSError:  # the client has closed the connection
            return


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[Client, Server]]]:
    """Serves responses, and gives a client with small bounds, whose pauses take no time."""
    monkeypatch.setattr(bounds, "MAX_SECONDS", 0.2)
    monkeypatch.setattr(bounds, "MAX_BYTES", 1_000_000)
    servers: list[Server] = []

    def serve(*responses: Iterable[bytes], **options: Any) -> tuple[Client, Server]:
        server = Server(*responses)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v3.1"
        timeout = options.pop("timeout", (10.0, 120.0))
        settings = resolve_settings(api_key="key", base_url=url, **options)
        client = Client(settings, sleep=lambda _: None, timeout=timeout)
        return client, server

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("name", LARGE)
def test_response_without_end_is_retried_for_an_eighth_of_the_rows(serve: Any, monkeypatch: Any, name: str) -> None:
    client, server = serve(LARGE[name](), [EMPTY])
    monkeypatch.setattr(bounds, "MAX_SECONDS", 5.0)
    started = time.monotonic()
    tracemalloc.start()
    rows, response = client.get_list("Contacts", PAGE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (rows, response.top, server.tops) == ([], 62, [500, 62])
    assert peak < 8_000_000
    assert time.monotonic() - started < 5


def test_response_without_end_is_an_error_after_five_attempts(serve: Any, monkeypatch: Any) -> None:
    client, server = serve(bomb())
    monkeypatch.setattr(bounds, "MAX_SECONDS", 5.0)
    with pytest.raises(TooLarge, match="more than 1,000,000 bytes") as raised:
        client.get_list("Contacts", {"top": 500, "skip": 80}, label="contacts")
    assert server.tops == [500, 62, 7, 2, 2]
    assert not raised.value.transient
    message = str(raised.value)
    assert message.startswith("GET /Contacts: the 2 records from skip=80 on have more than 1,000,000 bytes, the most")
    assert "shorten the longest record in Insightly, or leave contacts out" in message
    assert message.endswith("(name other entities in the command or in sources.insightly.entities)")


@pytest.mark.parametrize(("params", "seen"), [(None, "response has"), ({"top": 1, "skip": 0}, "1 record from skip=0")])
def test_response_that_cannot_be_divided_names_its_path(serve: Any, monkeypatch: Any, params: Any, seen: str) -> None:
    client, _ = serve(bomb())
    monkeypatch.setattr(bounds, "MAX_SECONDS", 5.0)
    with pytest.raises(TooLarge, match=rf"^GET /Notes/7: the {seen}.*; shorten the longest record in Insightly$"):
        client.get("Notes/7", params)


@pytest.mark.parametrize("name", SLOW)
def test_one_attempt_follows_the_deadline_for_the_smallest_page(serve: Any, name: str) -> None:
    client, server = serve(SLOW[name](), [EMPTY])
    assert client.get_list("Contacts", PAGE)[1].top == 2
    assert server.tops == [500, 2]
    client, server = serve(SLOW[name](), SLOW[name]())
    with pytest.raises(ServerError, match=r"not complete after 0\.2 s"):
        client.get_list("Contacts", PAGE)
    assert server.tops == [500, 2]


def test_silent_service_costs_at_most_twice_the_deadline(serve: Any, monkeypatch: Any) -> None:
    """A read timeout is shorter than the deadline, so it may come more often."""
    client, server = serve(*((time.sleep(1) or b"" for _ in range(1)) for _ in range(3)), timeout=(1.0, 0.12))
    monkeypatch.setattr(bounds, "MAX_SECONDS", 0.18)
    with pytest.raises(ServerError, match="timed out"):
        client.get_list("Contacts", PAGE)
    assert server.tops == [500, 250, 2]


def test_deadline_is_in_the_message(serve: Any) -> None:
    client, _ = serve(slowly(OK), max_calls=5)
    with pytest.raises(InsightlyError, match=r"not complete after 0\.2 s"):
        client.get("Instance")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n", Forbidden),
        (b"HTTP/1.1 302 Found\r\nLocation: /v3.1/Leads\r\n", MalformedResponse),
    ],
)
def test_body_of_an_error_is_read_in_part(serve: Any, status: bytes, error: type[InsightlyError]) -> None:
    endless = itertools.chain([status + b"\r\n"], itertools.repeat(b"<p>No.</p> " * 1000))
    for response in (endless, bomb(status)):
        client, server = serve(response)
        tracemalloc.start()
        with pytest.raises(error):
            client.get_list("Contacts", PAGE)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(server.tops) == 1
        assert peak < 8_000_000


def test_write_without_a_complete_response_is_unresolved(serve: Any) -> None:
    client, server = serve(slowly(OK))
    with pytest.raises(UnresolvedWrite):
        client.send(Request("POST", "Contacts", body=b""))
    assert len(server.tops) == 1


@pytest.mark.parametrize("params", [None, {"top": 100, "field_name": "A"}])
def test_request_without_a_page_is_repeated_unchanged(serve: Any, params: Any) -> None:
    client, server = serve(bomb(), [EMPTY])
    client.get_list("Contacts", params)
    assert server.tops == [params and 100] * 2


def test_smallest_page_has_two_rows() -> None:
    request = Request("GET", "/Contacts", {"top": 5, "skip": 8})
    tops = [request.top]
    for _ in range(3):
        request = request.smaller()
        tops.append(request.top)
    assert tops == [5, 2, 2, 2]
    assert request.params == {"top": 2, "skip": 8}
