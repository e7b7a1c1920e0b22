"""Bounds on one response, headers included. A read timeout alone starts again with each byte that arrives."""

import io
import time
from collections.abc import Callable
from http.client import HTTPResponse
from socket import socket
from typing import Any

from requests.adapters import HTTPAdapter

MAX_SECONDS = 180.0
"""From the request to the last byte of its response."""
MAX_BYTES = 32_000_000
"""Of a response, as it arrives and decompressed. A page of 500 records has 1 to 8 MB."""
MAX_ERROR_BYTES = 64_000
"""What is read of the body of an error."""


class ResponseOutOfBounds(OSError):
    """A response takes too long, or has too many bytes."""


class TooManyBytes(ResponseOutOfBounds):
    def __init__(self) -> None:
        super().__init__(f"the response has more than {MAX_BYTES:,} bytes")


class BoundedAdapter(HTTPAdapter):
    """Reads of its connections raise ResponseOutOfBounds beyond `MAX_SECONDS` or `MAX_BYTES`.

    Args:
        connections: the maximum number of connections at a time.
        on_sent: called when a request has left, which can take a while: first there must be a connection.
    """

    def __init__(self, connections: int, on_sent: Callable[[], None]) -> None:
        self._on_sent = on_sent
        super().__init__(1, connections, pool_block=True)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """The pool of connections for a request, direct or through a proxy."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        if pool.ConnectionCls.response_class is not _BoundedResponse:
            pool.ConnectionCls = _bounded(pool.ConnectionCls, self._on_sent)
        return pool


def _bounded(class_: Any, on_sent: Callable[[], None]) -> Any:
    class Connection(class_):  # type: ignore[misc]
        response_class = _BoundedResponse

        def endheaders(self, *args: Any, **kwargs: Any) -> None:
            super().endheaders(*args, **kwargs)
            on_sent()

    Connection.__name__ = class_.__name__  # which urllib3's errors contain
    return Connection


class _BoundedResponse(HTTPResponse):
    def __init__(self, sock: socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_BoundedStream(sock, self.fp.detach()))


class _BoundedStream(io.RawIOBase):
    def __init__(self, sock: socket, stream: io.RawIOBase) -> None:
        self._socket, self._stream, self._timeout = sock, stream, sock.gettimeout() or MAX_SECONDS
        self._until, self._bytes_left = time.monotonic() + MAX_SECONDS, MAX_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left, size = self._until - time.monotonic(), None
        if left > 0:
            self._socket.settimeout(min(left, self._timeout))
            try:
                size = self._stream.readinto(buffer)
            except TimeoutError:
                if left > self._timeout:
                    raise
        if size is None:
            raise ResponseOutOfBounds(f"the response was not complete after {MAX_SECONDS:g} s")
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise TooManyBytes
        return size

    def close(self) -> None:
        self._stream.close()
        super().close()
