"""A real mosquitto on a free loopback port, and a subscriber that collects what it delivers."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

INSTALL = "sudo sh deploy/system-packages.sh test"
START_TIMEOUT_S = 15.0
TIMEOUT_S = 15.0


def binary(name: str) -> str:
    """The path of a program that the tests need."""
    path = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))
    if path is None:
        raise RuntimeError(f"{name} is not installed; run: {INSTALL}")
    return path


def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Tls:
    """What a listener with TLS has; with `only_known` it wants certificates of clients that `authority` vouches for."""

    certificate: Path
    key: Path
    authority: Path | None = None
    only_known: bool = False
    version: str | None = None


class Mosquitto:
    """A broker, for as long as the context is open; it remembers nothing over a restart unless it is persistent."""

    host = "127.0.0.1"

    def __init__(
        self,
        *,
        users: dict[str, str] | None = None,
        start: bool = True,
        tls: Tls | None = None,
        acl: str | None = None,
        persistent: bool = False,
        options: Sequence[str] = (),
        listener_options: Sequence[str] = (),
    ) -> None:
        """With `users` (name: password) only they get in, else anybody. `acl` is the text of an ACL file, `options` are
        further lines of the configuration, `listener_options` those of the first listener. With `tls` there is a second
        listener, on `tls_port`.
        """
        self.port = free_port()
        self.tls_port = free_port()
        self._users = users
        self._start = start
        self._tls = tls
        self._acl = acl
        self._persistent = persistent
        self._options = options
        self._listener_options = listener_options
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Mosquitto:
        self._directory = tempfile.TemporaryDirectory(prefix="mosquitto-")
        self._config = self._write_config(Path(self._directory.name))
        if self._start:
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._directory.cleanup()

    def start(self) -> None:
        """Starts the broker, on the port it always has."""
        log = Path(self._directory.name) / "log"
        with log.open("ab") as sink:
            self._process = subprocess.Popen([binary("mosquitto"), "-c", str(self._config)], stderr=sink)
        until = time.monotonic() + START_TIMEOUT_S
        while not _answers(self.port):
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"mosquitto does not start:\n{log.read_text()}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Ends the broker as a service manager would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the broker as a power cut would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Loses every session and every retained message."""
        self.stop()
        self.start()

    def allow(self, acl: str) -> None:
        """Takes another ACL for the clients that there are, too."""
        self._acl_file.write_text(acl)
        self._signal(signal.SIGHUP)

    def pause(self) -> None:
        """The broker hangs: connections stay open, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """The broker answers again."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("mosquitto is not running")
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(START_TIMEOUT_S)
            self._process = None

    def _write_config(self, directory: Path) -> Path:
        lines = [
            *self._options,
            f"listener {self.port} {self.host}",
            *self._listener_options,
            f"persistence {'true' if self._persistent else 'false'}",
            f"persistence_location {directory}/",
            "autosave_interval 1",
            "autosave_on_changes true",
            "log_dest stderr",
            f"allow_anonymous {'false' if self._users else 'true'}",
        ]
        if os.geteuid() == 0:
            lines.append("user root")
        if self._users:
            passwords = directory / "passwords"
            passwords.touch(0o600)
            for user, password in self._users.items():
                subprocess.run([binary("mosquitto_passwd"), "-b", str(passwords), user, password], check=True)
            lines.append(f"password_file {passwords}")
        if self._acl is not None:
            self._acl_file = directory / "acl"
            self._acl_file.write_text(self._acl)
            lines.append(f"acl_file {self._acl_file}")
        if self._tls is not None:
            lines += [f"listener {self.tls_port} {self.host}", *self._tls_lines(self._tls)]
        config = directory / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n")
        return config

    def _tls_lines(self, tls: Tls) -> Iterator[str]:
        yield f"certfile {tls.certificate}"
        yield f"keyfile {tls.key}"
        if tls.authority is not None:
            yield f"cafile {tls.authority}"
        if tls.only_known:
            yield "require_certificate true"
        if tls.version is not None:
            yield f"tls_version {tls.version}"


@dataclass(frozen=True)
class Message:
    """One message as it came."""

    topic: str
    payload: bytes
    qos: int
    retained: bool
    properties: dict[str, Any] = field(default_factory=dict)
    """Those of MQTT 5."""


class Subscription:
    """What has come for a subscriber, in order."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._changed = threading.Condition()

    def add(self, message: Message) -> None:
        """Called as messages come."""
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()

    @property
    def messages(self) -> list[Message]:
        """All of them so far."""
        with self._changed:
            return list(self._messages)

    def of(self, topic: str) -> list[Message]:
        """Those of one topic."""
        return [message for message in self.messages if message.topic == topic]

    def until(self, holds: Callable[[list[Message]], bool], timeout_s: float = TIMEOUT_S) -> list[Message]:
        """Waits until `holds` of the messages, and returns them."""
        with self._changed:
            if not self._changed.wait_for(lambda: holds(self._messages), timeout_s):
                count = len(self._messages)
                raise AssertionError(f"after {timeout_s:g} s there are only {count}, the last: {self._messages[-3:]}")
            return list(self._messages)

    def wait(self, count: int, timeout_s: float = TIMEOUT_S) -> list[Message]:
        """Waits until there are `count` messages, and returns all that there are."""
        return self.until(lambda messages: len(messages) >= count, timeout_s)


@contextmanager
def subscribe(
    port: int, *topics: str, user: str | None = None, password: str | None = None, five: bool = False
) -> Iterator[Subscription]:
    """Collects the messages of the topics, with `five` over MQTT 5; subscribed by the time the context is entered."""
    subscription, subscribed = Subscription(), threading.Event()
    protocol = MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311
    client = Client(CallbackAPIVersion.VERSION2, protocol=protocol)
    client.username_pw_set(user, password)

    def on_message(_client: Client, _userdata: Any, message: MQTTMessage) -> None:
        properties = message.properties.json() if message.properties is not None else {}
        subscription.add(Message(message.topic, bytes(message.payload), message.qos, message.retain, properties))

    client.on_connect = lambda client, *_: client.subscribe([(topic, 1) for topic in topics])
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = on_message
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        if not subscribed.wait(TIMEOUT_S):
            raise AssertionError(f"no subscription to {topics} on port {port}")
        yield subscription
    finally:
        client.disconnect()  # ends the network thread too


@contextmanager
def client(port: int, *, five: bool = False) -> Iterator[Client]:
    """A machine's client, connected."""
    protocol = MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311
    made, is_connected = Client(CallbackAPIVersion.VERSION2, protocol=protocol), threading.Event()
    made.max_inflight_messages = 1000 if not five else 20
    made.on_connect = lambda *_: is_connected.set()
    made.connect("127.0.0.1", port)
    made.loop_start()
    try:
        if not is_connected.wait(TIMEOUT_S):
            raise AssertionError(f"no connection to port {port}")
        yield made
    finally:
        made.disconnect()


def eventually(holds: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
    """Waits until `holds`, or fails."""
    until = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > until:
            raise AssertionError(f"not so after {timeout_s:g} s")
        time.sleep(0.01)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
