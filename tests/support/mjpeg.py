"""A real MJPEG camera: an HTTP server on 127.0.0.1 that sends `multipart/x-mixed-replace` at a given rate."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

from core.image import Rgb, encode_jpeg, read
from core.picture_files import pictures_in

BOUNDARY = "frame"


class MjpegServer:
    """Serves the pictures of a folder, in turn, or those that a callable draws for an index: 0, 1, 2, ...

    The index is a matter of time, `fps` per second since the start: a client that reads slowly misses
    pictures, as it does at a camera. With `credentials` a client has to log in. `stall` goes silent with
    connections open, `resume` goes on, `stop` closes all; `start` then opens the same port again. What `damage`
    makes of a JPEG is sent in its place.

        with MjpegServer(folder, fps=10) as camera:
            cv2.VideoCapture(camera.url)
    """

    def __init__(
        self,
        pictures: Path | Callable[[int], Rgb],
        fps: float,
        credentials: tuple[str, str] | None = None,
    ) -> None:
        self.fps = fps
        self._credentials = credentials
        self._port = 0
        self._flow = threading.Event()
        self._flow.set()
        self._open = False
        self._server: ThreadingHTTPServer | None = None
        self.connections = 0  # accepted since the first start
        self.damage: Callable[[bytes], bytes] = bytes
        if callable(pictures):
            self._draw = pictures
        else:
            files = pictures_in(pictures)
            if not files:
                raise FileNotFoundError(f"{pictures}: no pictures")
            images = [read(file) for file in files]
            self._draw = lambda index: images[index % len(images)]

    @property
    def url(self) -> str:
        """The address, with the credentials."""
        login = ":".join(self._credentials) + "@" if self._credentials else ""
        return f"http://{login}127.0.0.1:{self._port}/stream.mjpg"

    def start(self) -> None:
        """Accepts clients."""
        self._open = True
        self._started = time.monotonic()
        self._server = _Server(("127.0.0.1", self._port), self._handler())
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="mjpeg", daemon=True).start()

    def stop(self) -> None:
        """Drops every client and accepts none."""
        self._open = False
        self._flow.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def stall(self) -> None:
        """Sends nothing more, and keeps the connections, old and new."""
        self._flow.clear()

    def resume(self) -> None:
        """Goes on."""
        self._flow.set()

    def index(self) -> int:
        """Of the picture that is sent now."""
        return int((time.monotonic() - self._started) * self.fps)

    def __enter__(self) -> MjpegServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not camera._admits(self.headers.get("Authorization")):
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                    self.end_headers()
                    return
                camera.connections += 1
                try:
                    self.send_response(200)
                    self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
                    self.end_headers()
                    camera._stream(self.wfile.write)
                except OSError:
                    self.close_connection = True  # the client has gone

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        return Handler

    def _admits(self, authorization: str | None) -> bool:
        if self._credentials is None:
            return True
        expected = base64.b64encode(":".join(self._credentials).encode()).decode()
        return authorization == f"Basic {expected}"

    def _stream(self, write: Callable[[bytes], object]) -> None:
        sent = -1
        while self._open:
            self._flow.wait()
            index = self.index()
            if index == sent:
                time.sleep(max(0.0, self._started + (sent + 1) / self.fps - time.monotonic()))
                continue
            jpeg = self.damage(encode_jpeg(self._draw(index)))
            if not (self._open and self._flow.is_set()):
                continue
            head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            write(head.encode() + jpeg + b"\r\n")
            sent = index


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
