"""What a broker is like, seen by two clients that connect side by side as the lines would."""

from __future__ import annotations

import queue
import secrets
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.mqtt.connection import client_of, connect, failed, refused, unanswered
from edge.settings import MqttSettings
from edge.settings_file import ConfigError

TAKEOVER_S = 1.0
"""A broker that takes both clients for one ends the first connection within so many seconds."""

Version = Literal["3.1.1", "5"]


@dataclass(frozen=True)
class BrokerReport:
    """What was found.

    Attributes:
        refusal: Why the broker does not accept us, in words; None: it does.
        version: The MQTT version that the service will use with it.
        max_packet: The largest packet that it takes, bytes; None: it tells no limit.
        one_client_a_user: Whether it takes clients of one user for one client, whatever their ids.
    """

    refusal: str | None = None
    version: Version = "5"
    max_packet: int | None = None
    one_client_a_user: bool = False


def check_broker(settings: MqttSettings, timeout_s: float) -> BrokerReport:
    """Connects twice, with different client ids; each connection may take `timeout_s` seconds."""
    name = doctor_id(settings)
    try:
        with ExitStack() as stack:
            first = stack.enter_context(Connection(settings, f"{name}-1"))
            refusal = first.outcome(timeout_s)
            if refusal is not None and settings.version == "5" and first.may_want_another_version:
                settings = settings.model_copy(update={"version": "3.1.1"})
                first = stack.enter_context(Connection(settings, f"{name}-1"))
                older = first.outcome(timeout_s)
                refusal = None if older is None else refusal
            if refusal is not None:
                return BrokerReport(refusal=refusal)
            second = stack.enter_context(Connection(settings, f"{name}-2"))
            if (refusal := second.outcome(timeout_s)) is not None:
                return BrokerReport(refusal=f"a second client beside the first: {refusal}")
            taken_over = first.ended.wait(TAKEOVER_S) and not second.ended.is_set()
            return BrokerReport(None, settings.version, first.max_packet, taken_over)
    except ConfigError as error:
        return BrokerReport(refusal=str(error))


def doctor_id(settings: MqttSettings) -> str:
    """A client id that no line has."""
    return f"{settings.client_id}-doctor-{secrets.token_hex(4)}"


class Connection:
    """One client, for as long as the context is open; it does not connect again."""

    def __init__(self, settings: MqttSettings, name: str) -> None:
        """Raises ConfigError: host, password, certificate or key cannot be used."""
        self.ended = threading.Event()
        """Set once an accepted connection is gone."""
        self.may_want_another_version = False
        self.max_packet: int | None = None
        self.max_qos = 2
        self._settings = settings
        self._outcomes: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.client = client_of(settings, name, settings.version)
        """As paho has it."""
        self.client.on_connect = self._answered
        self.client.on_connect_fail = self._failed
        self.client.on_disconnect = self._disconnected

    def __enter__(self) -> Connection:
        connect(self.client, self._settings, self._settings.version)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()  # ends the network thread too

    def outcome(self, timeout_s: float) -> str | None:
        """None if the broker accepts, else the reason in words."""
        try:
            return self._outcomes.get(timeout=timeout_s)
        except queue.Empty:
            return f"no answer from {self._settings.host}:{self._settings.port} within {timeout_s:g} s"

    def _answered(
        self, client: Client, _userdata: Any, _flags: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:
            self.may_want_another_version = str(code) == "Unsupported protocol version"
            self._outcomes.put(refused(code))
            client.disconnect()
            return
        self.max_packet = getattr(properties, "MaximumPacketSize", None)
        self.max_qos = getattr(properties, "MaximumQoS", 2)
        self._outcomes.put(None)

    def _failed(self, client: Client, _userdata: Any) -> None:
        self._outcomes.put(failed(sys.exc_info()[1], self._settings))
        client.disconnect()

    def _disconnected(
        self,
        client: Client,
        _userdata: Any,
        _flags: DisconnectFlags,
        _code: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self.ended.set()
        if self._outcomes.empty():  # older brokers hang up on a version that they do not know
            self.may_want_another_version = True
            self._outcomes.put(unanswered(self._settings))
        client.disconnect()  # else it would connect again, and throw the other one out in turn
