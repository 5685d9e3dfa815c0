"""What comes in over MQTT, and to whom it goes: one way for triggers and commands, live or kept during the start."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from core.printable import shown
from edge.incoming import NO_ID, MessageError
from edge.messages import Fault, ReplyMessage
from edge.ops.alarms import Alarms
from edge.ops.logs import line_log
from edge.storage.verdict_tables import MessageIdentity

REJECTIONS = ("too_large", "retained", "bad_trigger", "bad_command", "unexpected", "unreadable", "too_many", "internal")
"""Why a message is refused."""

_MOST = 4096  # messages that are kept during the start; brokers send fewer before they want a PUBACK


class Origin(Protocol):
    """The connection that brought a message."""

    def acknowledge(self, packet: int, trigger: int | None) -> None:
        """Tells the broker that the message is taken; `trigger`: its number in the database."""


class Voice(Protocol):
    """A line's publisher, as far as replies go."""

    def publish_reply(self, payload: bytes) -> None:
        """Answers on the line's reply topic."""


@dataclass(frozen=True, eq=False)
class InboundMessage:
    """A trigger or command as it came.

    Attributes:
        line: Whose topic it came on.
        kind: Which of its topics.
        payload: As it came.
        received: When, seconds of `edge.clock.monotonic`.
        waited_s: For how long it may have waited at the broker before, at most.
        identity: What tells it from others; None for QoS 0, which comes once or never.
        origin: Where it came from.
    """

    line: str
    kind: Literal["trigger", "command"]
    payload: bytes
    received: float
    waited_s: float
    identity: MessageIdentity | None
    origin: Origin
    _acknowledged: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def acknowledge(self, trigger: int | None = None) -> None:
        """Tells the broker that it is taken, once; any thread may call it, and again."""
        if self.identity is not None and self._acknowledged.acquire(blocking=False):
            self.origin.acknowledge(self.identity.packet, trigger)


class Receiver(Protocol):
    """Takes messages of one kind. Called in network threads: it returns at once."""

    def receive(self, message: InboundMessage) -> None:
        """Takes it, and sees to it that it is acknowledged. Raises MessageError: it is none."""


class Router:
    """Passes messages on; while nobody takes them yet it keeps them, and after `close` it leaves them at the broker."""

    def __init__(self, lines: Iterable[str], alarms: Alarms) -> None:
        """`lines`: their names."""
        self.lines = frozenset(lines)
        self._alarms = alarms
        self._lock = threading.Lock()
        self._receivers: Mapping[str, Receiver] | None = None
        self._voices: Mapping[str, Voice] = {}
        self._kept: deque[InboundMessage | Callable[[], None]] = deque()
        self._closed = False
        self._rejected: dict[str, Counter[str]] = {line: Counter() for line in self.lines}

    def open(self, triggers: Receiver, commands: Receiver, voices: Mapping[str, Voice]) -> None:
        """Passes on what was kept, then what comes, in this order and in the same way."""
        self._voices = voices
        receivers = {"trigger": triggers, "command": commands}
        while True:
            with self._lock:
                if not self._kept:
                    self._receivers = receivers
                    return
                kept = self._kept.popleft()
            if isinstance(kept, InboundMessage):
                self._pass_on(kept, receivers)
            else:
                kept()

    def close(self) -> None:
        """Takes nothing more: what comes is not acknowledged, and so stays at the broker."""
        with self._lock:
            self._closed = True
            self._kept.clear()

    def receive(self, message: InboundMessage) -> None:
        """Takes a message; any thread may call it, and none waits."""
        with self._lock:
            if self._closed:
                return
            receivers, full = self._receivers, len(self._kept) >= _MOST
            if receivers is None and not full:
                self._kept.append(message)
                return
        if receivers is None:  # it was not acknowledged: it may come again
            self.reject(message.line, "too_many", f"a {message.kind} was refused: {_MOST} wait for the start already")
        else:
            self._pass_on(message, receivers)

    def then(self, action: Callable[[], None]) -> None:
        """Calls `action` once all is passed on that has come so far; at once where nothing is kept."""
        with self._lock:
            if self._closed:  # what has come was not passed on, and stays at the broker
                return
            if self._receivers is None:
                self._kept.append(action)
                return
        action()

    def reject(self, line: str, reason: str, message: str) -> None:
        """Counts a message that was refused, and says so."""
        with self._lock:
            self._rejected[line][reason] += 1
        self._alarms.count("messages_refused", message, line, about=reason)

    def rejected(self, line: str) -> dict[str, int]:
        """Messages of a line that were refused since the start, by the reasons of `REJECTIONS`."""
        with self._lock:
            return dict(self._rejected[line])

    def _pass_on(self, message: InboundMessage, receivers: Mapping[str, Receiver]) -> None:
        try:
            receivers[message.kind].receive(message)
        except MessageError as error:
            self._refuse(message, f"bad_{message.kind}", error)
        except Exception as error:
            line_log(__name__, message.line).exception("a %s could not be taken", message.kind)
            internal = MessageError("internal", f"internal error: {type(error).__name__}: {error}", NO_ID)
            self._refuse(message, "internal", internal)

    def _refuse(self, message: InboundMessage, reason: str, error: MessageError) -> None:
        """One that is refused is acknowledged, since it would be refused again."""
        text = shown(error.message)
        self.reject(message.line, reason, f"a {message.kind} was refused: {text}")
        identity = error.id.encode("utf-8", "replace").decode()  # what can be said of it is said as it came
        reply = ReplyMessage(id=identity, refusal=Fault(code=error.code, message=text))
        self._voices[message.line].publish_reply(reply.to_json())
        message.acknowledge()
