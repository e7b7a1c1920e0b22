"""The page on loopback, made anew each time it is loaded."""

import logging
import sys
import threading
import webbrowser
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pipelines.destinations.target import Busy

from .page import Page

logger = logging.getLogger(__name__)

HOSTS = ("127.0.0.1", "localhost")


class Dashboard:
    """Makes pages one after another, and keeps the last for the time that a run holds the destination.

    Args:
        make: looks at the destination. Raises Busy while a run is at work there.
    """

    def __init__(self, make: Callable[[], Page]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._last: Page | None = None

    def html(self) -> str:
        """The page as things are, or as they were before the run that is at work.

        Raises:
            Busy: a run is at work, and no page was made before.
        """
        with self._lock:
            try:
                self._last = self._make()
            except Busy:
                if self._last is None:
                    raise
                return self._last.html(busy=True)
            return self._last.html()


def server(dashboard: Dashboard, port: int) -> ThreadingHTTPServer:
    """A server of the page on loopback; `port` 0 takes a free one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # A page of another site can have its own name resolve to this machine, and so read what is served here.
            if self.headers.get("Host", "").rpartition(":")[0] not in HOSTS:
                self._answer(HTTPStatus.FORBIDDEN, "this page is for this machine alone")
            elif self.path.partition("?")[0] != "/":
                self._answer(HTTPStatus.NOT_FOUND, "there is one page, at /")
            else:
                try:
                    self._answer(HTTPStatus.OK, dashboard.html(), "text/html")
                except Exception as error:
                    logger.warning("the page could not be made: %s", error)
                    self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\nLoad the page again in a while.")

        def _answer(self, status: HTTPStatus, text: str, kind: str = "text/plain") -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            logger.debug(format, *args)

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def serve(dashboard: Dashboard, port: int, browser: bool) -> None:
    """Serves until it is interrupted.

    Args:
        dashboard: what makes the page.
        port: on loopback; 0 takes a free one.
        browser: whether to open the page in one.
    """
    with server(dashboard, port) as at:
        url = f"http://127.0.0.1:{at.server_address[1]}/"
        sys.stderr.write(f"the dashboard is at {url} (Ctrl-C ends it)\n")
        if browser:
            webbrowser.open(url)
        try:
            at.serve_forever()
        except KeyboardInterrupt:
            sys.stderr.write("\n")
