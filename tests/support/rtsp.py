"""A real RTSP camera: GStreamer's RTSP server in a process of its own, on 127.0.0.1."""

from __future__ import annotations

import selectors
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from PIL import Image

from core.image import Rgb, read
from core.picture_files import pictures_in

PACKAGES = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-ugly"
PYTHON = "/usr/bin/python3"  # the bindings are Debian's and belong to its Python
START_S = 20.0
_MISSING = 3


class RtspServer:
    """Serves the pictures of a folder in turn as H.264, letterboxed to `size` (width, height), for ever.

    `stop` kills it; `start` then opens the same port again, with pictures of another size after `resize`. `stall`
    sends nothing more and keeps the connections, `resume` goes on.

        with RtspServer(folder, fps=10, size=(640, 480)) as camera:
            cv2.VideoCapture(camera.url)
    """

    def __init__(self, folder: Path, fps: float, size: tuple[int, int]) -> None:
        self._fps = fps
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="rtsp-")
        self._pictures = Path(self._folder.name)
        self._files = pictures_in(folder)
        if not self._files:
            raise FileNotFoundError(f"{folder}: no pictures")
        self.resize(size)

    def resize(self, size: tuple[int, int]) -> None:
        """Makes the pictures anew for the next start."""
        for index, file in enumerate(self._files):
            Image.fromarray(letterbox(read(file), size)).save(self._pictures / f"{index:05d}.png", compress_level=1)

    @property
    def url(self) -> str:
        """The address."""
        return f"rtsp://127.0.0.1:{self._port}/line"

    def start(self) -> None:
        """Returns when the server accepts clients."""
        if not Path(PYTHON).exists():
            raise RuntimeError(f"{PYTHON} is missing: apt-get install --no-install-recommends {PACKAGES}")
        script = Path(__file__).with_name("rtsp_server.py")
        self._process = subprocess.Popen(
            [PYTHON, str(script), str(self._pictures), str(self._fps), str(self._port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            line = self._process.stdout.readline() if selector.select(START_S) else b""
        if not line.startswith(b"port "):
            self._process.kill()
            _, errors = self._process.communicate()
            missing = self._process.returncode == _MISSING
            remedy = f"apt-get install --no-install-recommends {PACKAGES}" if missing else "see above"
            raise RuntimeError(f"the RTSP server did not start: {errors.decode().strip()}: {remedy}")
        self._port = int(line.split()[1])

    def stall(self) -> None:
        """Stands still, connections and all."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kills the server, as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> RtspServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        self._folder.cleanup()


def letterbox(picture: Rgb, size: tuple[int, int]) -> Rgb:
    """`picture` scaled into `size` (width, height), centred on black."""
    width, height = size
    scale = min(width / picture.shape[1], height / picture.shape[0])
    inner = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    canvas = np.zeros((height, width, 3), np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(picture, inner, interpolation=interpolation)
    return canvas
