"""What is wrong now: one list, which log, status, stats, metrics and console read."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from core.printable import shown
from edge.clock import monotonic, utc_now
from edge.ops.logs import line_log

Severity = Literal["fault", "warning"]

REPEAT_S = 60.0
"""An event that repeats is logged once in so many seconds, with a count; its alarm ends so long after the last one."""


@dataclass(frozen=True)
class AlarmKind:
    """What an alarm means.

    Attributes:
        severity: `fault`: the line does not judge, its state is `fault`. `warning`: it judges, something else is amiss.
        help: For people, one sentence.
    """

    severity: Severity
    help: str


ALARMS = {
    "state_disk": AlarmKind("fault", "The disk of the state takes no verdicts, or is too slow for the deadline."),
    "journal": AlarmKind("warning", "Answers that are given without the disk are kept in memory only."),
    "internal": AlarmKind("warning", "A part was answered `internal`: a fault of the program; please report it."),
    "camera": AlarmKind("fault", "The camera gives no frames, or frames that are not to be judged."),
    "clock_skew": AlarmKind("warning", "The clock of whoever sends triggers and the clock here differ."),
    "messages_refused": AlarmKind("warning", "Triggers or commands were refused in the last minute."),
    "errors": AlarmKind("warning", "Parts were answered `error` in the last minute."),
    "broker": AlarmKind("warning", "The line has no connection to the broker."),
    "broker_topic": AlarmKind("warning", "The broker refuses a topic of the line."),
    "broker_packet_size": AlarmKind("warning", "The broker takes no messages as large as some that the line has."),
    "broker_losses": AlarmKind("warning", "The broker ends the connection again and again soon after it is made."),
    "broker_version": AlarmKind("warning", "The broker speaks no MQTT 5, so the line uses 3.1.1."),
    "broker_order": AlarmKind("warning", "Old triggers cannot be told from new ones."),
    "outbox": AlarmKind("warning", "Verdicts that wait for the broker cannot be read or are dropped."),
    "heatmaps": AlarmKind("warning", "Heatmaps could not be made."),
    "archive": AlarmKind("warning", "The archive takes no pictures."),
    "archive_files": AlarmKind("warning", "Files of the archive cannot be deleted."),
    "drift": AlarmKind("warning", "The line has left what its calibration promised."),
    "uncalibrated": AlarmKind("warning", "The line's verdicts are provisional, or it asks something of people."),
    "priority": AlarmKind("warning", "A thread could not be given a lower priority."),
    "line_settings": AlarmKind("warning", "What was set on the line is not on disk, so that a restart would undo it."),
    "commands": AlarmKind("warning", "Commands have taken longer than they may, and hang."),
    "audit": AlarmKind("warning", "What was done could not be written to the audit."),
    "metrics": AlarmKind("warning", "Some figures for Prometheus cannot be read."),
    "systemd": AlarmKind("warning", "systemd cannot be told how the service is."),
}
"""Every alarm by its code."""


@dataclass(frozen=True)
class Alarm:
    """One thing that is wrong.

    Attributes:
        code: A key of `ALARMS`.
        line: Whose it is; None: the whole service's.
        message: What is wrong and what to do; without credentials.
        since: When it began, UTC.
        count: How often it happened since then, of what happens rather than lasts.
        about: Tells apart several of one code and line, for instance the topic.
    """

    code: str
    message: str
    since: datetime
    line: str | None = None
    count: int = 1
    about: str = ""

    @property
    def severity(self) -> Severity:
        """As of its kind."""
        return ALARMS[self.code].severity


@dataclass
class _Event:
    """When an event was last logged and last happened, and how often it happened since the log said so."""

    logged: float
    last: float
    silent: int = 0


class Alarms:
    """The list. Any thread may call it; nothing in it waits.

    A condition is `raise_` d and `clear` ed by who knows it, as often as they look: the log says only what changes.
    Events are `count` ed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._alarms: dict[tuple[str, str | None, str], Alarm] = {}
        self._events: dict[tuple[str, str | None, str], _Event] = {}
        self._listeners: list[Callable[[str | None], None]] = []

    def listen(self, listener: Callable[[str | None], None]) -> None:
        """Has `listener` called with the line, None for the whole service, after each change; in any thread."""
        self._listeners.append(listener)

    def raise_(self, code: str, message: str, line: str | None = None, about: str = "") -> None:
        """Something is wrong and lasts until `clear`; said again with another message, it is the same alarm."""
        key, message = (code, line, about), shown(message)
        with self._lock:
            before = self._alarms.get(key)
            if before is not None and before.message == message:
                return
            since = utc_now() if before is None else before.since
            self._alarms[key] = Alarm(code, message, since, line, about=about)
        self._log(line, ALARMS[code].severity, message)
        self._tell(line)

    def clear(self, code: str, line: str | None = None, about: str | None = None) -> None:
        """It is over; None: all of this code and line."""
        with self._lock:
            keys = [key for key in self._alarms if key[:2] == (code, line) and (about is None or key[2] == about)]
            gone = [self._alarms.pop(key) for key in keys]
            for key in keys:
                self._events.pop(key, None)
        for alarm in gone:
            line_log(__name__, line).info("over: %s", alarm.message)
        if gone:
            self._tell(line)

    def set(self, code: str, message: str | None, line: str | None = None, about: str = "") -> None:
        """`raise_` with a message, `clear` with None."""
        if message is None:
            self.clear(code, line, about)
        else:
            self.raise_(code, message, line, about)

    def count(self, code: str, message: str, line: str | None = None, about: str = "") -> None:
        """Something has happened. The log has the first at once, then one record in `REPEAT_S` with a count."""
        key, now, message = (code, line, about), monotonic(), shown(message)
        with self._lock:
            self._expire(now)
            before, event = self._alarms.get(key), self._events.get(key)
            if before is None or event is None:
                self._alarms[key] = Alarm(code, message, utc_now(), line, about=about)
                self._events[key], times = _Event(now, now), 1
            else:
                self._alarms[key] = replace(before, count=before.count + 1)
                event.last = now
                event.silent += 1
                if now - event.logged < REPEAT_S:
                    return  # nor does the alarm's message change with each of them
                self._alarms[key] = replace(self._alarms[key], message=message)
                event.logged, times, event.silent = now, event.silent, 0
        self._log(
            line, ALARMS[code].severity, message if times == 1 else f"{message} ({times} times in {REPEAT_S:g} s)"
        )
        self._tell(line)

    def of(self, line: str | None) -> list[Alarm]:
        """The line's and the whole service's alarms; faults first, then the oldest."""
        with self._lock:
            self._expire(monotonic())
            found = [alarm for alarm in self._alarms.values() if alarm.line in (None, line)]
        return sorted(found, key=lambda alarm: (alarm.severity != "fault", alarm.since))

    def every(self) -> list[Alarm]:
        """All alarms of all lines."""
        with self._lock:
            self._expire(monotonic())
            return list(self._alarms.values())

    def _expire(self, now: float) -> None:
        """Ends the alarms of events that have not happened for a while; `_lock` is held."""
        for key, event in tuple(self._events.items()):
            if now - event.last >= REPEAT_S:
                del self._events[key]
                self._alarms.pop(key, None)

    def _log(self, line: str | None, severity: Severity, message: str) -> None:
        level = logging.ERROR if severity == "fault" else logging.WARNING
        line_log(__name__, line).log(level, "%s", message)

    def _tell(self, line: str | None) -> None:
        for listener in tuple(self._listeners):
            listener(line)
