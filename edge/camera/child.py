"""A running camera process and the socket to it, from the side of the service."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import zmq

from edge.camera.frame import Frame
from edge.camera.protocol import FrameRequest, Order, Report, pair, read_report
from edge.clock import monotonic
from edge.ops.logs import LineLog, line_log
from edge.ops.redact import redact_source
from edge.settings import ENV_PREFIX, CameraSettings, HealthSettings

START_S = 30.0  # for a process to say its first word; importing OpenCV takes seconds on a small box
SILENCE_S = 5.0  # without a word, after which a process counts as hung
KILL_S = 2.0  # for the kernel to end a killed process
_MAX_PATH = 107  # bytes of a UNIX socket's address
_MAX_LINE = 16384
_LINES = 10  # that a process may print in `_WINDOW_S`; a decoder that complains of each frame must not fill the log
_WINDOW_S = 60.0


class CameraError(Exception):
    """A camera's process cannot be started at all; trying again would not help."""


def socket_path(runtime_dir: Path, line: str) -> Path:
    """A new path for the socket of one process of `line`'s camera.

    Raises:
        CameraError: it would be too long for a socket.
    """
    path = runtime_dir.absolute() / f"camera-{line}-{secrets.token_hex(4)}.sock"
    if len(os.fsencode(path)) > _MAX_PATH:
        raise CameraError(f"{path}: longer than the {_MAX_PATH} bytes of a socket's path; shorten service.runtime_dir")
    return path


class Child:
    """One camera process, from its start to its end. Its socket is its own, so no other's frames come."""

    def __init__(
        self,
        line: str,
        settings: CameraSettings,
        runtime_dir: Path,
        health: HealthSettings = HealthSettings(),
        taken: int = 0,
    ) -> None:
        """Starts the process. A source that is not live goes on behind the first `taken` items.

        Raises:
            OSError: there is no such directory, or no process to be had.
            CameraError: the socket's path is too long.
        """
        self.started = monotonic()
        self._line = line
        self._heard: float | None = None
        self._path = socket_path(runtime_dir, line)
        address = f"ipc://{self._path}"
        self._socket = pair(zmq.Context.instance(), receives_frames=True)
        try:
            self._socket.bind(address)
            self._path.chmod(0o600)
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edge.camera.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for the service, which stops its cameras itself
            )
        except zmq.ZMQError as error:
            self._close_socket()
            raise OSError(error.errno, f"{self._path}: {error}") from error
        except OSError:
            self._close_socket()
            raise
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        self._logger = threading.Thread(
            target=_log_lines,
            args=(line, settings.source, self.process.stderr),
            name=f"camera-{line}-stderr",
            daemon=True,
        )
        self._logger.start()
        order = Order(line=line, address=address, parent=os.getpid(), camera=settings, health=health, taken=taken)
        try:
            self.process.stdin.write(order.model_dump_json().encode())
            self.process.stdin.close()
        except BrokenPipeError:
            line_log(__name__, line).warning("the camera process ended before it had its order")  # failure() tells how

    def request(self, request: FrameRequest) -> bool:
        """Sends `request`; False while the process takes none."""
        try:
            self._socket.send(request.model_dump_json().encode(), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def receive(self, timeout_s: float) -> Iterator[Report | Frame]:
        """What the process has sent, after waiting up to `timeout_s` for the first of it.

        Raises:
            FrameError, LinkError: something that is neither report nor frame.
        """
        if not self._socket.poll(max(0, round(timeout_s * 1000))):
            return
        while True:
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            self._heard = monotonic()
            yield (
                read_report(parts[0].bytes) if len(parts) == 1 else Frame.from_parts([part.buffer for part in parts])
            )

    def failure(self) -> str | None:
        """How the process has ended, or that it is silent; None while it is well."""
        code = self.process.poll()
        if code is not None:
            how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            return f"the camera process ended: {how}"
        if self._heard is None and monotonic() - self.started > START_S:
            return f"the camera process did not start in {START_S:g} s"
        if self._heard is not None and monotonic() - self._heard > SILENCE_S:
            return f"the camera process hangs: no sign of life in {SILENCE_S:g} s"
        return None

    def kill(self, timeout_s: float) -> bool:
        """Ends the process at once; False where the kernel does not let go of it within `timeout_s`."""
        self._close_socket()
        self.process.kill()
        return self._reap(timeout_s)

    def stop(self, timeout_s: float) -> bool:
        """Asks the process to end, then makes it; within about `timeout_s` and `KILL_S` seconds."""
        deadline = monotonic() + timeout_s
        if self.request(FrameRequest(stop=True)) and self._reap(timeout_s / 2):
            return True
        self.process.terminate()
        return self._reap(deadline - monotonic()) or self.kill(KILL_S)

    def reap(self) -> bool:
        """Whether the process is gone; if so, nothing of it is left."""
        return self._reap(0.0)

    def _reap(self, timeout_s: float) -> bool:
        try:
            self.process.wait(max(0.0, timeout_s))
        except subprocess.TimeoutExpired:
            return False
        self._close_socket()
        self._logger.join(KILL_S)
        return True

    def _close_socket(self) -> None:
        self._socket.close()
        self._path.unlink(missing_ok=True)


def _environment() -> dict[str, str]:
    # OpenCV and FFmpeg print addresses with their passwords; what they know is in the states' reasons.
    # Settings in the environment, the broker's password among them, are none of its business.
    inherited = {key: value for key, value in os.environ.items() if not key.upper().startswith(ENV_PREFIX)}
    return inherited | {
        "OPENCV_LOG_LEVEL": "SILENT",
        "OPENCV_FFMPEG_LOGLEVEL": "-8",
        "PYTHONUNBUFFERED": "1",
    }


def _log_lines(line: str, source: str, stderr: IO[bytes]) -> None:
    """Logs what a process prints, without credentials, until it ends: `_LINES` in `_WINDOW_S`, and how many more."""
    log = line_log(__name__, line)
    since, printed = monotonic(), 0
    with stderr:
        ended = True
        while text := stderr.readline(_MAX_LINE):
            begins, ended = ended, text.endswith(b"\n")
            if not begins:
                continue
            now = monotonic()
            if now - since >= _WINDOW_S:
                _log_left_out(log, printed)
                since, printed = now, 0
            printed += 1
            if printed > _LINES:
                continue
            if ended:
                log.warning("camera process: %s", redact_source(text.decode(errors="replace").rstrip(), source))
            else:
                # An address cut in two would not be recognised.
                log.warning("camera process: a line of more than %d bytes was left out", _MAX_LINE)
    _log_left_out(log, printed)


def _log_left_out(log: LineLog, printed: int) -> None:
    if printed > _LINES:
        log.warning("camera process: %d more lines were left out", printed - _LINES)
