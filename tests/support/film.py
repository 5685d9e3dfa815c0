"""An MJPEG camera in a process of its own, of pictures that were encoded beforehand: a steady stream at little cost.

    python -m tests.support.film FOLDER FPS PORT SIZE

FOLDER holds a folder of JPEG files for each SIZE (`1280x1024`). Orders come over stdin, one a line: `freeze` (the same
picture over and over), `go`, `size 640x480`; at its end the process ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

BOUNDARY = "frame"
SIZE = (1280, 1024)
PICTURES = 8
_ROOT = Path(__file__).parents[2]


def draw(folder: Path, *sizes: tuple[int, int]) -> Path:
    """Writes `PICTURES` different textures for each of `sizes` (width, height)."""
    import cv2
    import numpy as np

    chance = np.random.default_rng(0)
    for width, height in sizes:
        where = folder / f"{width}x{height}"
        where.mkdir(parents=True)
        grain = chance.normal(0, 2, (height, width, 1)).astype(np.float32)
        for number in range(PICTURES):
            coarse = chance.uniform(40, 215, (height // 64, width // 64, 3)).astype(np.float32)
            picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
            shown = np.clip(picture + grain, 0, 255).astype(np.uint8)
            cv2.imwrite(str(where / f"{number:02}.jpg"), shown, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return folder


class Film:
    """The camera, for as long as the context is open.

    `stop` kills it, `start` opens the same port again; `stall` and `resume` stop and continue the process with its
    connections open; `freeze` and `go` repeat one picture or go on; `resize` goes on in another size.
    """

    def __init__(self, folder: Path, fps: float = 30.0, size: tuple[int, int] = SIZE) -> None:
        """`folder`: what `draw` wrote."""
        self._folder = folder
        self._fps = fps
        self._size = size
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self.port}/stream.mjpg"

    def start(self) -> None:
        """Returns when it accepts clients."""
        width, height = self._size
        command = [sys.executable, "-m", "tests.support.film", str(self._folder), str(self._fps), str(self.port)]
        self._process = subprocess.Popen(
            [*command, f"{width}x{height}"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the tests, which end it
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline().split()[1])

    def stop(self) -> None:
        """Kills it, as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def stall(self) -> None:
        """Sends nothing more, connections and all."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Goes on after `stall`."""
        self._signal(signal.SIGCONT)

    def freeze(self) -> None:
        """Sends the same picture from now on."""
        self._say("freeze")

    def go(self) -> None:
        """Sends different pictures again."""
        self._say("go")

    def resize(self, size: tuple[int, int] = SIZE) -> None:
        """Sends pictures of another size, on the connections that there are."""
        self._say(f"size {size[0]}x{size[1]}")

    def __enter__(self) -> Film:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _say(self, order: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{order}\n".encode())
        self._process.stdin.flush()


class _Server:
    def __init__(self, folder: Path, fps: float, size: str) -> None:
        self._films = {
            one.name: [file.read_bytes() for file in sorted(one.iterdir())] for one in folder.iterdir() if one.is_dir()
        }
        self._period = 1 / fps
        self._size = size
        self._begun = time.monotonic()  # each camera has its own beat
        self._still: int | None = None

    async def serve(self, port: int) -> None:
        server = await asyncio.start_server(self._client, "127.0.0.1", port, reuse_address=True)
        print(f"port {server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()

    def obey(self) -> None:
        """Carries out the orders, and ends the process with them."""
        for order in sys.stdin:
            what, _, size = order.strip().partition(" ")
            if what == "size":
                self._size = size
            else:
                self._still = self._index() if what == "freeze" else None
        os._exit(0)

    def _index(self) -> int:
        return int((time.monotonic() - self._begun) / self._period)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
            writer.write(f"HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode())
            sent = self._index()
            while True:  # a client that reads slowly misses pictures, as it does at a camera
                await asyncio.sleep(self._begun + (sent + 1) * self._period - time.monotonic())
                sent = max(sent + 1, self._index())
                film = self._films[self._size]
                jpeg = film[(sent if self._still is None else self._still) % len(film)]
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                writer.write(head.encode() + jpeg + b"\r\n")
                await writer.drain()


def main(folder: Path, fps: float, port: int, size: str) -> None:
    server = _Server(folder, fps, size)
    threading.Thread(target=server.obey, daemon=True).start()
    asyncio.run(server.serve(port))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
