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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

INSTALL = "sudo sh deploy/system-packages.sh test"
START_TIMEOUT_S = 5.0


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


class Mosquitto:
    """A broker without persistence, for as long as the context is open."""

    host = "127.0.0.1"

    def __init__(self, *, users: dict[str, str] | None = None, start: bool = True) -> None:
        """With `users` (name: password) only they get in, else anybody."""
        self.port = free_port()
        self._users = users
        self._start = start
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
            f"listener {self.port} {self.host}",
            "persistence false",
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
        config = directory / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n")
        return config


@dataclass(frozen=True)
class Message:
    """One message as it came."""

    topic: str
    payload: bytes
    qos: int
    retained: bool


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

    def until(self, holds: Callable[[list[Message]], bool], timeout_s: float = 5.0) -> list[Message]:
        """Waits until `holds` of the messages, and returns them."""
        with self._changed:
            if not self._changed.wait_for(lambda: holds(self._messages), timeout_s):
                raise AssertionError(f"after {timeout_s:g} s there is only {self._messages}")
            return list(self._messages)

    def wait(self, count: int, timeout_s: float = 5.0) -> list[Message]:
        """Waits until there are `count` messages, and returns all that there are."""
        return self.until(lambda messages: len(messages) >= count, timeout_s)


@contextmanager
def subscribe(port: int, *topics: str, user: str | None = None, password: str | None = None) -> Iterator[Subscription]:
    """Collects the messages of the topics; subscribed by the time the context is entered."""
    subscription, subscribed = Subscription(), threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
    client.username_pw_set(user, password)

    def on_message(_client: Client, _userdata: Any, message: MQTTMessage) -> None:
        subscription.add(Message(message.topic, bytes(message.payload), message.qos, message.retain))

    client.on_connect = lambda client, *_: client.subscribe([(topic, 1) for topic in topics])
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = on_message
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        if not subscribed.wait(5):
            raise AssertionError(f"no subscription to {topics} on port {port}")
        yield subscription
    finally:
        client.disconnect()  # ends the network thread too


def eventually(holds: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Waits until `holds`, or fails."""
    until = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > until:
            raise AssertionError(f"not so after {timeout_s:g} s")
        time.sleep(0.01)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
