"""The threads that do commands: quick ones never stand behind long ones, and those of one sender keep their order."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from edge.clock import monotonic
from edge.control.protocol import MAX_BYTES, Refusal, Reply, Request
from edge.ops.alarms import Alarms
from edge.ops.logs import line_log
from edge.ops.worker import Worker, Workers

log = logging.getLogger(__name__)

LIMIT_S = 60.0
"""How long a command may take, where nothing else is said of it, seconds."""
STOP_S = 2.0
"""How long commands at work are waited for at the end, seconds."""

_QUICK_THREADS = 2
_LONG_THREADS = 16  # each line's people may wait for its parts; a thread is made when it is needed
_WAITING = 64  # commands that may wait or be done at a time
_WAITING_OF_SENDER = 8
_WAITING_BYTES = 4 * MAX_BYTES  # of pictures sent along
_HANGING = 16  # beyond so many that hang no other one is begun: each has a thread

Answer = Callable[[Request, Sequence[bytes]], tuple[Reply, Sequence[bytes]]]
Send = Callable[[Reply, Sequence[bytes]], None]
"""Sends a reply and its pictures; called in any thread."""
_Key = tuple[bool, Hashable]  # whether it is quick, and of whom


@dataclass(eq=False)
class _Job:
    """A command; its last two fields are guarded by the queue's lock.

    Attributes:
        due: When it has to be answered, seconds of `edge.clock.monotonic`; None: it has not begun.
        answered: Whether somebody has sent its reply, or is about to.
    """

    request: Request
    blobs: Sequence[bytes]
    send: Send
    key: _Key
    limit_s: float
    due: float | None = None
    answered: bool = False

    @property
    def size(self) -> int:
        return sum(map(len, self.blobs))

    @property
    def line(self) -> str | None:
        """Which one it is about, if it says so."""
        line = self.request.arguments.get("line")
        return line if isinstance(line, str) else None


class CommandQueue:
    """Has commands done by `answer`, each of which is replied to exactly once. Any thread may submit.

    Commands of one sender are done one after the other; its quick ones only wait for each other. Commands that name
    no sender are done side by side. One that takes longer than it may is answered `timed_out`, and the next one of its
    sender is begun; it is left behind in its thread, which nothing can end.
    """

    def __init__(
        self,
        answer: Answer,
        is_quick: Callable[[str], bool] = lambda _command: False,
        limit_s: Callable[[Request], float] = lambda _request: LIMIT_S,
        alarms: Alarms | None = None,
        workers: Workers | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            answer: Does a command; an exception becomes the refusal `failed`.
            is_quick: Whether the command of a name waits for nothing.
            limit_s: How long a command may take, from when it is begun.
            alarms: Where it is said that commands hang.
            workers: Watches the thread that minds the limits.
        """
        self._answer = answer
        self._is_quick = is_quick
        self._limit_s = limit_s
        self._alarms = alarms or Alarms()
        self._clock = Worker(workers, "commands-clock", self._look)
        self._lock = threading.Lock()  # guards what follows
        self._changed = threading.Condition(self._lock)
        self._jobs: dict[_Key, deque[_Job]] = {}  # the first of each is being done, or is the next to be begun
        self._ready: dict[bool, deque[_Key]] = {True: deque(), False: deque()}  # senders who wait for a thread
        self._threads = {True: 0, False: 0}
        self._hanging: list[_Job] = []
        self._count = self._bytes = 0
        self._started = self._stopped = False

    def submit(self, request: Request, blobs: Sequence[bytes], send: Send, sender: Hashable | None = None) -> None:
        """Has a command done; returns at once. Where too much waits already, the reply is the refusal `busy`.

        Args:
            request: The command.
            blobs: What was sent along.
            send: Gets the reply.
            sender: Whose commands keep their order; None: this one keeps none.
        """
        quick = self._is_quick(request.command)
        key = (quick, object() if sender is None else sender)
        job = _Job(request, blobs, send, key, self._limit_s(request))
        with self._lock:
            refusal = self._refusal(job)
            if refusal is None:
                self._count += 1
                self._bytes += job.size
                jobs = self._jobs.setdefault(job.key, deque())
                jobs.append(job)
                if len(jobs) == 1:
                    self._ready[quick].append(key)
                    self._hire(quick)
        if refusal is not None:
            send(Reply(id=request.id, refusal=refusal), ())

    def stop(self, timeout_s: float = STOP_S) -> None:
        """Refuses what waits and what comes, and returns when what is being done is done; what takes longer than
        `timeout_s` seconds is left behind.
        """
        with self._lock:
            self._stopped = True
            started = self._started
            self._changed.wait_for(lambda: not self._jobs, timeout_s)
            left = [job for jobs in self._jobs.values() for job in jobs if not job.answered]
            for job in left:
                job.answered = True
        if started:
            self._clock.stop(timeout_s)
        for job in left:
            name = job.request.command
            line_log(__name__, job.line).warning("%s has not ended, and is left behind", name)
            self._send(job, _cut_short(job), ())

    def _refusal(self, job: _Job) -> Refusal | None:
        """Why a command is refused at once; `_lock` is held."""
        if self._stopped:
            return _stopping()
        if len(self._hanging) >= _HANGING and not job.key[0]:
            message = f"{len(self._hanging)} commands hang; the service has to be started anew"
            return Refusal(code="busy", message=message)
        if self._count >= _WAITING or len(self._jobs.get(job.key, ())) >= _WAITING_OF_SENDER:
            return Refusal(code="busy", message=f"{self._count} commands wait already; ask again later")
        if self._bytes and self._bytes + job.size > _WAITING_BYTES:
            message = f"commands with {self._bytes >> 20} MiB of pictures wait already; ask again later"
            return Refusal(code="busy", message=message)
        return None

    def _hire(self, quick: bool) -> None:
        """One more thread, unless there are enough; `_lock` is held."""
        if self._threads[quick] < (_QUICK_THREADS if quick else _LONG_THREADS):
            self._threads[quick] += 1
            name = "commands-quick" if quick else "commands"
            # A daemon, as an ordinary end of Python would wait for one that hangs.
            threading.Thread(target=self._work, args=(quick,), name=name, daemon=True).start()
        if not self._started:
            self._started = True
            self._clock.start()

    def _work(self, quick: bool) -> None:
        """Does commands until none waits for a thread, or one of them has taken too long."""
        while (job := self._next(quick)) is not None:
            reply = self._do(job)
            with self._lock:
                late, job.answered = job.answered, True
                hung = job in self._hanging
                if hung:
                    self._hanging.remove(job)
            if hung:
                line_log(__name__, job.line).warning("%s has ended at last", job.request.command)
                self._clock.wake()
            if late:  # another thread has its place
                return
            self._send(job, *reply)
            with self._lock:
                self._done(job)  # the next one is done by this thread, or by one that is free before

    def _next(self, quick: bool) -> _Job | None:
        with self._lock:
            if not self._ready[quick]:
                self._threads[quick] -= 1
                return None
            job = self._jobs[self._ready[quick].popleft()][0]
            job.due = monotonic() + job.limit_s
        self._clock.wake()
        return job

    def _done(self, job: _Job) -> None:
        """The next command of the sender is ready; `_lock` is held."""
        jobs = self._jobs[job.key]
        jobs.popleft()
        self._count -= 1
        self._bytes -= job.size
        if jobs:
            self._ready[job.key[0]].append(job.key)
        else:
            del self._jobs[job.key]
            self._changed.notify_all()

    def _look(self) -> float | None:
        """Gives up what has taken longer than it may, in the thread of the clock; the seconds until it looks again."""
        now = monotonic()
        late = []
        with self._lock:
            begun = [job for jobs in self._jobs.values() if (job := jobs[0]).due is not None and not job.answered]
            for job in begun:
                if job.due is not None and job.due <= now:
                    job.answered = True
                    self._hanging.append(job)
                    self._threads[job.key[0]] -= 1  # its thread is no use to others
                    late.append(job)
            soonest = min((job.due for job in begun if job.due is not None and job.due > now), default=None)
            hanging = [job.request.command for job in self._hanging]
        for job in late:
            command = job.request.command
            words = f"{command} has taken more than {job.limit_s:g} s; it may still be done, the audit then says so"
            line_log(__name__, job.line).error("%s", words)
            self._send(job, _refused(job, "timed_out", words), ())
            with self._lock:
                self._done(job)
                self._hire(job.key[0])
        self._alarms.set(
            "commands", f"commands hang: {', '.join(hanging)}; is a disk or a server gone?" if hanging else None
        )
        return None if soonest is None or self._stopped else max(0.0, soonest - monotonic())

    def _send(self, job: _Job, reply: Reply, blobs: Sequence[bytes]) -> None:
        try:
            job.send(reply, blobs)
        except Exception:  # the next one has to be done all the same
            line_log(__name__, job.line).exception("the reply to %s cannot be sent", job.request.command)

    def _do(self, job: _Job) -> tuple[Reply, Sequence[bytes]]:
        if self._stopped:
            return Reply(id=job.request.id, refusal=_stopping()), ()
        try:
            return self._answer(job.request, job.blobs)
        except Exception as error:  # who asked is told; a command must not take its thread with it
            if self._stopped:  # what it works with has ended under it
                line_log(__name__, job.line).warning("%s was cut short by the end: %s", job.request.command, error)
                return _cut_short(job), ()
            line_log(__name__, job.line).exception("command %s", job.request.command)
            return _refused(job, "failed", f"{type(error).__name__}: {error}"), ()


def _refused(job: _Job, code: str, message: str) -> Reply:
    return Reply(id=job.request.id, refusal=Refusal(code=code, message=message))


def _cut_short(job: _Job) -> Reply:
    return _refused(job, "stopping", f"the service is stopping; {job.request.command} may be done in part")


def _stopping() -> Refusal:
    return Refusal(code="stopping", message="the service is stopping")
