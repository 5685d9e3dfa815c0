"""Who talks to the service from outside: a PLC that triggers, an operator at the console, one who notes everything."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from edge.control.client import ask

TOPICS = ("line/+/anomaly", "line/+/status", "line/+/reply")  # what the monitor hears
_shifts = itertools.count(1)


@dataclass(frozen=True)
class Part:
    """A part that was triggered; `sent` in seconds of the monotonic clock."""

    line: str
    part_id: str
    sent: float


@dataclass(frozen=True)
class Heard:
    """A message that came, and when: seconds of the monotonic clock, and of the wall clock."""

    at: float
    wall: float
    line: str
    message: dict[str, Any]

    def moment(self, stamp: str) -> float:
        """When one of its stamps (`captured_at`, `issued_at`) was, seconds of the monotonic clock."""
        was = datetime.fromisoformat(self.message[stamp].replace("Z", "+00:00")).timestamp()
        return self.at - (self.wall - was)


class Shift:
    """Parts that come at a steady rate on each of some lines, for as long as the context is open."""

    def __init__(self, send: Callable[[str, str], object], lines: Sequence[str], rate: float) -> None:
        """`send` triggers the part of a line and a part_id, and may wait."""
        self.parts: dict[str, Part] = {}
        self._send = send
        self._rate = rate
        self._number = next(_shifts)
        self._over = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._work, args=(line, place / len(lines)), daemon=True)
            for place, line in enumerate(lines)
        ]

    def of(self, *lines: str) -> list[Part]:
        """Its parts so far on these lines."""
        return [part for part in tuple(self.parts.values()) if part.line in lines]

    def add(self, line: str, part_id: str) -> None:
        """Triggers one more part."""
        self.parts[part_id] = Part(line, part_id, time.monotonic())
        self._send(line, part_id)

    def __enter__(self) -> Shift:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)
        if error is None and self._failures:
            raise self._failures[0]

    def _work(self, line: str, phase: float) -> None:
        chance = random.Random(f"{line} {self._number}")
        begun = time.monotonic() + phase / self._rate
        try:
            for number in itertools.count():
                due = begun + (number + chance.uniform(0, 0.5)) / self._rate  # else in step with the camera for long
                if self._over.wait(max(0.0, due - time.monotonic())):
                    return
                self.add(line, f"{line}/{self._number}/{number}")
        except BaseException as error:
            self._failures.append(error)


class Plc:
    """Triggers over MQTT, QoS 1."""

    def __init__(self, port: int, user: str, password: str) -> None:
        self._client = _client("plc", port, user, password)
        self._client.max_inflight_messages_set(1000)
        self._client.on_publish = lambda *_: self._count(-1)
        self._client.on_disconnect = lambda *reason: self._lost.append(str(reason[3]))
        self._lost: list[str] = []
        self._lock = threading.Lock()
        self._open = 0

    def trigger(self, line: str, part_id: str, **more: Any) -> None:
        """Triggers a part, with `more` fields in the message; does not wait."""
        self.publish(f"line/{line}/trigger", json.dumps({"part_id": part_id, **more}).encode())

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        """Publishes anything; does not wait."""
        self._count(1)
        self._client.publish(topic, payload, qos, retain)

    def shift(self, lines: Sequence[str], rate: float, **more: Any) -> Shift:
        """Parts at `rate` per second on each line, with `more` fields in each message."""
        return Shift(partial(self.trigger, **more), lines, rate)

    def acknowledged(self, timeout_s: float = 30.0) -> None:
        """Waits until the broker has all that was published."""
        end = time.monotonic() + timeout_s
        while self._open:
            if time.monotonic() > end:
                raise AssertionError(f"{self._open} messages are not acknowledged; connections lost: {self._lost}")
            time.sleep(0.01)

    def _count(self, change: int) -> None:
        with self._lock:
            self._open += change

    def __enter__(self) -> Plc:
        _open(self._client)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@dataclass
class Operator:
    """Triggers from the console, which does not need the broker."""

    socket: Path
    answers: dict[str, str] = field(default_factory=dict)
    """The id of the verdict that was shown, by part_id."""

    def trigger(self, line: str, part_id: str) -> None:
        """Triggers a part and waits for its verdict."""
        found, _ = ask(self.socket, "trigger", {"line": line, "part_id": part_id}, timeout_s=60)
        self.answers[part_id] = found["verdict"]["id"]

    def shift(self, lines: Sequence[str], rate: float) -> Shift:
        """Parts at up to `rate` per second on each line, one after the other."""
        return Shift(self.trigger, lines, rate)


class Monitor:
    """Takes down every verdict, state and reply, over a session that outlasts the connection."""

    def __init__(self, port: int, user: str, password: str) -> None:
        self._client = _client("monitor", port, user, password)
        self._client.on_message = self._hear
        self._verdicts: list[Heard] = []
        self._answered: set[str | None] = set()
        self._states: dict[str, Heard] = {}
        self._replies: list[Heard] = []
        self.subscribed = threading.Event()
        """Set whenever the broker has taken its subscriptions."""
        self.births: dict[str, float] = {}
        """When the service's last connection for a line was made, by line."""

    def verdicts(self) -> list[Heard]:
        """All of them, repeated ones too, as they came."""
        return self._verdicts[:]

    def answered(self) -> set[str | None]:
        """The parts that have a verdict; None where one has none of a trigger."""
        return set(self._answered)

    def state(self, line: str) -> Heard | None:
        """The line's last word on how it is."""
        return self._states.get(line)

    def alarm(self, line: str, code: str) -> str | None:
        """What the line's last word says of an alarm; None: it has no such alarm."""
        said = self._states.get(line)
        alarms = said.message.get("alarms", ()) if said is not None else ()
        return next((str(alarm["message"]) for alarm in alarms if alarm["code"] == code), None)

    def answers(self, part_id: str) -> list[dict[str, Any]]:
        """The different verdicts of a part, as they came."""
        found = (heard.message for heard in self.verdicts() if heard.message.get("part_id") == part_id)
        return list({verdict["id"]: verdict for verdict in found}.values())

    def replies(self, line: str) -> list[dict[str, Any]]:
        """The line's answers to commands, and to triggers that are none, as they came."""
        return [heard.message for heard in self._replies if heard.line == line]

    def __enter__(self) -> Monitor:
        self._client.on_subscribe = lambda *_: self.subscribed.set()
        self._client.on_connect = lambda client, *_: client.subscribe([(topic, 1) for topic in TOPICS])
        _open(self._client)
        if not self.subscribed.wait(10):
            raise AssertionError("no subscription")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _hear(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        at, wall = time.monotonic(), time.time()
        if not message.payload:  # what the broker kept of a line is cleared
            return
        _, line, kind = message.topic.split("/")
        heard = Heard(at, wall, line, json.loads(message.payload))
        if kind == "reply":
            self._replies.append(heard)
        elif kind == "status":
            self._states[line] = heard
            if heard.message["state"] == "starting":
                self.births[line] = at
        else:
            self._verdicts.append(heard)
            self._answered.add(heard.message.get("part_id"))


def _client(name: str, port: int, user: str, password: str) -> Client:
    """A client whose session stays, and that comes back soon."""
    client = Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
    client.username_pw_set(user, password)
    client.reconnect_delay_set(1, 1)
    client.user_data_set(port)
    return client


def _open(client: Client) -> None:
    client.connect("127.0.0.1", client.user_data_get())
    client.loop_start()
