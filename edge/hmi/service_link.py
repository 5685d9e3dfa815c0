"""The console's end of the service: asks it in threads, and its state once a second for all browsers together."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.printable import shown
from edge.clock import monotonic
from edge.control.client import NoAnswerError, RefusedError, ask
from edge.control.server import SOCKET
from edge.hmi.command_documents import documents
from edge.hmi.person import Person
from edge.hmi.refusals import Refused
from edge.hmi.roles import COMMAND_ROLES
from edge.ops.lock import CONSOLE_LOCK, is_held
from edge.ops.worker import Worker, Workers

log = logging.getLogger(__name__)

POLL_S = 1.0
"""Seconds between two questions for the state."""
LOST_S = 5.0
"""A service that has not answered for so long is lost, and one that has ended at once."""
QUICK_S = 30.0
"""What takes longer goes to threads of its own, so that it keeps nobody else waiting."""
_QUICK_THREADS, _SLOW_THREADS = 8, 12
_MOST_WAITING = 64  # questions that may be under way or wait for a thread, of each kind
_STATUS_S = 4.0
_LOOK_S = 0.25  # between two looks whether there is a service
_NOBODY = "no service runs there; if it still starts or stops, ask again in a while"


@dataclass(frozen=True)
class Status:
    """What the service said last.

    Attributes:
        result: Of its command `status`.
        at: When it came, in seconds of the monotonic clock.
        lost: Whether it does not answer any more.
    """

    result: dict[str, Any]
    at: float
    lost: bool

    @property
    def age_s(self) -> float:
        """Seconds since it came."""
        return monotonic() - self.at


@dataclass(frozen=True)
class Answer:
    """What a command of the service has resulted in, and the pictures behind it."""

    result: dict[str, Any]
    blobs: Sequence[bytes]


class ServiceLink:
    """Asks the service whose console is in a folder."""

    def __init__(self, folder: Path) -> None:
        """Asks nothing yet."""
        self.folder = folder
        self.workers = Workers()
        """Of the console: its threads, without which it is of no use."""
        self._socket = folder / SOCKET
        self._pools = {
            "quick": ThreadPoolExecutor(_QUICK_THREADS, "ask"),
            "slow": ThreadPoolExecutor(_SLOW_THREADS, "ask-slow"),
        }
        self._waiting = dict.fromkeys(self._pools, 0)
        self._result: dict[str, Any] | None = None
        self._answered = 0.0
        self._asked = 0.0
        self._there = False
        self._refreshing = threading.Lock()
        self._no_answer: str | None = None  # why there was none the last time
        self._polling = Worker(self.workers, "status", self._poll)
        self._listeners: list[Callable[[Status | None], None]] = []

    def start(self) -> None:
        """Asks for the state from now on."""
        self._polling.start()

    def stop(self) -> None:
        """Asks nothing any more; does not wait for answers."""
        self._polling.halt()
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def listen(self, listener: Callable[[Status | None], None]) -> None:
        """Has `listener` called about once a second with the newest state, in a thread of its own."""
        self._listeners.append(listener)

    def status(self) -> Status | None:
        """What the service said last; None: nothing yet."""
        if self._result is None:
            return None
        return Status(self._result, self._answered, lost=not self._there or monotonic() - self._answered > LOST_S)

    async def ask(
        self,
        command: str,
        arguments: dict[str, Any],
        blobs: Sequence[bytes] = (),
        person: Person | None = None,
        timeout_s: float = QUICK_S,
    ) -> Answer:
        """The answer of the service.

        Args:
            command: Of `edge.hmi.roles.COMMAND_ROLES`.
            arguments: What it takes.
            blobs: Pictures that go along.
            person: Who asks. Whether they may is checked here, whichever page it comes from; the audit has the name.
            timeout_s: How long the answer may take.

        Raises:
            Refused: whoever asks may not; the service refuses, is not there, or does not answer in time.
        """
        _check_allowed(command, person)
        kind = "quick" if timeout_s <= QUICK_S else "slow"
        if self._waiting[kind] >= _MOST_WAITING:
            raise Refused(503, "busy", "too much is asked at a time; ask again in a while", {"retry-after": "5"})
        if not self.is_service_there():
            raise Refused(503, "no_service", _NOBODY, {"retry-after": "5"})
        who = None if person is None else person.name
        self._waiting[kind] += 1
        asking = asyncio.get_running_loop().run_in_executor(
            self._pools[kind], lambda: ask(self._socket, command, arguments, blobs, timeout_s, who=who)
        )
        asking.add_done_callback(lambda _: self._done(kind))
        try:
            result, pictures = await asyncio.shield(asking)
        except RefusedError as error:
            raise Refused(_STATUS_OF.get(error.code, 409), error.code, str(error)) from error
        except NoAnswerError as error:
            raise Refused(504, "no_answer", str(error)) from error
        except ValueError as error:  # half a surrogate pair, or nested too deeply
            raise Refused(422, "bad_arguments", "the arguments cannot be written as JSON") from error
        if documents()[command].changes:  # whoever has changed something sees what came of it
            await asyncio.get_running_loop().run_in_executor(self._pools["quick"], self._refresh)
        return Answer(result, pictures)

    async def refresh(self) -> None:
        """Asks for the state now: what comes next is to show what was just changed."""
        answer = await self.ask("status", {})
        self._result, self._answered = answer.result, monotonic()

    def is_service_there(self) -> bool:
        """Whether a service runs there. A socket alone may be what a killed one has left."""
        return is_held(self.folder / CONSOLE_LOCK)

    def _done(self, kind: str) -> None:
        self._waiting[kind] -= 1

    def _poll(self) -> float | None:
        if self._polling.stopping:
            return None
        there, before = self.is_service_there(), self._there
        self._there = there
        gone = before and not there
        if gone:
            log.warning("the service at %s is gone", self.folder)
        if not gone and monotonic() - self._asked < POLL_S:
            return _LOOK_S
        self._asked = monotonic()
        if not there:  # which is told again and again: a page takes silence for a lost connection
            self._tell()
            return _LOOK_S
        self._refresh()
        return _LOOK_S

    def _refresh(self) -> None:
        """Asks for the state now; one question at a time, so that no older answer takes the place of a newer one."""
        with self._refreshing:
            try:
                self._result, _ = ask(self._socket, "status", {}, timeout_s=_STATUS_S)
                self._answered, self._no_answer = monotonic(), None
            except (NoAnswerError, RefusedError) as error:
                if str(error) != self._no_answer:  # it is asked again and again
                    log.warning("the service does not say how it is: %s", error)
                self._no_answer = str(error)
        self._tell()

    def _tell(self) -> None:
        status = self.status()
        for listener in self._listeners:
            listener(status)


def _check_allowed(command: str, person: Person | None) -> None:
    role = COMMAND_ROLES.get(command)
    if role is None:
        raise Refused(404, "unknown_command", "the console does not pass such a command on")
    if person is not None and not person.may(role):
        log.warning("refused %s to %s: it takes %s", command, shown(person.name), role)
        raise Refused(403, "not_allowed", f"{person.name} may {person.role}; this takes the role {role}")


_STATUS_OF = {
    "bad_arguments": 422,
    "bad_request": 400,
    "busy": 503,
    "failed": 500,
    "stopping": 503,
    "timed_out": 504,
    "too_large": 413,
    "unknown_command": 404,
}
"""What HTTP calls the service's refusals; others contradict what there is: 409."""
