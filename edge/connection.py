"""How a connection to the broker is made from the settings, and, in words, why it is not."""

from __future__ import annotations

import contextlib
import hashlib
import queue
import re
import socket
import sys
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.settings import ConfigError, MqttSettings, Problem

CONNECT_TIMEOUT_S = 5.0
RECONNECT_S = (1, 30)
NO_ANSWER = "the broker closed the connection without an answer; is it one that wants TLS, or no MQTT broker at all?"


class PublishError(Exception):
    """A verdict was not accepted for publishing; the message says why."""


@dataclass(frozen=True)
class BrokerStatus:
    """How a line's connection is."""

    connected: bool
    reason: str | None
    """Why it is not connected."""
    since: datetime
    """When it was connected or lost, UTC."""
    last_puback_age_s: float | None
    """Seconds since the broker last acknowledged anything."""
    unacknowledged: int
    """Verdicts accepted for publishing that the broker has not acknowledged."""


def client_of(settings: MqttSettings, client_id: str) -> Client:
    """A paho client, not connected yet: MQTT 3.1.1, with user and password, patient with a broker down.

    Raises:
        ConfigError: the host can be no host, or the password cannot be read.
    """
    try:
        settings.host.encode("idna")  # in paho's network thread this failure would end the thread
    except UnicodeError:
        raise ConfigError([Problem("mqtt", "host", settings.host, "is no name or address of a host")]) from None
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=_sanitised(client_id),
        clean_session=True,
        protocol=MQTTProtocolVersion.MQTTv311,
    )
    client.suppress_exceptions = True
    client.connect_timeout = CONNECT_TIMEOUT_S
    client.reconnect_delay_set(*RECONNECT_S)
    client.username_pw_set(settings.username, _password(settings))
    return client


def cut(client: Client) -> None:
    """Ends a connection without farewell; paho notices, and makes it anew unless it has been told to stop."""
    connection = client.socket()
    if isinstance(connection, socket.socket):
        with contextlib.suppress(OSError):  # it is no longer connected, which is what is wanted
            connection.shutdown(socket.SHUT_RDWR)


def refused(code: ReasonCode) -> str:
    """Why a broker that answered did not accept."""
    text = str(code)
    hint = "; check mqtt.username and mqtt.password" if text in {"Not authorized", "Bad user name or password"} else ""
    return f"the broker refused the connection: {text}{hint}"


def lost(code: ReasonCode) -> str:
    """Why a connection is gone."""
    text = str(code)
    return "connection lost" if text == "Unspecified error" else f"connection lost: {text}"


def failed(error: BaseException | None, settings: MqttSettings) -> str:
    """Why there is no connection at all."""
    where = f"{settings.host}:{settings.port}"
    if isinstance(error, socket.gaierror):
        return f"name not found: {settings.host} ({error.strerror})"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens on {where}"
    if isinstance(error, TimeoutError):
        return f"no answer from {where}"
    return f"cannot connect to {where}: {getattr(error, 'strerror', None) or error}"


def probe(settings: MqttSettings, timeout_s: float = CONNECT_TIMEOUT_S) -> str | None:
    """Connects once. None if the broker accepts, else the reason in words."""
    try:
        client = client_of(settings, f"{settings.client_id}-probe-{socket.gethostname()}")
    except ConfigError as error:
        return str(error)
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def on_connect(
        client: Client, _userdata: Any, _flags: ConnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        answers.put(refused(code) if code.is_failure else None)
        client.disconnect()  # which ends the network thread

    def on_connect_fail(_client: Client, _userdata: Any) -> None:
        answers.put(failed(sys.exc_info()[1], settings))

    def on_disconnect(
        _client: Client,
        _userdata: Any,
        _flags: DisconnectFlags,
        _code: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        answers.put(NO_ANSWER)

    client.on_connect, client.on_connect_fail, client.on_disconnect = (
        on_connect,
        on_connect_fail,
        on_disconnect,
    )
    client.connect_async(settings.host, settings.port, settings.keepalive_s)
    client.loop_start()
    try:
        return answers.get(timeout=timeout_s)
    except queue.Empty:
        return f"no answer from {settings.host}:{settings.port} within {timeout_s:g} s"
    finally:
        client.disconnect()


def _sanitised(client_id: str) -> str:
    """Only letters, digits, `-`, `_` and `.`; a hash keeps apart what would become the same."""
    clean = re.sub(r"[^0-9A-Za-z_.-]", "-", client_id)
    if clean == client_id:
        return client_id
    return f"{clean}-{hashlib.sha256(client_id.encode()).hexdigest()[:8]}"


def _password(settings: MqttSettings) -> str | None:
    if settings.password is not None:
        return settings.password.get_secret_value()
    path = settings.password_file
    if path is None:
        return None
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        remedy = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise ConfigError([Problem("mqtt", "password_file", str(path), remedy)]) from error
    except UnicodeDecodeError:  # whose message would hold a part of the password
        raise ConfigError([Problem("mqtt", "password_file", str(path), "is not UTF-8 text")]) from None
    if not lines or not lines[0]:
        raise ConfigError([Problem("mqtt", "password_file", str(path), "has no password on its first line")])
    return lines[0]
