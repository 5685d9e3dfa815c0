"""Where the figures for Prometheus are served, to few at a time: strangers who hold on to a connection make way."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import socket
import sys
import threading
import time
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from edge.ops.descriptors import is_spare
from edge.settings import MetricsSettings
from edge.settings_file import ConfigError, Problem

log = logging.getLogger(__name__)

CONNECTIONS = 16
"""Scrapes that may be under way; for one more the oldest is ended."""
_TIMEOUT_S = 10.0  # in which a scraper has to send, or take, something
_PAUSE_S = 0.2  # before connections are accepted again after one could not be
_JOIN_S = 2.0  # for the thread that answers scrapes


class MetricsServer:
    """Answers scrapes, each in a thread of its own."""

    def __init__(self, registry: CollectorRegistry, settings: MetricsSettings) -> None:
        """Listens from now on.

        Raises:
            ConfigError: it cannot.
        """
        self._server: _Server | None = None
        if settings.port is None:
            return
        try:
            self._server = _Server(settings.host, settings.port)
        except (OSError, UnicodeError) as error:
            raise ConfigError([_problem(settings, error)]) from error
        self._server.set_app(make_wsgi_app(registry))
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()
        log.info("metrics on http://%s:%d/metrics", settings.host, settings.port)

    def stop(self) -> None:
        """Ends it; does not wait for scrapes that are being answered. May be called twice."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(_JOIN_S)
            self._server = None


class _Handler(WSGIRequestHandler):
    """One scrape. A stranger does not write to the log: what goes wrong is answered with 500, or with nothing."""

    timeout = _TIMEOUT_S

    def log_message(self, format: str, *args: Any) -> None:
        return

    def get_stderr(self) -> Any:
        return io.StringIO()


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection. One that was ended may need a moment, so there are twice as many at most."""

    daemon_threads = True
    request_queue_size = 128  # a scrape that finds it full waits for a second

    def __init__(self, host: str, port: int) -> None:
        """Listens from now on. Raises OSError, UnicodeError: it cannot."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, _, _, _, address = found[0]
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, None] = {}  # the oldest first
        super().__init__((str(address[0]), port), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError:  # it is gone again, or there is no descriptor for it, and it would be ready again at once
            time.sleep(_PAUSE_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            taken = is_spare(request.fileno()) and len(self._connections) < 2 * CONNECTIONS
            if taken:
                self._connections[request] = None
            oldest = list(self._connections)[:-CONNECTIONS]
        for connection in oldest:
            with contextlib.suppress(OSError):  # its other end is gone
                connection.shutdown(socket.SHUT_RDWR)  # its thread notices
        if taken:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # that is the end of a connection
            super().handle_error(request, client_address)


def _problem(settings: MetricsSettings, error: OSError | UnicodeError) -> Problem:
    where = f"{settings.host}:{settings.port}"
    if isinstance(error, (socket.gaierror, UnicodeError)) or error.errno == errno.EADDRNOTAVAIL:
        remedy = "is no address of this machine; 127.0.0.1 serves this machine only, 0.0.0.0 all its networks"
        return Problem("metrics", "host", settings.host, remedy)
    taken = error.errno == errno.EADDRINUSE
    hint = "end what uses it (`ss -ltnp` names it), or set another" if taken else "set another"
    return Problem("metrics", "port", str(settings.port), f"cannot listen on {where}: {error.strerror}; {hint}")
