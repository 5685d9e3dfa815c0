"""A journal that somebody has tampered with: what it says well counts, and the rest keeps nobody from starting."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from core.database.database import DatabaseError
from edge.storage.journal import Journal
from tests.support.verdicts import failure

ANSWER: dict[str, Any] = {"verdict": failure("one", 6, "A-6").to_json().decode(), "trigger": 3, "message": None}
SESSION = {"line": "one", "session": "s"}


def read(path: Path, *records: Any) -> tuple[int, dict[str, str]]:
    """How many answers are read, and the sessions."""
    lines = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
    path.write_bytes(b"\n".join(lines) + b"\n")
    found = Journal(path).read()
    return len(found.answers), found.sessions


@pytest.mark.parametrize(
    "record",
    [
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"verdict": "cut sh',
        b"\xff\xfe",
        b"9" * 10_000,
        [],
        "session",
        None,
        {},
        {"session": 5, "line": "one"},
        {"session": "s", "line": ["one"]},
        ANSWER | {"trigger": 1 << 63},
        ANSWER | {"trigger": "3"},
        ANSWER | {"message": 7},
        ANSWER | {"verdict": {}},
        ANSWER | {"verdict": "[" * 100_000},
        ANSWER | {"verdict": ANSWER["verdict"].replace('"seq":6', f'"seq":{10**400}')},
    ],
)
def test_a_record_that_is_none_is_passed_over(tmp_path: Path, record: Any) -> None:
    assert read(tmp_path / "journal", record, ANSWER, record, SESSION) == (1, {"one": "s"})


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    begun = time.monotonic()
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(DatabaseError, match="not a regular file; check who put it there"):
            Journal(path).read()
    assert time.monotonic() - begun < 1
