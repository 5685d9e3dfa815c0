"""The demo's console in the browser: a process of its own, on loopback, which ends with the demo."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.settings import HmiSettings

_HOST = "127.0.0.1"
_NEEDS = ("fastapi", "uvicorn", "jinja2", "websockets", "multipart")
_END_S = 5.0
# The kernel tells it when the demo is killed (PR_SET_PDEATHSIG), which else would leave it there.
_ENDS_WITH_PARENT = """
import ctypes, signal
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
from edge.cli.app import main
main()
"""


def missing() -> str | None:
    """The package without which there is no console; None: all are there."""
    return next((name for name in _NEEDS if importlib.util.find_spec(name) is None), None)


@contextmanager
def demo_console(state: Path, lines: Collection[str]) -> Iterator[str]:
    """Runs the console of the service whose state is in a folder; gives its address.

    Args:
        state: The folder, which nobody else can write to.
        lines: Their names.
    """
    port = _free_port()
    config = state / "console.toml"
    config.write_text(_settings(state, lines, port), "utf-8")
    command = [sys.executable, "-c", _ENDS_WITH_PARENT, "hmi", "--config", str(config), "--log-level", "ERROR"]
    process = subprocess.Popen(  # in a session of its own: Ctrl-C is for the demo
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield f"http://{_HOST}:{port}/"
    finally:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _settings(state: Path, lines: Collection[str], port: int) -> str:
    """What the console needs to know; it opens no camera."""
    parts = [f'[service]\nstate_dir = {json.dumps(str(state))}\n[hmi]\nlisten = "{_HOST}"\nport = {port}\n']
    parts += [f'[lines.{name}]\npack = "generic"\ncamera.source = "sim:metal_plate"\n' for name in lines]
    return "".join(parts)


def _free_port() -> int:
    """The usual one where nobody listens there."""
    for port in (HmiSettings().port, 0):
        try:
            with socket.create_server((_HOST, port)) as found:
                return int(found.getsockname()[1])
        except OSError:
            continue
    raise OSError(f"no port of {_HOST} is free")
