"""Where the figures for Prometheus are served."""

from __future__ import annotations

import errno
import logging
import socket
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server

from edge.settings import MetricsSettings
from edge.settings_file import ConfigError, Problem

log = logging.getLogger(__name__)

_JOIN_S = 2.0  # for the thread that answers scrapes


class MetricsServer:
    """Answers scrapes, each in a thread of its own."""

    def __init__(self, registry: CollectorRegistry, settings: MetricsSettings) -> None:
        """Listens from now on.

        Raises:
            ConfigError: it cannot.
        """
        self._server: WSGIServer | None = None
        if settings.port is None:
            return
        try:
            self._server, self._thread = start_http_server(settings.port, settings.host, registry)
        except (OSError, UnicodeError) as error:
            raise ConfigError([_problem(settings, error)]) from error
        log.info("metrics on http://%s:%d/metrics", settings.host, settings.port)

    def stop(self) -> None:
        """Ends it; does not wait for scrapes that are being answered. May be called twice."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(_JOIN_S)
            self._server = None


def _problem(settings: MetricsSettings, error: OSError | UnicodeError) -> Problem:
    where = f"{settings.host}:{settings.port}"
    if isinstance(error, (socket.gaierror, UnicodeError)) or error.errno == errno.EADDRNOTAVAIL:
        remedy = "is no address of this machine; 127.0.0.1 serves this machine only, 0.0.0.0 all its networks"
        return Problem("metrics", "host", settings.host, remedy)
    taken = error.errno == errno.EADDRINUSE
    hint = "end what uses it (`ss -ltnp` names it), or set another" if taken else "set another"
    return Problem("metrics", "port", str(settings.port), f"cannot listen on {where}: {error.strerror}; {hint}")
