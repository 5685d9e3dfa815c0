"""A file that somebody names is read when it is a regular one, not too large, and not for too long."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from core import regular_file
from core.regular_file import read_regular
from tests.support.files import HOSTILE, hostile, in_time

WORDS = {
    "pipe": "is a pipe, not a regular file",
    "zero": "is a device, not a regular file",
    "folder": "is a folder, not a regular file",
    "socket": "is a socket, not a regular file",
    "link to a pipe": "is a pipe, not a regular file",
    "link to zero": "is a device, not a regular file",
    "loop": "Too many levels of symbolic links",
    "huge": "is larger than 1 MiB",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_file_is_refused_at_once_in_words(tmp_path: Path, kind: str) -> None:
    path = hostile(kind, tmp_path / "it")
    with pytest.raises(OSError, match=WORDS[kind]) as caught:
        in_time(lambda: read_regular(path, 1 << 20), 1.0)
    assert caught.value.strerror == WORDS[kind]
    assert caught.value.filename == str(path)


def test_a_file_is_read_whole_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 8)
    assert read_regular(path, 2048) == bytes(range(256)) * 8
    (tmp_path / "link").symlink_to(path)
    assert len(read_regular(tmp_path / "link", 2048)) == 2048
    with pytest.raises(OSError, match="is larger than 2047 bytes"):
        read_regular(path, 2047)
    path.write_bytes(b"")
    assert read_regular(path, 0) == b""


def test_a_file_of_proc_has_no_size_and_a_limit_all_the_same() -> None:
    assert b"Linux" in read_regular(Path("/proc/version"), 4096)
    with pytest.raises(OSError, match="is larger than 4 bytes"):
        read_regular(Path("/proc/version"), 4)


def test_the_errors_of_the_system_stay(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none", 10)
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path, 10)


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
def test_what_can_be_no_path_is_said(name: str) -> None:
    with pytest.raises(OSError, match="no path: "):
        read_regular(Path(name), 10)


def test_a_server_that_is_gone_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a file on a share: its system call returns when the server does, or never."""
    (tmp_path / "file").write_bytes(b"x")
    gone = threading.Event()

    def hang(*_: object) -> int:
        gone.wait(30)
        raise OSError("the server is gone")

    monkeypatch.setattr(regular_file.os, "open", hang)
    before = time.monotonic()
    with pytest.raises(TimeoutError, match=r"not read within 0\.2 s; is its disk or server there\?"):
        read_regular(tmp_path / "file", 10, timeout_s=0.2)
    assert time.monotonic() - before < 2
    monkeypatch.undo()
    gone.set()
