"""The service's log on stderr: lines for people or JSON for machines, without credentials, one record a line."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import MutableMapping
from datetime import datetime, timezone
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TextIO

from core.printable import shown
from edge.clock import iso_ms
from edge.ops.redact import redact

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter  # of Python 3.10 takes no parameter at run time

LogFormat = Literal["auto", "text", "json"]
"""`auto` is `json` where stderr is the journal, else `text`."""

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))  # of syslog
_DEBUG = 7


def setup_logs(level: int | str = logging.INFO, format: LogFormat = "auto", stream: TextIO | None = None) -> None:
    """Logs to `stream`, by default stderr, from now on, in place of what was set up before.

    Warnings of libraries and failures that nobody catches, in threads too, come as records, so that no line on the
    stream is anything else.
    """
    sink = sys.stderr if stream is None else stream
    journal = is_journal(sink)
    handler = logging.StreamHandler(sink)
    handler.setFormatter(_Json(journal) if format == "json" or (format == "auto" and journal) else _Text(journal))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def line_log(name: str, line: str | None) -> LineLog:
    """The logger called `name`, for what concerns one line: its records carry the line, and messages need not name it.

    A record of one verdict carries its number too: `log.error("...", extra={"seq": 7})`. `line` None: the service.
    """
    return LineLog(logging.getLogger(name), {"line": line})


class LineLog(_Adapter):
    """A logger whose records say which line they are about."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Adds the line to what the call itself brings along."""
        return msg, {**kwargs, "extra": {**(kwargs.get("extra") or {}), **(self.extra or {})}}


def is_journal(stream: TextIO) -> bool:
    """Whether what is written to `stream` goes to systemd's journal."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):  # it is no file, or closed
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class _Formatter(logging.Formatter):
    """A record without credentials, in which nothing ends a line or moves a terminal's cursor."""

    def __init__(self, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = self._text(record)
        if not self._journal:
            return text
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), _DEBUG)
        return "\n".join(f"<{priority}>{line}" for line in text.split("\n"))  # the journal takes it off

    def _text(self, record: logging.LogRecord) -> str:
        raise NotImplementedError


class _Text(_Formatter):
    def _text(self, record: logging.LogRecord) -> str:
        line = getattr(record, "line", None)
        about = f"line {_clean(str(line))}: " if line is not None else ""
        head = f"{record.levelname} {record.name}: {about}{_clean(record.getMessage())}"
        return "\n".join((head, *(f"    {row}" for row in _exception(record))))  # no record begins with a blank


class _Json(_Formatter):
    def _text(self, record: logging.LogRecord) -> str:
        found: dict[str, Any] = {
            "at": iso_ms(datetime.fromtimestamp(record.created, timezone.utc)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _clean(record.getMessage()),
        }
        if (line := getattr(record, "line", None)) is not None:
            found["line"] = _clean(str(line))
        if (seq := getattr(record, "seq", None)) is not None:
            found["seq"] = seq if isinstance(seq, int) else _clean(str(seq))
        if exception := _exception(record):
            found["exception"] = "\n".join(exception)
        return json.dumps(found)  # ASCII, so that any reader takes it


def _exception(record: logging.LogRecord) -> list[str]:
    """The lines of the record's traceback and stack, cleaned."""
    text = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else record.exc_text or ""
    return [_clean(row) for row in (*text.splitlines(), *(record.stack_info or "").splitlines())]


def _clean(text: str) -> str:
    """`text` on one line, without credentials; what cannot be printed is escaped first, so that it hides none."""
    return redact(shown(text))


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        logging.getLogger("alfa-edge").critical("%s ends the service", kind.__name__, exc_info=(kind, error, trace))


def _uncaught_in_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_value is None or issubclass(found.exc_type, SystemExit):
        return
    name = found.thread.name if found.thread else "?"
    what = (found.exc_type, found.exc_value, found.exc_traceback)
    logging.getLogger("alfa-edge").critical("%s ends the thread %s", found.exc_type.__name__, name, exc_info=what)
