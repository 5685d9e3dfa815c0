"""What the service tells systemd: that it is ready, how it is, and, while it makes progress, that it is alive."""

from __future__ import annotations

import faulthandler
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from edge.clock import monotonic
from edge.ops.alarms import Alarms
from edge.ops.redact import redact

log = logging.getLogger(__name__)

_SEND_S = 1.0  # that systemd may be busy; it drops nothing, so that the datagram waits
_STATUS_CHARS = 500  # systemd passes over a message of more than 4096 bytes
_EXTEND_EVERY_S = 10.0
_EXTEND_BY_S = 30.0
_LOOK_S = 5.0  # between two looks where systemd does not ask for any
_LOADING_S = 1800.0  # of a load that takes longer nobody knows whether it will end


class Notifier:
    """A datagram to the socket in `$NOTIFY_SOCKET` for each word; without one, nothing. Any thread may call it.

    What cannot be sent is an alarm until something can be again: systemd itself acts on what it does not hear.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ, alarms: Alarms | None = None) -> None:
        """Raises ValueError for an address that is none of a UNIX socket."""
        address = environment.get("NOTIFY_SOCKET", "")
        if address and address[0] not in "/@":
            raise ValueError(f"NOTIFY_SOCKET = {address}: no path and no abstract name of a socket")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._alarms = alarms or Alarms()
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.settimeout(_SEND_S)

    @property
    def listening(self) -> bool:
        """Whether there is somebody to tell."""
        return bool(self._address)

    def ready(self) -> None:
        """The service has started."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """How it is, for `systemctl status`: one line, without credentials."""
        line = " ".join("".join(character if character.isprintable() else " " for character in redact(text)).split())
        self._send(f"STATUS={line[:_STATUS_CHARS]}")

    def stopping(self) -> None:
        """The service is about to end."""
        self._send("STOPPING=1")

    def extend(self, seconds: float) -> None:
        """Starting, or stopping, may take so many seconds more from now on."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def watchdog(self) -> None:
        """The service is alive."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            self._socket.sendto(message.encode(errors="replace"), self._address)
        except OSError as error:
            self._alarms.raise_("systemd", f"systemd cannot be told anything, nor that the service is well: {error}")
        else:
            self._alarms.clear("systemd")


def watchdog_period(environment: Mapping[str, str] = os.environ) -> float | None:
    """Seconds between two looks: a quarter of what systemd waits. None when its watchdog is not for this process."""
    waits = environment.get("WATCHDOG_USEC", "")
    process = str(os.getpid())
    if not waits.isdecimal() or int(waits) == 0 or environment.get("WATCHDOG_PID", process) != process:
        return None
    return int(waits) / 1e6 / 4


class Watchdog:
    """Looks whether the service is alive, and tells systemd so, where that asks for it, for as long as it is.

    A service that stands still is restarted by systemd. Where that does not do it, the process ends with exit code 70
    as soon as it is hopeless, so that whoever started it may start it anew.
    """

    def __init__(
        self,
        notifier: Notifier,
        stalled: Callable[[], str | None],
        hopeless: Callable[[], str | None] = lambda: None,
        period_s: float | None = None,
        besides: Callable[[], None] = lambda: None,
    ) -> None:
        """Looks every `period_s` seconds, by default as systemd asks for, else every 5 s.

        Args:
            notifier: To systemd.
            stalled: None if all is well, else what stands still, in words. It must not wait long.
            hopeless: None, or what has stood still for so long that the process has to end.
            period_s: Where it is given, systemd is told in any case.
            besides: Called at each look; what it finds is no reason to end. It must not wait long, nor fail.
        """
        asked = watchdog_period() if period_s is None else period_s
        self._notifier = notifier
        self._stalled = stalled
        self._hopeless = hopeless
        self._besides = besides
        self._feeds = asked is not None
        self._period = asked or _LOOK_S
        self._halt = threading.Event()
        self._still = False
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begins to look; systemd counts from READY."""
        self._thread.start()

    def stop(self) -> None:
        """Looks no more. May be called twice, or without a start."""
        self._halt.set()
        if self._thread.is_alive():
            self._thread.join(2 * _SEND_S)

    def _run(self) -> None:
        while True:
            self._look()
            if self._halt.wait(self._period):
                return

    def _look(self) -> None:
        self._besides()
        reason = self._reason()
        if reason is None:
            if self._feeds:
                self._notifier.watchdog()
            if self._still:
                log.warning("the service makes progress again")
        elif not self._still:
            log.critical("the service stands still, and will be ended unless it goes on: %s", reason)
        self._still = reason is not None
        if reason is not None and (hopeless := self._hopeless()) is not None:
            log.critical("the service ends, as it stands still: %s", hopeless)
            faulthandler.dump_traceback(sys.__stderr__ or 2)
            os._exit(os.EX_SOFTWARE)  # a thread that hangs cannot be waited for

    def _reason(self) -> str | None:
        try:
            return self._stalled()
        except Exception as error:  # whoever cannot say that it is well is not
            return f"its progress cannot be told: {type(error).__name__}: {error}"


@contextmanager
def loading(notifier: Notifier, every_s: float = _EXTEND_EVERY_S, limit_s: float = _LOADING_S) -> Iterator[None]:
    """While inside, systemd grants a start more time, every `every_s` seconds and for `limit_s` seconds at most."""
    if not notifier.listening:
        yield
        return
    done = threading.Event()
    until = monotonic() + limit_s

    def extend() -> None:
        while monotonic() < until:
            notifier.extend(_EXTEND_BY_S)
            if done.wait(every_s):
                return

    thread = threading.Thread(target=extend, name="loading", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(2 * _SEND_S)
