"""How a connection to the broker is made from the settings, and, in words, why it is not."""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import ssl
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from core.regular_file import SMALL, read_regular
from edge.mqtt import tls
from edge.settings import MqttSettings
from edge.settings_file import ConfigError, Problem

Version = Literal["3.1.1", "5"]

CONNECT_TIMEOUT_S = 5.0
_MOST_OF_PASSWORD = 65_535  # bytes; a packet of MQTT has two bytes for how many there are
RECONNECT_S = (0.1, 30.0)
"""Pauses before a connection is made anew: the first, and the longest; each is twice the one before."""
SESSION_S = 3600
"""How long a broker of MQTT 5 keeps triggers for a service that is away, seconds; one of 3.1.1 decides itself."""
_HINTS = {
    "Not authorized": "check mqtt.username and mqtt.password, and what the broker permits them: "
    "`alfa-edge config acl` prints what they need",
    "Bad user name or password": "check mqtt.username and mqtt.password",
    "Unsupported protocol version": "set mqtt.version to one that it speaks",
    "Session taken over": "another client has the same id: find it in the broker's log; "
    "give each box its own service.node, each line its own user",
    "Packet too large": "raise the broker's limit, or set mqtt.max_packet_kb",
    "Quota exceeded": "raise the broker's limits",
}


@dataclass(frozen=True)
class BrokerStatus:
    """How a line's connection is."""

    connected: bool
    reason: str | None
    """Why it is not connected."""
    since: datetime
    """When it was connected or lost, UTC."""
    last_puback_age_s: float | None = None
    """Seconds since the broker last acknowledged anything."""
    unacknowledged: int = 0
    """Verdicts that the broker was sent and has not acknowledged."""
    waiting: int = 0
    """Verdicts in the outbox, those included."""
    oldest: datetime | None = None
    """When the oldest of them was issued, UTC."""
    dropped: int = 0
    """Verdicts that left the outbox unsent since the service started: they were too old or too many."""


def client_id(settings: MqttSettings, node: str, line: str, suffix: str) -> str:
    """The line's name at the broker: the same at each start, and no other line's of any box.

    Args:
        settings: Whose prefix it has.
        node: The box.
        line: The line.
        suffix: Of the installation, so that nobody guesses the name: another client that has it ends the line's
            session, and what waits there is lost. Empty for installations of before there was one.
    """
    name = f"{settings.client_id}-{node}-{line}"
    if suffix:
        return f"{name}-{suffix}"
    if "-" not in node:
        return name
    return f"{name}-{_digest(node, line)}"  # else node `a-b`, line `c` would be node `a`, line `b-c`


def client_of(settings: MqttSettings, name: str, version: Version, *, keep: bool = False) -> Client:
    """A paho client, not connected yet, patient with a broker down.

    Args:
        settings: Where and how.
        name: Its id; what not every broker takes is replaced.
        version: Of MQTT.
        keep: Whether the broker keeps its subscriptions, and messages for them, while it is away; messages are then to
            be acknowledged with `Client.ack`.

    Raises:
        ConfigError: the host can be no host, or a file of a password, certificate or key cannot be used.
    """
    try:
        settings.host.encode("idna")  # in paho's network thread this failure would end the thread
    except UnicodeError:
        raise ConfigError([Problem("mqtt", "host", settings.host, "is no name or address of a host")]) from None
    five = version == "5"
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=_sanitised(name),
        clean_session=None if five else not keep,
        protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
        manual_ack=keep,
    )
    client.suppress_exceptions = True
    client.connect_timeout = CONNECT_TIMEOUT_S
    client.max_inflight_messages = settings.in_flight
    pause(client, RECONNECT_S[0])
    client.on_socket_open = lambda _client, _, connection: _at_once(connection)
    client.username_pw_set(settings.username, _password(settings))
    context = tls.context_of(settings)
    if context is not None:
        client.tls_set_context(context)
    return client


def _at_once(connection: Any) -> None:
    """Has small packets leave at once; else a verdict waits for the broker to confirm the one before, up to 40 ms."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def pause(client: Client, seconds: float) -> None:
    """The pause before the next connection; paho doubles it until there is one."""
    client.reconnect_delay_set(seconds, RECONNECT_S[1])  # type: ignore[arg-type]  # it adds them to a time


def last_heard(client: Client) -> float:
    """When the broker last sent anything, seconds of `edge.clock.monotonic`: paho uses the same clock."""
    return float(client._last_bytes_received)


def connect(client: Client, settings: MqttSettings, version: Version, *, keep: bool = False) -> threading.Thread | None:
    """Begins to connect, and goes on until there is a connection; the network thread, if it has not ended yet.

    A broker waits for half as long again as the client says before it sends the last will, and paho for twice as long
    before it gives up: with two thirds, the will comes after `keepalive_s`, and paho gives up after 4/3 of it.
    """
    keepalive = max(2, -(-2 * settings.keepalive_s // 3))
    if version == "5":
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        if keep:
            properties.SessionExpiryInterval = SESSION_S
        client.connect_async(settings.host, settings.port, keepalive, clean_start=not keep, properties=properties)
    else:
        client.connect_async(settings.host, settings.port, keepalive)
    client.loop_start()
    return client._thread


def begin_anew(client: Client, anew: bool) -> None:
    """Whether the next connection of a client of MQTT 5 begins with a new session.

    paho sets this in `connect_async` only, which would also end a connection and undo a `disconnect`.
    """
    client._clean_start = anew


def cut(client: Client) -> None:
    """Ends a connection without farewell; paho notices, and makes it anew unless it has been told to stop."""
    connection = client.socket()
    if isinstance(connection, socket.socket):
        with contextlib.suppress(OSError):  # it is no longer connected, which is what is wanted
            socket.socket.shutdown(connection, socket.SHUT_RDWR)  # ssl's own would let paho go on without TLS


def in_words(code: ReasonCode) -> str:
    """A broker's reason, and what to do."""
    text = str(code)
    hint = _HINTS.get(text)
    return f"{text}; {hint}" if hint else text


def refused(code: ReasonCode) -> str:
    """Why a broker that answered did not accept."""
    return f"the broker refused the connection: {in_words(code)}"


def refuses(topic: str, why: str) -> str:
    """That a broker takes no message, or no subscription, of a topic."""
    return f"the broker refuses {topic}: {why}"


def lost(code: ReasonCode) -> str:
    """Why a connection is gone. That another client took the id many brokers do not say, nor does mosquitto 2.0.11."""
    if str(code) != "Unspecified error":
        return f"connection lost: {in_words(code)}"
    return "connection lost, for no reason that was given; if the broker is up, another client may have the same id"


def not_connected(reason: str) -> str:
    """That there is no connection."""
    return f"not connected to the broker: {reason}"


def unanswered(settings: MqttSettings) -> str:
    """Why a broker may have hung up before it answered."""
    if settings.tls:
        hint = tls.identity_hint(settings)
    else:
        hint = "is it one that wants TLS (mqtt.tls), or no MQTT broker at all?"
    return f"the broker closed the connection without an answer; {hint}"


def failed(error: BaseException | None, settings: MqttSettings) -> str:
    """Why there is no connection at all."""
    where = f"{settings.host}:{settings.port}"
    if isinstance(error, socket.gaierror):
        return f"name not found: {settings.host} ({error.strerror})"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens on {where}"
    if isinstance(error, ssl.SSLError) or (settings.tls and isinstance(error, ConnectionError)):
        return tls.failed(error, settings)
    if isinstance(error, TimeoutError):
        return f"no answer from {where}"
    return f"cannot connect to {where}: {getattr(error, 'strerror', None) or error}"


def _sanitised(name: str) -> str:
    """Only letters, digits, `-`, `_` and `.`; a hash keeps apart what would become the same."""
    clean = re.sub(r"[^0-9A-Za-z_.-]", "-", name)
    return name if clean == name else f"{clean}-{_digest(name)}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


def _password(settings: MqttSettings) -> str | None:
    """Of at most as many bytes as a packet can say; in paho's network thread a longer one would end the thread."""
    password = _given_password(settings)
    if password is not None and len(password.encode()) > _MOST_OF_PASSWORD:
        key = "password" if settings.password is not None else "password_file"
        raise ConfigError([Problem("mqtt", key, "***", f"a password has at most {_MOST_OF_PASSWORD} bytes")])
    return password


def _given_password(settings: MqttSettings) -> str | None:
    if settings.password is not None:
        return settings.password.get_secret_value()
    path = settings.password_file
    if path is None:
        return None
    try:
        lines = read_regular(path, SMALL).decode("utf-8").splitlines()
    except OSError as error:
        remedy = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise ConfigError([Problem("mqtt", "password_file", str(path), remedy)]) from error
    except UnicodeDecodeError:  # whose message would hold a part of the password
        raise ConfigError([Problem("mqtt", "password_file", str(path), "is not UTF-8 text")]) from None
    if not lines or not lines[0]:
        raise ConfigError([Problem("mqtt", "password_file", str(path), "has no password on its first line")])
    return lines[0]
