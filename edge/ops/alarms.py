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
Component = Literal["camera", "disk", "broker", "delivery", "judging", "drift", "service"]
"""What a line depends on. What explains others stands before them."""

REPEAT_S = 60.0
"""An event that repeats is logged once in so many seconds, with a count; its alarm ends so long after the last one."""


@dataclass(frozen=True)
class AlarmKind:
    """What an alarm means.

    Attributes:
        severity: `fault`: the line does not judge, or nobody hears what it judges; its state is `fault`. `warning`: it
            does, something else is amiss.
        help: For people, one sentence.
        component: What of the line's it concerns.
        remedy: What to do about it, where the alarm itself says nothing nearer.
    """

    severity: Severity
    help: str
    component: Component = "service"
    remedy: str = ""


ALARMS = {
    "camera": AlarmKind(
        "fault",
        "The camera gives no frames, or frames that are not to be judged.",
        "camera",
        "check the camera's power, cable, light and focus; `alfa-edge doctor --config FILE` looks through it",
    ),
    "camera_reader": AlarmKind(
        "warning",
        "What reads the camera's video does not tell which frames were damaged on the way.",
        "camera",
        "install the extra av (in a checkout: `pip install '.[av]'`), and start the service anew",
    ),
    "state_disk": AlarmKind(
        "fault",
        "The disk of the state takes no verdicts, or is too slow for the deadline.",
        "disk",
        "make room on the disk of service.state_dir, or replace it (dmesg names a faulty one)",
    ),
    "state_lost": AlarmKind(
        "fault",
        "A database of the state was deleted, moved, replaced or overwritten while it was open.",
        "disk",
        "put it back, or start the service anew; or stop it, and `alfa-edge restore FOLDER`",
    ),
    "history": AlarmKind(
        "warning",
        "Verdicts that were issued are not in the history: its database is an older one.",
        "disk",
        "put the right verdicts.db back while the service is stopped; or leave it, if those verdicts may be missing",
    ),
    "journal": AlarmKind(
        "warning",
        "Answers that are given without the disk are kept in memory only.",
        "disk",
        "make service.runtime_dir writable for the service",
    ),
    "archive": AlarmKind(
        "warning", "The archive takes no pictures.", "disk", "make archive.dir writable, with room on its disk"
    ),
    "archive_files": AlarmKind(
        "warning", "Files of the archive cannot be deleted.", "disk", "give the files to the user of the service"
    ),
    "line_settings": AlarmKind(
        "warning",
        "What was set on the line is not on disk, so that a restart would undo it.",
        "disk",
        "make room on the disk of service.state_dir, then set it again",
    ),
    "audit": AlarmKind(
        "warning",
        "What was done could not be written to the audit.",
        "disk",
        "make room on the disk of service.state_dir",
    ),
    "broker": AlarmKind(
        "warning",
        "The line has no connection to the broker.",
        "broker",
        "start the broker, or check mqtt.host, mqtt.port and the network; verdicts wait on disk",
    ),
    "broker_topic": AlarmKind(
        "warning",
        "The broker refuses a topic of the line.",
        "broker",
        "let the user of mqtt.username write and read the line's topics in the broker's access control",
    ),
    "broker_packet_size": AlarmKind(
        "warning",
        "The broker takes no messages as large as some that the line has.",
        "broker",
        "raise the broker's limit of packets, or set mqtt.max_packet_kb",
    ),
    "broker_losses": AlarmKind(
        "warning",
        "The broker ends the connection again and again soon after it is made.",
        "broker",
        "give each box its own service.node, and each line's client a user of its own",
    ),
    "broker_takeover": AlarmKind(
        "warning",
        "Another client took the line's id at the broker in the last minute.",
        "broker",
        "find the other client in the broker's log, and give it an id of its own",
    ),
    "broker_session": AlarmKind(
        "warning",
        "Triggers may have been lost: the broker has not kept the line's session, or another client took it. "
        "It is said for 8 hours.",
        "broker",
        "send those again that have no answer; see that no other client has the line's id, and that the broker keeps "
        "sessions",
    ),
    "broker_version": AlarmKind(
        "warning",
        "The broker speaks no MQTT 5, so the line uses 3.1.1.",
        "broker",
        "use a broker of MQTT 5, or set mqtt.version = '3.1.1'",
    ),
    "broker_order": AlarmKind(
        "warning",
        "Old triggers cannot be told from new ones.",
        "broker",
        "let the service write and read `line/<line>/trigger/sync`",
    ),
    "messages_refused": AlarmKind(
        "warning",
        "Triggers or commands were refused in the last minute.",
        "broker",
        "mend what sends them; the log and `line/<line>/reply` say what is wrong with each",
    ),
    "verdicts_refused": AlarmKind(
        "fault",
        "The broker refuses the line's verdicts, so that nobody hears them.",
        "delivery",
        "let the user of mqtt.username write `line/<line>/anomaly` in the broker's access control",
    ),
    "outbox": AlarmKind(
        "warning",
        "Verdicts that wait for the broker cannot be read or are dropped.",
        "delivery",
        "bring the broker back, or raise history.outbox_limit and history.outbox_days",
    ),
    "heatmaps": AlarmKind(
        "warning", "Heatmaps could not be made.", "delivery", "report it with the log; heatmap.enabled = false ends it"
    ),
    "feed": AlarmKind(
        "warning",
        "The live feed of the console cannot show pictures, or has ended. The lines judge as before.",
        "service",
        "report it with the log, and restart the service",
    ),
    "judging": AlarmKind(
        "fault",
        "The last parts were all answered `error`.",
        "judging",
        "mend what the reason names, then show the line a part",
    ),
    "errors": AlarmKind(
        "warning", "Parts were answered `error` in the last minute.", "judging", "mend what the reason names"
    ),
    "internal": AlarmKind(
        "warning",
        "A part was answered `internal`: a fault of the program; please report it.",
        "judging",
        "report it with the log",
    ),
    "clock_skew": AlarmKind(
        "warning",
        "The clock of whoever sends triggers and the clock here differ.",
        "judging",
        "set both clocks by NTP, or set mqtt.compensate_sender_clock = true",
    ),
    "uncalibrated": AlarmKind(
        "warning",
        "The line's verdicts are provisional, or it asks something of people.",
        "judging",
        "show it good parts with `alfa-edge learn`, or with `alfa-edge calibrate` where it has shots",
    ),
    "review": AlarmKind(
        "warning",
        "More parts wait for a person's review than may.",
        "judging",
        "look at them (`alfa-edge review list`), or bring the borders nearer to each other (`alfa-edge review set`)",
    ),
    "recipe": AlarmKind(
        "fault",
        "The recipe that the line is to judge by cannot be made ready.",
        "judging",
        "mend what the reason names, or set another one with `alfa-edge recipe set`",
    ),
    "shadow": AlarmKind(
        "warning",
        "The line's shadow judges no parts; the line does.",
        "judging",
        "mend what the reason names, or end the shadow with `alfa-edge shadow stop`",
    ),
    "drift": AlarmKind(
        "warning",
        "The line has left what its calibration promised.",
        "drift",
        "look at camera, light and parts; then calibrate anew",
    ),
    "commands": AlarmKind(
        "warning",
        "Commands have taken longer than they may, and hang.",
        "service",
        "see the log for what hangs: a disk, a device, a broker; then restart the service",
    ),
    "priority": AlarmKind(
        "warning",
        "A thread could not be given a lower priority.",
        "service",
        "start the service without a limit on its priorities",
    ),
    "metrics": AlarmKind(
        "warning", "Some figures for Prometheus cannot be read.", "service", "mend what the reason names"
    ),
    "descriptors": AlarmKind(
        "warning",
        "The process is short of descriptors, and ends when there are none left.",
        "service",
        "see whose they are (`ls -l /proc/PID/fd`), end that, or restart the service",
    ),
    "systemd": AlarmKind(
        "warning",
        "systemd cannot be told how the service is.",
        "service",
        "start the service by its unit, with NotifyAccess=main",
    ),
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
        remedy: What to do about it, in this case or, where that is not known, in general.
    """

    code: str
    message: str
    since: datetime
    line: str | None = None
    count: int = 1
    about: str = ""
    remedy: str = ""

    @property
    def severity(self) -> Severity:
        """As of its kind."""
        return ALARMS[self.code].severity

    @property
    def component(self) -> Component:
        """As of its kind."""
        return ALARMS[self.code].component


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

    def raise_(
        self, code: str, message: str, line: str | None = None, about: str = "", remedy: str | None = None
    ) -> None:
        """Something is wrong and lasts until `clear`; said again with another message, it is the same alarm.

        `remedy`: what to do; None: as of its kind.
        """
        key, message, remedy = (code, line, about), shown(message), remedy or ALARMS[code].remedy
        with self._lock:
            before = self._alarms.get(key)
            if before is not None and before.message == message:
                return
            since = utc_now() if before is None else before.since
            self._alarms[key] = Alarm(code, message, since, line, about=about, remedy=remedy)
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

    def set(
        self,
        code: str,
        message: str | None,
        line: str | None = None,
        about: str = "",
        remedy: str | None = None,
    ) -> None:
        """`raise_` with a message, `clear` with None."""
        if message is None:
            self.clear(code, line, about)
        else:
            self.raise_(code, message, line, about, remedy)

    def count(self, code: str, message: str, line: str | None = None, about: str = "") -> None:
        """Something has happened. The log has the first at once, then one record in `REPEAT_S` with a count."""
        key, now, message = (code, line, about), monotonic(), shown(message)
        with self._lock:
            self._expire(now)
            before, event = self._alarms.get(key), self._events.get(key)
            if before is None or event is None:
                self._alarms[key] = Alarm(code, message, utc_now(), line, about=about, remedy=ALARMS[code].remedy)
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
