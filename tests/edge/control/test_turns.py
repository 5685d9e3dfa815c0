"""One command at a time changes a line, and none waits for ever."""

from __future__ import annotations

import threading

import pytest

from edge.control.turns import LineBusyError, Turns


def test_a_line_that_another_command_changes_is_waited_for_and_not_for_ever() -> None:
    turns, begun, over = Turns(0.2), threading.Event(), threading.Event()

    def change() -> None:
        with turns.of("one"):
            begun.set()
            over.wait(10)

    changing = threading.Thread(target=change)
    changing.start()
    assert begun.wait(10)
    busy = pytest.raises(LineBusyError, match=r"line one has been changed by another command for 0\.2 s; ask again")
    with busy, turns.of("one"):
        pass
    with turns.of("two"), turns.of("two"):
        pass
    over.set()
    changing.join(10)
    with turns.of("one"):
        pass
