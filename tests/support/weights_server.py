"""A web server on loopback that publishes one weights file, well or badly; and one that answers as the hub does."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


class WeightsServer:
    """Serves `body` at every path.

    Attributes:
        body: The file.
        cut: Bytes after which the connection is closed; None sends all.
        stall: Whether to stop half way and keep the connection open.
        half: Set when a stalled answer has got half way.
        gone: Names that are not found.
        etag: What the hub says of the file; its SHA-256 when None.
        requests: Methods and paths that were asked for.
    """

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.cut: int | None = None
        self.stall = False
        self.half = threading.Event()
        self.gone: tuple[str, ...] = ()
        self.etag: str | None = None
        self.requests: list[tuple[str, str]] = []
        self._end = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> WeightsServer:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._end.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def _head(self) -> bool:
                server.requests.append((self.command, self.path))
                if self.path.rpartition("/")[2] in server.gone:
                    self.send_response(404)
                    self.send_header("X-Error-Code", "EntryNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return False
                self.send_response(200)
                self.send_header("Content-Length", str(len(server.body)))
                self.send_header("ETag", f'"{server.etag or hashlib.sha256(server.body).hexdigest()}"')
                self.send_header("X-Repo-Commit", "c" * 40)
                self.end_headers()
                return True

            def do_HEAD(self) -> None:
                self._head()

            def do_GET(self) -> None:
                if not self._head():
                    return
                if server.stall:
                    self.wfile.write(server.body[: len(server.body) // 2])
                    self.wfile.flush()
                    server.half.set()
                    server._end.wait(60)
                    return
                self.wfile.write(server.body[: server.cut])

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler
