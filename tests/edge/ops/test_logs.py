"""The log as people, machines and the journal get it."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from edge.ops.logs import is_journal, line_log, setup_logs

log = logging.getLogger("edge.test")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """What the tests set up is taken back."""
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook)
    level, handlers = root.level, root.handlers[:]
    yield
    logging.captureWarnings(False)
    root.handlers[:], (sys.excepthook, threading.excepthook) = handlers, hooks
    root.setLevel(level)


@pytest.fixture
def sink() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TextIO]:
    """A file that the environment calls the journal."""
    with (tmp_path / "journal").open("w+") as file:
        status = os.fstat(file.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        yield file


def written(file: TextIO) -> list[str]:
    file.flush()
    file.seek(0)
    return file.read().splitlines()


def records(sink: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in sink.getvalue().splitlines()]


def test_text_is_a_line_with_level_logger_and_message(sink: io.StringIO) -> None:
    setup_logs("INFO", "text", sink)
    log.info("%d lines on %s", 2, "cpu")
    log.debug("not at this level")
    assert sink.getvalue() == "INFO edge.test: 2 lines on cpu\n"


def test_json_is_an_object_a_line(sink: io.StringIO) -> None:
    setup_logs(logging.DEBUG, "json", sink)
    log.info("größer als %s", "nötig")
    line_log("edge.inspection.line", "press-1").warning("late by %d ms", 12, extra={"seq": 4711})
    first, second = records(sink)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("at"))
    assert first == {"level": "info", "logger": "edge.test", "message": "größer als nötig"}
    del second["at"]
    assert second == {
        "level": "warning",
        "logger": "edge.inspection.line",
        "message": "late by 12 ms",
        "line": "press-1",
        "seq": 4711,
    }
    assert sink.getvalue().isascii(), "whatever reads it"


def test_text_names_the_line_too(sink: io.StringIO) -> None:
    setup_logs("INFO", "text", sink)
    line_log("edge.inspection.line", "press-1").error("no frame", extra={"seq": 3})
    log.error("of a record's own", extra={"line": "press-2"})
    assert sink.getvalue().splitlines() == [
        "ERROR edge.inspection.line: line press-1: no frame",
        "ERROR edge.test: line press-2: of a record's own",
    ]


NASTY = "ok\nERROR edge.test: forged\r\x1b[31m\x00\u2028\x9b2J\u202e"


@pytest.mark.parametrize("format", ["text", "json"])
def test_nothing_that_is_logged_forges_a_record_or_moves_a_cursor(sink: io.StringIO, format: Any) -> None:
    setup_logs("INFO", format, sink)
    log.info("part %s", NASTY)
    log.info("part", extra={"line": NASTY, "seq": NASTY})
    lines = sink.getvalue().splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    if format == "json":
        assert all(value.isprintable() for one in records(sink) for value in one.values())
    assert "ok\\nERROR edge.test: forged\\r\\x1b[31m\\x00\\u2028\\x9b2J\\u202e" in lines[0].replace("\\\\", "\\")


@pytest.mark.parametrize("format", ["text", "json"])
def test_credentials_stay_out_of_messages_and_tracebacks(sink: io.StringIO, format: Any) -> None:
    setup_logs("INFO", format, sink)
    log.info("cannot open %s", "rtsp://user:secret@camera/1?token=secret&x=1")
    log.info("split rtsp://user:sec\nret@camera/1")
    try:
        raise OSError("rtsp://user:secret@camera/1 does not answer")
    except OSError:
        log.exception("failed")
    text = sink.getvalue()
    assert "secret" not in text
    assert "ret@" not in text
    assert text.count("rtsp://camera") >= 3


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_traceback_belongs_to_its_record(sink: io.StringIO, format: Any) -> None:
    setup_logs("INFO", format, sink)
    try:
        raise ValueError("first\nERROR edge.test: forged\x1b[2J")
    except ValueError:
        log.exception("failed")
    lines = sink.getvalue().splitlines()
    assert sink.getvalue().count("\x1b") == 0
    if format == "text":
        assert lines[0] == "ERROR edge.test: failed"
        assert lines[1] == "    Traceback (most recent call last):"
        assert all(line.startswith("    ") for line in lines[1:])
        assert lines[-1] == "    ERROR edge.test: forged\\x1b[2J"
    else:
        [one] = records(sink)
        assert one["message"] == "failed"
        assert one["exception"].splitlines()[-2:] == ["ValueError: first", "ERROR edge.test: forged\\x1b[2J"]


def test_auto_is_json_in_the_journal_and_text_elsewhere(sink: io.StringIO, journal: TextIO, tmp_path: Path) -> None:
    setup_logs("INFO", "auto", journal)
    log.info("hello")
    [line] = written(journal)
    assert json.loads(line.removeprefix("<6>"))["message"] == "hello"
    setup_logs("INFO", "auto", sink)
    log.info("hello")
    assert sink.getvalue() == "INFO edge.test: hello\n"
    with (tmp_path / "another").open("w+") as another:  # stderr was redirected after systemd had set it up
        assert not is_journal(another)
        setup_logs("INFO", "auto", another)
        log.info("hello")
        assert written(another) == ["INFO edge.test: hello"]
    assert not is_journal(another), "it is closed"


@pytest.mark.parametrize("format", ["text", "json"])
def test_the_journal_learns_the_level_of_every_line(journal: TextIO, format: Any) -> None:
    setup_logs(logging.DEBUG, format, journal)
    levels = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
    for name in levels:
        getattr(log, name)("x")
    lines = written(journal)
    assert [line[:3] for line in lines] == [f"<{number}>" for number in levels.values()]
    journal.truncate(0)
    journal.seek(0)
    try:
        raise ValueError("x")
    except ValueError:
        log.exception("failed")
    assert all(line.startswith("<3>") for line in written(journal))


PROGRAM = """
import sys
from edge.ops.logs import setup_logs
setup_logs("INFO", "{}")
{}
"""


def run(code: str, format: str = "auto") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PROGRAM.format(format, code)], capture_output=True, text=True)


def test_a_failure_that_ends_the_service_is_a_record_and_its_exit_code_stays() -> None:
    done = run("raise RuntimeError('rtsp://user:secret@camera/1 is gone')")
    assert done.returncode == 1
    assert done.stderr.startswith("CRITICAL alfa-edge: RuntimeError ends the service\n    Traceback")
    assert "secret" not in done.stderr
    assert run("sys.exit(3)").returncode == 3
    assert run("raise KeyboardInterrupt").stderr.rstrip().endswith("KeyboardInterrupt")


def test_warnings_and_failures_of_threads_are_records_too() -> None:
    code = "import threading, warnings; warnings.warn('odd')"
    code += "; threading.Thread(target=lambda: [][0], name='line-a').start()"
    warning, failure = (json.loads(line) for line in run(code, "json").stderr.splitlines())
    assert (warning["logger"], warning["level"]) == ("py.warnings", "warning")
    assert "UserWarning: odd" in warning["message"]
    assert (failure["level"], failure["message"]) == ("critical", "IndexError ends the thread line-a")
    assert "IndexError: list index out of range" in failure["exception"]


def test_what_was_set_up_before_is_replaced(sink: io.StringIO) -> None:
    first = io.StringIO()
    setup_logs("INFO", "text", first)
    setup_logs("WARNING", "json", sink)
    log.info("no")
    log.warning("yes")
    assert first.getvalue() == ""
    assert [one["message"] for one in records(sink)] == ["yes"]
