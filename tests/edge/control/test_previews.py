"""Small pictures are made one after the other; whoever asks for one has it, its fault, or waits no longer."""

from __future__ import annotations

import threading

import pytest

from edge.control.previews import Previews, PreviewsBusyError


def test_each_has_its_own_and_a_fault_costs_nobody_else() -> None:
    previews = Previews()

    def fail() -> bytes:
        raise ValueError("no picture")

    assert previews.make(lambda: b"one", 20) == b"one"
    with pytest.raises(ValueError, match="no picture"):
        previews.make(fail, 20)
    assert previews.make(lambda: threading.current_thread().name.encode(), 20) == b"previews"


def test_whoever_waits_for_others_too_long_is_told_and_theirs_is_not_made() -> None:
    previews, go_on, made = Previews(), threading.Event(), list[bytes]()

    def wait() -> bytes:
        go_on.wait(20)
        return b"slow"

    def note() -> bytes:
        made.append(b"late")
        return b"late"

    first = threading.Thread(target=lambda: made.append(previews.make(wait, 20)))
    first.start()
    with pytest.raises(PreviewsBusyError, match="ask again"):
        previews.make(note, 0.2)
    go_on.set()
    first.join(20)
    assert previews.make(lambda: b"next", 20) == b"next"
    assert made == [b"slow"]


def test_several_may_begin_at_once() -> None:
    previews, found = Previews(), list[bytes]()
    asking = [threading.Thread(target=lambda: found.append(previews.make(lambda: b"x", 20))) for _ in range(20)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(20)
    assert found == [b"x"] * 20
