"""Runs the console in the browser: what has to be right before it listens, and the web server."""

from __future__ import annotations

import logging
import socket
import ssl
from pathlib import Path

import uvicorn

from core.regular_file import SMALL, read_regular
from edge.hmi.app import create_app
from edge.hmi.patience import PatientProtocol
from edge.hmi.service_link import ServiceLink
from edge.hmi.users import UsersError, UsersFile
from edge.ops.systemd import Notifier
from edge.ops.threads import share_memory
from edge.settings import HmiSettings, Settings, console_dir, users_file
from edge.settings_file import ConfigError, Problem

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 400
"""Connections that may be open at a time; beyond them a request is answered 503."""
_BACKLOG = 128
_UNREAD_MS = 60_000
_TALKATIVE = ("websockets", "python_multipart", "asyncio")  # libraries that log what they carry
_STOP_S = 3  # for requests that are under way
_IDLE_S = 15  # that a connection without a request stays open
_MOST_FRAME = 4096  # bytes that a page may send over its WebSocket: it has nothing to say
_PING_S = 20.0


def check_reachable_safely(settings: Settings) -> list[str]:
    """What there is to say of who may use the console.

    Raises:
        ConfigError: it would be open to strangers, or its files are not as they have to be.
    """
    hmi = settings.hmi
    path = users_file(settings)
    try:
        users = UsersFile(path).users()
    except UsersError as error:
        raise ConfigError([Problem("alfa-edge hmi", "", "", str(error))]) from error
    problems = []
    if not hmi.on_loopback and not hmi.insecure:
        where = f"{hmi.listen} is reached from other machines"
        if not users:
            remedy = f"{where}; make a user first: `alfa-edge users add NAME --role engineer`, or set hmi.insecure"
            problems.append(Problem("alfa-edge hmi", "hmi.listen", "", remedy))
        if not hmi.encrypted:
            remedy = f"{where}; set hmi.tls_cert and hmi.tls_key, or hmi.insecure"
            problems.append(Problem("alfa-edge hmi", "hmi.listen", "", remedy))
    if hmi.tls_cert is not None:
        problems += _certificate_problems(hmi)
    if problems:
        raise ConfigError(problems)
    notes = []
    if not users:
        notes.append(f"there are no users in {path}: whoever reaches it may do everything")
    if hmi.insecure and not hmi.on_loopback:
        notes.append("hmi.insecure is set: strangers on the network may read along, or do something")
    return notes


def run(settings: Settings) -> None:
    """Serves until SIGINT or SIGTERM, and a few seconds more for what is under way.

    Raises:
        ConfigError: the console would be open to strangers, its files are not as they have to be, or it cannot listen.
    """
    share_memory()
    server = make_server(settings)
    with listening(settings.hmi) as socket_:
        log.info("the console is at %s", address(settings.hmi))
        server.run([socket_])


def make_server(settings: Settings) -> uvicorn.Server:
    """The web server, which serves once it runs.

    Raises:
        ConfigError: the console would be open to strangers, or its files are not as they have to be.
    """
    for note in check_reachable_safely(settings):
        log.warning("%s", note)
    for library in _TALKATIVE:
        logging.getLogger(library).setLevel(logging.INFO)
    hmi = settings.hmi
    config = uvicorn.Config(
        create_app(settings, ServiceLink(console_dir(settings.service)), Notifier()),
        http=PatientProtocol,
        log_config=None,  # ours
        log_level=logging.WARNING,  # each page that opens is no news; finer, headers with keys of sessions come along
        access_log=False,  # a query may hold anything
        server_header=False,
        proxy_headers=False,  # whoever sends such headers would choose their own address
        ssl_certfile=hmi.tls_cert,
        ssl_keyfile=hmi.tls_key,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=_STOP_S,
        ws_max_size=_MOST_FRAME,
        ws_ping_interval=_PING_S,
        ws_ping_timeout=_PING_S,
        ws_per_message_deflate=False,  # pictures are compressed already
    )
    return uvicorn.Server(config)


def listening(hmi: HmiSettings) -> socket.socket:
    """The socket that browsers connect to.

    Raises:
        ConfigError: it cannot be opened.
    """
    try:
        family, _, _, _, where = socket.getaddrinfo(hmi.listen, hmi.port, type=socket.SOCK_STREAM)[0]
        opened = socket.create_server(where[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        remedy = f"cannot be listened on, port {hmi.port}: {error.strerror or error}; set hmi.listen or hmi.port"
        raise ConfigError([Problem("alfa-edge hmi", "hmi.listen", hmi.listen, remedy)]) from error
    # Of the connections, too: what a browser that has stopped reading does not take would else be kept for ever.
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_MS)
    return opened


def address(hmi: HmiSettings) -> str:
    """What to type into a browser."""
    host = f"[{hmi.listen}]" if ":" in hmi.listen else hmi.listen
    return f"{'https' if hmi.encrypted else 'http'}://{host}:{hmi.port}/"


def _certificate_problems(hmi: HmiSettings) -> list[Problem]:
    """What is wrong with certificate and key; a key with a password would ask for it on the terminal."""

    def refuse() -> str:
        raise ValueError("the key has a password; take it off, and have only the console read the file")

    assert hmi.tls_cert is not None
    assert hmi.tls_key is not None
    try:
        for path in (hmi.tls_cert, hmi.tls_key):
            _check_file(path)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(hmi.tls_cert, hmi.tls_key, refuse)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        why = getattr(error, "strerror", None) or str(error)
        return [Problem("alfa-edge hmi", "hmi.tls_cert", str(hmi.tls_cert), f"cannot be used: {why}")]
    return []


def _check_file(path: Path) -> None:
    try:
        read_regular(path, SMALL)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error
