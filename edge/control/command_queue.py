"""The threads that do commands: quick ones never stand behind long ones, and those of one sender keep their order."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from edge.control.protocol import MAX_BYTES, Refusal, Reply, Request
from edge.ops.logs import line_log

log = logging.getLogger(__name__)

_QUICK_THREADS = 2
_LONG_THREADS = 16  # each line's people may wait for its parts; a thread is made when it is needed
_WAITING = 64  # commands that may wait or be done at a time
_WAITING_OF_SENDER = 8
_WAITING_BYTES = 4 * MAX_BYTES  # of pictures sent along

Answer = Callable[[Request, Sequence[bytes]], tuple[Reply, Sequence[bytes]]]
Send = Callable[[Reply, Sequence[bytes]], None]
"""Sends a reply and its pictures; called in any thread."""


@dataclass(frozen=True, eq=False)
class _Job:
    request: Request
    blobs: Sequence[bytes]
    send: Send

    @property
    def size(self) -> int:
        return sum(map(len, self.blobs))


class CommandQueue:
    """Has commands done by `answer`, each of which is replied to exactly once. Any thread may submit.

    Commands of one sender are done one after the other; its quick ones only wait for each other. Commands that name
    no sender are done side by side.
    """

    def __init__(self, answer: Answer, is_quick: Callable[[str], bool] = lambda _command: False) -> None:
        """Starts nothing yet.

        Args:
            answer: Does a command; an exception becomes the refusal `failed`.
            is_quick: Whether the command of a name waits for nothing.
        """
        self._answer = answer
        self._is_quick = is_quick
        self._quick = ThreadPoolExecutor(_QUICK_THREADS, "commands-quick")
        self._long = ThreadPoolExecutor(_LONG_THREADS, "commands")
        self._lock = threading.Lock()  # guards what follows
        self._jobs: dict[Hashable, deque[_Job]] = {}  # by sender and kind; the first of each is being done
        self._count = self._bytes = 0
        self._stopped = False

    def submit(self, request: Request, blobs: Sequence[bytes], send: Send, sender: Hashable | None = None) -> None:
        """Has a command done; returns at once. Where too much waits already, the reply is the refusal `busy`.

        Args:
            request: The command.
            blobs: What was sent along.
            send: Gets the reply.
            sender: Whose commands keep their order; None: this one keeps none.
        """
        job, quick = _Job(request, blobs, send), self._is_quick(request.command)
        key = (quick, object() if sender is None else sender)
        with self._lock:
            refusal = self._refusal(job, key)
            if refusal is None:
                self._count += 1
                self._bytes += job.size
                jobs = self._jobs.setdefault(key, deque())
                jobs.append(job)
                if len(jobs) == 1:
                    (self._quick if quick else self._long).submit(self._work, key)
        if refusal is not None:
            send(Reply(id=request.id, refusal=refusal), ())

    def stop(self) -> None:
        """Refuses what waits and what comes, and returns when what is being done is done."""
        with self._lock:
            self._stopped = True
        self._quick.shutdown()
        self._long.shutdown()

    def _refusal(self, job: _Job, key: Hashable) -> Refusal | None:
        """Why a command is refused at once; `_lock` is held."""
        if self._stopped:
            return _stopping()
        if self._count >= _WAITING or len(self._jobs.get(key, ())) >= _WAITING_OF_SENDER:
            return Refusal(code="busy", message=f"{self._count} commands wait already; ask again later")
        if self._bytes and self._bytes + job.size > _WAITING_BYTES:
            message = f"commands with {self._bytes >> 20} MiB of pictures wait already; ask again later"
            return Refusal(code="busy", message=message)
        return None

    def _work(self, key: Hashable) -> None:
        """Does the commands of one sender, until none is left."""
        jobs = self._jobs[key]
        while jobs:
            job = jobs[0]
            try:
                job.send(*self._do(job))
            except Exception:  # the next one has to be done all the same
                log.exception("the reply to %s cannot be sent", job.request.command)
            with self._lock:
                jobs.popleft()
                self._count -= 1
                self._bytes -= job.size
                if not jobs:
                    del self._jobs[key]

    def _do(self, job: _Job) -> tuple[Reply, Sequence[bytes]]:
        if self._stopped:
            return Reply(id=job.request.id, refusal=_stopping()), ()
        try:
            return self._answer(job.request, job.blobs)
        except Exception as error:  # who asked is told; a command must not take its thread with it
            line = job.request.arguments.get("line")
            line_log(__name__, line if isinstance(line, str) else None).exception("command %s", job.request.command)
            message = f"{type(error).__name__}: {error}"
            return Reply(id=job.request.id, refusal=Refusal(code="failed", message=message)), ()


def _stopping() -> Refusal:
    return Refusal(code="stopping", message="the service is stopping")
