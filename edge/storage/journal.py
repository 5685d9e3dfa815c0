"""Answers that were given without the disk, in a file that outlives the process.

It lies in the runtime directory, in the machine's memory, which systemd keeps over a restart of the service
(`RuntimeDirectoryPreserve`). Nothing waits for it: what is written outlives `kill -9`, though no power cut.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from core import files
from core.database import DatabaseError
from edge.messages import Verdict
from edge.storage.line_number import LineNumber

T = TypeVar("T")

FILE = "answers.journal"

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class JournalAnswer:
    """A verdict that was given without the disk.

    Attributes:
        verdict: As it was given.
        trigger: The number of its trigger in the database, where the disk has taken that.
        message: Names the message that brought the trigger, see `MessageIdentity.name`; None: none did.
    """

    verdict: Verdict
    trigger: int | None
    message: str | None


@dataclass(frozen=True)
class JournalContents:
    """What an earlier process has left."""

    answers: tuple[JournalAnswer, ...] = ()
    sessions: dict[str, str] = field(default_factory=dict)
    """By line, the name of its session at the broker."""


class Journal:
    """Any thread may call it; methods that write raise OSError where the file cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._sessions: dict[str, str] = {}
        self.answers = 0
        """Answers in the file."""

    def read(self) -> JournalContents:
        """What is in the file; a record that a kill has cut short is passed over.

        Raises:
            DatabaseError: it cannot be read.
        """
        answers: list[JournalAnswer] = []
        for line in self._lines():
            try:
                record: dict[str, Any] = json.loads(line)
                if "session" in record:
                    self._sessions[str(record["line"])] = str(record["session"])
                else:
                    verdict = Verdict.model_validate_json(record["verdict"])
                    LineNumber(verdict.generation, verdict.seq)
                    answers.append(
                        JournalAnswer(verdict, _or_none(record["trigger"], int), _or_none(record["message"], str))
                    )
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
        self.answers = len(answers)
        return JournalContents(tuple(answers), dict(self._sessions))

    def _lines(self) -> list[bytes]:
        try:
            if not self.path.exists():
                return []
            if not self.path.is_file():  # to open a pipe may wait for ever
                raise OSError("something else than a file is in its place")
            return self.path.read_bytes().split(b"\n")
        except OSError as error:
            text = f"{error.strerror or error}; check who put it there, and move it elsewhere"
            raise DatabaseError(f"{self.path}: {text}") from error

    def add_answer(self, answer: JournalAnswer) -> None:
        """Notes an answer, before it is given."""
        with self._lock:
            self.answers += 1
            payload = answer.verdict.to_json().decode()
            self._append({"verdict": payload, "trigger": answer.trigger, "message": answer.message})

    def set_session(self, line: str, session: str) -> None:
        """Notes the session that a line has at the broker."""
        with self._lock:
            self._sessions[line] = session
            self._append({"line": line, "session": session})

    def clear_answers(self) -> None:
        """All answers are on disk; does nothing where there are none."""
        with self._lock:
            if not self.answers:
                return
            records = [json.dumps({"line": line, "session": session}) for line, session in self._sessions.items()]
            files.write(self.path, "".join(f"{record}\n" for record in records).encode())
            self.answers = 0

    def _append(self, record: dict[str, Any]) -> None:
        """In one write, so that a kill leaves it whole or not at all; on a line of its own after one that was cut."""
        handle = os.open(self.path, _FLAGS, 0o640)
        try:
            os.write(handle, b"\n" + json.dumps(record).encode() + b"\n")
        finally:
            os.close(handle)


def _or_none(value: Any, kind: type[T]) -> T | None:
    """Raises TypeError: it is neither of that kind nor null."""
    if value is None or isinstance(value, kind):
        return value
    raise TypeError(f"{value!r} is no {kind.__name__}")
