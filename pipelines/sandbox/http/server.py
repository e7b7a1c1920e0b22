"""The sandbox on a socket: HTTP/1.1 with keep-alive on loopback, one thread a connection."""

import gzip
import socket
import struct
import threading
import time
from collections.abc import Iterable
from datetime import UTC
from email.utils import format_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pipelines.sandbox.faults import Fault, FaultScript
from pipelines.sandbox.seed.generate import generate
from pipelines.sandbox.store.store import Clock, Contents, Store
from pipelines.sandbox.switches import Switches

from .limits import Limits
from .service import BASE, Delivery, Service

DEMO_KEY = "5a4db0c5-1e57-4c0d-8ead-0123456789ab"
"""The default key of a sandbox; it is valid nowhere else."""

HOST = "127.0.0.1"
_GZIP_FROM = 1_000
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int, service: Service) -> None:
        self.service = service
        self.connections: set[socket.socket] = set()
        super().__init__((HOST, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores a client that closes its connection."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
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
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        headers = {name.lower(): value for name, value in self.headers.items()}
        delivery = self.server.service.answer(self.command, self.path, headers, body)
        if delivery.delay > 0:
            time.sleep(delivery.delay)
        self._send(delivery, "gzip" in headers.get("accept-encoding", "").lower())

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = _serve

    def _send(self, delivery: Delivery, compress: bool) -> None:
        if delivery.broken == "reset":
            self._cut(abort=True)
            return
        response, body = delivery.response, delivery.response.body
        lines = [f"HTTP/1.1 {response.status} {_PHRASES.get(response.status, 'Unknown')}"]
        if compress and len(body) > _GZIP_FROM:
            body = gzip.compress(body, 1, mtime=0)
            lines.append("Content-Encoding: gzip")
        service = self.server.service
        if service.switches.date_header:
            lines.append(f"Date: {format_datetime(service.clock().astimezone(UTC), usegmt=True)}")
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, "\r\n"]).encode("latin-1")
        if self.command == "HEAD":
            body = b""
        if delivery.broken == "cut":
            self.wfile.write(head + body[: len(body) // 2])
            self._cut(abort=False)
            return
        self.wfile.write(head + body)

    def _cut(self, abort: bool) -> None:
        self.close_connection = True
        if abort:
            # With a linger time of 0 the close sends a reset instead of an orderly end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        else:
            self.connection.shutdown(socket.SHUT_RDWR)


class Sandbox:
    """A fake Insightly account on loopback, as a context manager.

    Args:
        seed, scale: of the generated data (see `generate`); not used with `contents`.
        switches: behaviour; can be replaced while serving (`sandbox.switches = ...`).
        faults: the fault script; more can be added while serving (`sandbox.faults.add(...)`).
        contents: the initial data instead of generated ones; `Contents()` for an empty account.
        clock: returns the time as an aware datetime, for the stamps of writes and the Date header.
        limits: the call counter, for a test with its own clock.
        key: the valid API key.
        port: 0 = a free one.

    Attributes:
        log: every API request so far, refused ones included, in the order of the responses.
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
        port: int = 0,
    ) -> None:
        self.key, self.limits, self.faults = key, limits or Limits(), FaultScript(faults)
        self.store = Store(contents if contents is not None else generate(seed, scale), clock)
        self.service = Service(self.store, key, switches or Switches(), self.limits, self.faults)
        self.log = self.service.log
        self._server = _Server(port, self.service)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The base URL, `http://127.0.0.1:PORT/v3.1`."""
        return f"http://{HOST}:{self._server.server_port}{BASE}"

    @property
    def switches(self) -> Switches:
        return self.service.switches

    @switches.setter
    def switches(self, switches: Switches) -> None:
        self.service.switches = switches

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
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()
        for connection in list(self._server.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

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
