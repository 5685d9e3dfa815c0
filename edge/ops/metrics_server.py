"""The endpoint `/metrics`."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import threading
import time
from socketserver import TCPServer
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from edge.clock import monotonic
from edge.settings import MetricsSettings
from edge.settings_file import ConfigError, Problem

log = logging.getLogger(__name__)

_AT_ONCE = 4  # scrapes that are answered side by side
_PAUSE_S = 0.05  # between two connections, so that one who asks without end gets no more than a part of a core
_TIMEOUT_S = 10.0  # for a whole scrape; then the connection is cut


class MetricsServer:
    """Answers scrapes. Who asks slowly, for ever or too often is cut off; no verdict waits for any of them."""

    def __init__(self, registry: CollectorRegistry, settings: MetricsSettings) -> None:
        """Listens from now on.

        Raises:
            ConfigError: it cannot.
        """
        self._server: _Server | None = None
        if settings.port is None:
            return
        try:
            (family, _, _, _, address), *_ = socket.getaddrinfo(
                settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            self._server = _Server(family, address)
        except (OSError, UnicodeError) as error:
            raise ConfigError([_problem(settings, error)]) from error
        self._server.set_app(make_wsgi_app(registry, disable_compression=True))
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()
        log.info("metrics on http://%s:%d/metrics", settings.host, settings.port)

    def stop(self) -> None:
        """Ends it, and all connections. May be called twice."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.cut(0.0)
            self._thread.join()
            self._server = None


def _problem(settings: MetricsSettings, error: OSError | UnicodeError) -> Problem:
    where = f"{settings.host}:{settings.port}"
    if isinstance(error, (socket.gaierror, UnicodeError)) or error.errno == errno.EADDRNOTAVAIL:
        remedy = "is no address of this machine; 127.0.0.1 serves this machine only, 0.0.0.0 all its networks"
        return Problem("metrics", "host", settings.host, remedy)
    taken = error.errno == errno.EADDRINUSE
    hint = "end what uses it (`ss -ltnp` names it), or set another" if taken else "set another"
    return Problem("metrics", "port", str(settings.port), f"cannot listen on {where}: {error.strerror}; {hint}")


class _Handler(WSGIRequestHandler):
    timeout = _TIMEOUT_S  # of a read or write; the server cuts what is slower as a whole

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are not worth a line each."""


class _Server(ThreadingWSGIServer):
    """A thread for each connection, but few at a time."""

    allow_reuse_port = False  # else a second service would take turns with this one on the same port

    def __init__(self, family: int, address: Any) -> None:
        self.address_family = family
        self._lock = threading.Lock()
        self._open: dict[socket.socket, float] = {}
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's would ask the network for this machine's name
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            full = len(self._open) >= _AT_ONCE
            if not full:
                self._open[request] = monotonic()
        if full:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)
        time.sleep(_PAUSE_S)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        self.cut(_TIMEOUT_S)

    def cut(self, age_s: float) -> None:
        """Ends the connections that are at least so old."""
        with self._lock:
            late = [one for one, since in self._open.items() if monotonic() - since >= age_s]
            for one in late:
                with contextlib.suppress(OSError):  # it is gone already, which is what is wanted
                    one.shutdown(socket.SHUT_RDWR)  # its thread notices, and closes it

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a scrape broke off", exc_info=True)
