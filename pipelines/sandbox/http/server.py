"""The sandbox on a socket: HTTP/1.1 with keep-alive, one thread a connection."""

import gzip
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pipelines.sandbox.api.exchange import Response, json_response
from pipelines.sandbox.faults import Fault, FaultScript
from pipelines.sandbox.seed.generate import generate
from pipelines.sandbox.store.fixtures import load
from pipelines.sandbox.store.store import Clock, Contents, Store
from pipelines.sandbox.switches import Switches

from .control import ROOT, control
from .limits import Limits
from .service import BASE, Call, Service, parse_request

DEMO_KEY = "5a4db0c5-1e57-4c0d-8ead-0123456789ab"
"""The default key of a sandbox; it is valid nowhere else."""

LOOPBACK = "127.0.0.1"
MAX_BODY = 64_000_000
"""Bytes of a request's body; more are refused."""
_GZIP_FROM = 1_000


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, host: str, port: int, service: Service) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.service = service
        self.connections: set[socket.socket] = set()
        super().__init__((host, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores a client that closes its connection."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body are one packet
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Does nothing: the service has its own log."""

    def _serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            body = self._body(headers)
        except ValueError as error:  # the next request on the connection cannot be distinguished from the body
            self.close_connection = True
            self._send(json_response(400, {"Message": f"The request body cannot be read: {error}."}), False)
            return
        if self.path.lower().startswith(ROOT):
            request = parse_request(self.command, self.path, headers, body)
            response = control(self.server.service, request)
        else:
            response = self.server.service.answer(self.command, self.path, headers, body)
        if response.delay > 0:
            time.sleep(response.delay)
        self._send(response, "gzip" in headers.get("accept-encoding", "").lower())

    def _body(self, headers: Mapping[str, str]) -> bytes:
        """The body, which has a length or comes in chunks. Raises ValueError."""
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return self._read(int(headers.get("content-length") or 0))
        body = b""
        while size := int(self.rfile.readline(100).partition(b";")[0], 16):
            body += self._read(size)
            self.rfile.readline(3)
            if len(body) > MAX_BODY:
                raise ValueError(f"it has more than {MAX_BODY:,} bytes")
        while self.rfile.readline(10_000).strip():  # trailers
            pass
        return body

    def _read(self, size: int) -> bytes:
        if not 0 <= size <= MAX_BODY:
            raise ValueError(f"it has {size:,} bytes, which is not between 0 and {MAX_BODY:,}")
        return self.rfile.read(size) if size else b""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers bytes that are not an HTTP request as the API answers an error: with JSON."""
        self.close_connection = True
        self.command, self.request_version = getattr(self, "command", None) or "GET", self.protocol_version
        text = message or explain or self.responses[code][0]
        self._send(json_response(int(code), {"Message": text}), False)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = _serve

    def _send(self, response: Response, compress: bool) -> None:
        if response.broken == "reset":
            # With a linger time of 0 the close sends a reset instead of an orderly end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        headers, body, service = dict(response.headers), response.body, self.server.service
        if compress and len(body) > _GZIP_FROM:
            body = gzip.compress(body, 1, mtime=0)
            headers["Content-Encoding"] = "gzip"
        if service.switches.date_header:
            headers["Date"] = format_datetime(service.clock().astimezone(UTC), usegmt=True)
        if self.close_connection:
            headers["Connection"] = "close"
        self.send_response_only(response.status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if response.broken == "cut" else body)
        self.wfile.flush()
        if response.broken == "cut":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True


class Sandbox(Service):
    """A fake Insightly account as a context manager; it listens on loopback unless `host` is set.

    Args:
        seed, scale: of the generated data (see `generate`); not used with `contents`.
        switches: behaviour; can be replaced while serving (`sandbox.switches = ...`).
        faults: the fault script; more can be added while serving (`sandbox.faults.add(...)`).
        contents: the initial data instead of generated ones; `Contents()` for an empty account.
        clock: returns the time as an aware datetime, for the stamps of writes and the Date header.
        limits: the call counter, for a test with its own clock.
        key: the valid API key.
        host: the address to listen on; beyond loopback, others can reach it.
        port: 0 = a free one.
        fixtures: records to add, as `store.fixtures` describes them.
        on_call: called with each line of the log.

    Its attribute `log` has every API request so far, refused ones included, in the order of the responses.
    """

    def __init__(
        self,
        seed: int = 1,
        scale: float = 1,
        *,
        switches: Switches | None = None,
        faults: Iterable[Fault] = (),
        contents: Contents | None = None,
        clock: Clock | None = None,
        limits: Limits | None = None,
        key: str = DEMO_KEY,
        host: str = LOOPBACK,
        port: int = 0,
        fixtures: Mapping[str, Any] | None = None,
        on_call: Callable[[Call], object] = lambda _: None,
    ) -> None:
        switches = switches or Switches()
        contents = contents if contents is not None else generate(seed, scale, dirty=switches.dirty)
        script = FaultScript(faults)
        super().__init__(
            Store(contents, clock), key, switches, limits or Limits(), script, on_call=on_call, contents=contents
        )
        if fixtures:
            load(self.store, fixtures)
            self.contents = self.store.snapshot()
        self._server = _Server(host, port, self)
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """The address that it listens on."""
        return str(self._server.server_address[0])

    @property
    def url(self) -> str:
        """The base URL, such as `http://127.0.0.1:8060/v3.1`."""
        host = LOOPBACK if self.address in ("0.0.0.0", "::") else self.address
        return f"http://{f'[{host}]' if ':' in host else host}:{self._server.server_port}{BASE}"

    @property
    def settings(self) -> dict[str, str]:
        """The environment variables that lead `insightly`, and the dlt source, to it."""
        return {"SOURCES__INSIGHTLY__BASE_URL": self.url, "SOURCES__INSIGHTLY__API_KEY": self.key}

    def calls(self, prefix: str | None = None) -> int:
        """The number of logged requests, or of those whose path starts with `prefix` (`/Contacts`, in any case)."""
        start = "/" + (prefix or "").lstrip("/").lower()
        return sum(call.path.lower().startswith(start) for call in list(self.log))

    def reset_log(self) -> None:
        self.log.clear()

    def start(self) -> "Sandbox":
        """Serves in a new thread."""
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stops the server and closes every connection."""
        if self._thread is not None:
            with suppress(OSError):  # wakes the thread, where the system allows it for a socket that listens
                self._server.socket.shutdown(socket.SHUT_RDWR)
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()
        for connection in list(self._server.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def serve_forever(self) -> None:
        """Serves in the calling thread until interrupted."""
        try:
            self._server.serve_forever()
        finally:
            self.stop()

    def __enter__(self) -> "Sandbox":
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()
