"""The page on loopback, built at each load."""

import logging
import sys
import threading
import webbrowser
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pipelines.destinations.locks import Busy

from .page import Page

logger = logging.getLogger(__name__)

HOSTS = ("127.0.0.1", "localhost")


class Dashboard:
    """Builds one page at a time, and keeps the last one to show while a run is using the destination.

    Args:
        build: builds a page. Raises Busy while a run is using the destination.
    """

    def __init__(self, build: Callable[[], Page]) -> None:
        self._build, self._lock = build, threading.Lock()
        self._last: Page | None = None

    def html(self) -> str:
        """The current page, or the last one while a run is using the destination.

        Raises:
            Busy: a run is using the destination, and there is no earlier page.
        """
        with self._lock:
            try:
                self._last = self._build()
            except Busy:
                if self._last is None:
                    raise
                return self._last.html(busy=True)
            return self._last.html()


def server(dashboard: Dashboard, port: int) -> ThreadingHTTPServer:
    """A server on loopback; `port` 0 picks a free one. Raises OSError if the port is taken."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            # The name of another site can be made to resolve to this machine, so that its pages could read this one.
            if self.headers.get("Host", "").rpartition(":")[0] not in HOSTS:
                self._answer(HTTPStatus.FORBIDDEN, "this page is served to this machine only; open http://127.0.0.1")
            elif self.path.partition("?")[0] != "/":
                self._answer(HTTPStatus.NOT_FOUND, "not found; the only page is /")
            else:
                try:
                    self._answer(HTTPStatus.OK, dashboard.html(), "text/html")
                except Exception as error:
                    logger.warning("the page cannot be built: %s", error)
                    self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\nReload the page later.")

        do_GET = do_HEAD = _serve

        def _answer(self, status: HTTPStatus, text: str, kind: str = "text/plain") -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            logger.debug(format, *args)

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def serve(running: ThreadingHTTPServer, browser: bool) -> None:
    """Serves until it is interrupted; opens the page in a browser if `browser` is set."""
    url = f"http://127.0.0.1:{running.server_address[1]}/"
    sys.stderr.write(f"The dashboard is at {url} (stop it with Ctrl-C)\n")
    if browser:
        webbrowser.open(url)
    try:
        running.serve_forever()
    except KeyboardInterrupt:
        sys.stderr.write("\n")
