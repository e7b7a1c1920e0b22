"""The sandbox on a socket: HTTP/1.1 with keep-alive on loopback, one thread a connection."""

import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterable
from datetime import UTC
from email.utils import format_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from pipelines.sandbox.faults import Fault, FaultScript
from pipelines.sandbox.seed.generate import generate
from pipelines.sandbox.store.store import Clock, Contents, Store
from pipelines.sandbox.switches import Switches

from .limits import Limits
from .service import BASE, Call, Outcome, Service

DEMO_KEY = "5a4db0c5-1e57-4c0d-8ead-0123456789ab"
"""The key a sandbox takes unless told otherwise. It opens nothing else."""

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
        """A client that goes away is no news."""


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
        """The service keeps the log."""

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        headers = {name.lower(): value for name, value in self.headers.items()}
        outcome = self.server.service.answer(self.command, self.path, headers, body)
        if outcome.delay > 0:
            time.sleep(outcome.delay)
        self._send(outcome, "gzip" in headers.get("accept-encoding", "").lower())

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = _serve

    def _send(self, outcome: Outcome, gzip: bool) -> None:
        if outcome.broken == "reset":
            self._cut(abort=True)
            return
        answer, body = outcome.response, outcome.response.body
        lines = [f"HTTP/1.1 {answer.status} {_PHRASES.get(answer.status, 'Unknown')}"]
        if gzip and len(body) > _GZIP_FROM:
            body = _gzip(body)
            lines.append("Content-Encoding: gzip")
        service = self.server.service
        if service.switches.date_header:
            lines.append(f"Date: {format_datetime(service.clock().astimezone(UTC), usegmt=True)}")
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, "\r\n"]).encode("latin-1")
        if self.command == "HEAD":
            body = b""
        if outcome.broken == "cut":
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
        seed, scale: of the generated data (see `generate`); not used when `contents` is given.
        switches: behaviour; may be exchanged while serving (`sandbox.switches = ...`).
        faults: the fault script; more can be added while serving (`sandbox.faults.add(...)`).
        contents: data to begin with instead of generated ones; `Contents()` for an empty account.
        clock: the service's time as an aware datetime; the stamps of writes and the Date header come from it.
        limits: the call counter, where a test injects a clock.
        key: the API key that is taken.
        port: 0 = a free one.
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
        store = Store(contents if contents is not None else generate(seed, scale), clock)
        self.service = Service(store, key, switches or Switches(), limits or Limits(), FaultScript(faults))
        self._server = _Server(port, self.service)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The base URL, `http://127.0.0.1:PORT/v3.1`."""
        return f"http://{HOST}:{self._server.server_port}{BASE}"

    @property
    def key(self) -> str:
        return self.service.key

    @property
    def store(self) -> Store:
        return self.service.store

    @property
    def faults(self) -> FaultScript:
        return self.service.faults

    @property
    def limits(self) -> Limits:
        return self.service.limits

    @property
    def switches(self) -> Switches:
        return self.service.switches

    @switches.setter
    def switches(self, switches: Switches) -> None:
        self.service.switches = switches

    @property
    def log(self) -> list[Call]:
        """Every API call so far, refused ones included, in the order they were answered."""
        return self.service.log

    def calls(self, prefix: str | None = None) -> int:
        """How many calls were logged, or how many whose path begins with `prefix` (`/Contacts`; case is ignored)."""
        start = "/" + (prefix or "").lstrip("/").lower()
        return sum(call.path.lower().startswith(start) for call in list(self.log))

    def reset_log(self) -> None:
        self.log.clear()

    def start(self) -> "Sandbox":
        """Serves in a thread of its own."""
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends the server and every open connection."""
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()
