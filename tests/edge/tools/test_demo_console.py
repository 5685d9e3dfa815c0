"""The demo's console: it answers, and ends with the demo, however that ends."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from edge.tools.demo_console import demo_console, missing
from tests.support.hmi import until

KILLED = """
import os, signal, sys
from pathlib import Path
from edge.tools.demo_console import demo_console
with demo_console(Path(sys.argv[1]), ["press-1"]) as address:
    print(address, flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=20) as page:
            return b"alfa-edge" in page.read()
    except urllib.error.URLError:
        return False


def test_it_answers_for_as_long_as_the_demo_runs(tmp_path: Path) -> None:
    assert missing() is None
    with demo_console(tmp_path, ["press-1", "press-2"]) as address:
        until(lambda: answers(address), "console", 100)
    assert not answers(address)


def test_it_ends_with_a_demo_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        address = demo.stdout.readline().strip()
        until(lambda: answers(address), "console", 100)
        demo.communicate("\n", timeout=60)
    until(lambda: not answers(address), "end of the console", 60)
