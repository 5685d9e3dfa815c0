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
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from core import files
from core.database.database import DatabaseError
from core.regular_file import read_regular
from edge.messages import Verdict
from edge.storage.line_number import LineNumber

FILE = "answers.journal"
_MOST_BYTES = 1 << 30  # of the file; ten thousand answers of a line have 20 MB


class _SessionRecord(BaseModel):
    model_config = ConfigDict(strict=True)

    line: str
    session: str


class _AnswerRecord(BaseModel):
    model_config = ConfigDict(strict=True)

    verdict: str
    trigger: int | None = Field(ge=0, lt=1 << 63)
    message: str | None


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
        """What is in the file; a record that a kill has cut short is passed over, as is one that says something else.

        Raises:
            DatabaseError: it is no regular file, or cannot be read.
        """
        answers: list[JournalAnswer] = []
        try:
            lines = read_regular(self.path, _MOST_BYTES).split(b"\n")
        except FileNotFoundError:
            lines = []
        except OSError as error:
            raise DatabaseError(
                f"{self.path}: {error.strerror or error}; check who put it there, and move it elsewhere"
            ) from error
        for line in lines:
            try:
                record: dict[str, Any] = json.loads(line)
                if "session" in record:
                    session = _SessionRecord.model_validate(record)
                    self._sessions[session.line] = session.session
                else:
                    answer = _AnswerRecord.model_validate(record)
                    verdict = Verdict.model_validate_json(answer.verdict)
                    LineNumber(verdict.generation, verdict.seq)
                    answers.append(JournalAnswer(verdict, answer.trigger, answer.message))
            except (ValueError, TypeError, RecursionError):
                continue
        self.answers = len(answers)
        return JournalContents(tuple(answers), dict(self._sessions))

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
